# SPDX-License-Identifier: Apache-2.0
"""Promises of the augmentation of pairs for completion and of images with depth."""
from crossview_ros.data.augment_views import (
    at_least, augment_depth, augment_pair, depth_at_least, ViewAugmentation)
from crossview_ros.data.samples import DepthSample, PairSample
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.camera import PinholeCamera
import numpy as np
import pytest

SAME = {'brightness': (1.0, 1.0), 'contrast': (1.0, 1.0), 'saturation': (1.0, 1.0)}


def numbered(rows, cols):
    """Return an image whose pixels tell their row and column."""
    image = np.zeros((rows, cols, 3), np.uint8)
    image[..., 0], image[..., 1] = np.arange(rows)[:, None], np.arange(cols)
    return image


def depth_sample(rows=40, cols=60):
    depth = 1 + np.arange(rows * cols, dtype=np.float32).reshape(rows, cols)
    return DepthSample(numbered(rows, cols), depth, PinholeCamera(cols, rows, 50, 50, 30, 20),
                       np.eye(4))


def test_each_view_has_its_own_window_anywhere(rng):
    sample = PairSample(numbered(36, 40), numbered(36, 40))
    config = ViewAugmentation((32, 32), **SAME)
    corners = []
    for _ in range(400):
        out = augment_pair(sample, config, rng)
        for view in (out.target, out.reference):
            y, x = view[0, 0, :2].tolist()
            np.testing.assert_array_equal(view, sample.target[y:y + 32, x:x + 32])
        corners.append((*out.target[0, 0, :2], *out.reference[0, 0, :2]))
    corners = np.array(corners)
    assert corners.min(0).tolist() == [0] * 4 and corners.max(0).tolist() == [4, 8, 4, 8]
    assert np.mean((corners[:, :2] == corners[:, 2:]).all(1)) < 0.1   # 1 of 45 expected


def test_each_view_has_its_own_colours_within_the_published_range(rng):
    grey = np.full((32, 32, 3), 100, np.uint8)   # contrast and saturation leave one grey alone
    means = []
    for _ in range(300):
        out = augment_pair(PairSample(grey, grey), ViewAugmentation((32, 32)), rng)
        means.append((out.target.mean(), out.reference.mean()))
    means = np.array(means)
    assert 60 <= means.min() < 63 and 137 < means.max() <= 140   # brightness 0.6 to 1.4
    assert abs(np.corrcoef(means.T)[0, 1]) < 0.2                 # 3.5 standard deviations


def test_depth_follows_the_window_and_the_mirror_of_its_image(rng):
    sample, flips = depth_sample(), 0
    for _ in range(100):
        out = augment_depth(sample, ViewAugmentation((32, 48), **SAME), rng)
        rows, cols = out.image[..., 0].astype(int), out.image[..., 1].astype(int)
        np.testing.assert_array_equal(out.depth, sample.depth[rows, cols])
        # the ray of each pixel is that of the pixel it was, mirrored where the image is
        flipped = cols[0, 0] > cols[0, 1]
        flips += flipped
        rays = sample.camera.rays()[rows, cols] * ([-1, 1, 1] if flipped else 1)
        np.testing.assert_allclose(out.camera.rays(), rays, atol=1e-12)
        assert (out.T_world_camera is None) == flipped
    assert 30 < flips < 70   # half; 4 standard deviations


def test_small_images_are_enlarged_and_keep_their_metres(rng):
    sample = depth_sample(20, 30)
    out = depth_at_least(sample, (32, 32))
    assert out.image.shape == (32, 48, 3) and out.camera.fx == pytest.approx(50 * 1.6)
    assert set(out.depth.ravel().tolist()) <= set(sample.depth.ravel().tolist())
    assert augment_depth(sample, ViewAugmentation((32, 32)), rng).image.shape == (32, 32, 3)
    large = numbered(40, 50)
    assert at_least(large, (32, 32)) is large
    for rows in range(7, 33):   # no rounding may leave a side short
        assert min(at_least(numbered(rows, 33), (32, 32)).shape[:2]) >= 32


def test_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match='contrast must be'):
        ViewAugmentation(contrast=(1.4, 0.6))
