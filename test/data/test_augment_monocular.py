# SPDX-License-Identifier: Apache-2.0
"""Images with depth are cropped, turned and coloured as simipu.md 11 says."""
from crossview_ros.data.augment_monocular import (
    augment_monocular, coloured, fixed_view, MonocularAugmentation, rotated)
from crossview_ros.data.samples import DepthSample
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.camera import PinholeCamera
import numpy as np
import pytest

STILL = {'rotation_probability': 0.0, 'flip_x_probability': 0.0, 'colour_probability': 0.0}


@pytest.fixture
def sample():
    """Return an image whose red and green say the column and row, as its depth does."""
    rows, cols = np.mgrid[:40, :90]
    image = np.stack((cols, rows, 0 * rows), -1).astype(np.uint8)
    return DepthSample(image, (1 + rows + 100.0 * cols).astype(np.float32),
                       PinholeCamera(90, 40, 80, 80, 44.5, 19.5))


def test_only_the_window_at_the_bottom_is_left(sample):
    config = MonocularAugmentation(bottom_hw=(30, 71), **STILL)
    view = fixed_view(sample, config)
    np.testing.assert_array_equal(view.image, sample.image[10:, 9:80])    # (90 - 71) // 2
    np.testing.assert_array_equal(view.depth, sample.depth[10:, 9:80])
    assert (view.camera.cx, view.camera.cy) == (44.5 - 9, 19.5 - 10)
    assert fixed_view(sample, MonocularAugmentation()) is sample


def test_the_border_is_lost_to_training_only(sample):
    config = MonocularAugmentation(crop_hw=(20, 50), border=(5, 25, 30, 80), **STILL)
    view = augment_monocular(sample, config, np.random.default_rng(0))
    np.testing.assert_array_equal(view.image, sample.image[5:25, 30:80])
    assert fixed_view(sample, config) is sample


def test_crops_reach_every_place_and_image_and_depth_stay_together(sample):
    config = MonocularAugmentation(crop_hw=(38, 88), **{**STILL, 'flip_x_probability': 0.5})
    seen = set()
    for seed in range(80):
        view = augment_monocular(sample, config, np.random.default_rng(seed))
        assert view.image.shape == (38, 88, 3)
        cols, rows = (view.image[..., i].astype(np.float32) for i in (0, 1))
        np.testing.assert_array_equal(view.depth, 1 + rows + 100 * cols)
        mirrored = cols[0, 0] > cols[0, -1]
        seen.add((int(cols.min()), int(rows.min()), bool(mirrored)))
    assert len(seen) == 3 * 3 * 2


def test_nothing_is_known_beside_a_turned_image(sample):
    turned = rotated(sample, 2.5)
    known = np.isfinite(turned.depth)
    assert not known.all() and known.mean() > 0.9
    # nearest depth: no value that was not there before
    assert np.isin(turned.depth[known], sample.depth).all()
    corners = np.ix_((0, -1), (0, -1))
    # black, but for what bilinear sampling takes from the last column, 89
    assert not known[corners].any() and turned.image[corners].max() < 89 / 2
    # the middle stays, and a point 40 columns beside it moves by 40 sin 2.5 deg = 1.7 rows
    np.testing.assert_allclose(turned.image[19:21, 44:46, 0].mean(), 44.5, atol=0.6)
    beside = turned.image[20, 84]
    assert abs(abs(int(beside[1]) - 20) - 1.7) < 0.8


def test_turning_back_gives_the_image_again(sample):
    back = rotated(rotated(sample, 2.0), -2.0)
    inner = back.image[6:-6, 8:-8].astype(int) - sample.image[6:-6, 8:-8]
    assert np.abs(inner).max() <= 1
    assert not np.array_equal(rotated(sample, 2.0).image[6:-6, 8:-8],
                              sample.image[6:-6, 8:-8])


def test_gamma_is_taken_of_values_to_255_as_the_reference_does():
    grey = np.array([[[0, 1, 100]], [[128, 200, 255]]], np.uint8)
    still = {'brightness': (1, 1), 'channel': (1, 1)}
    for gamma in (1.1, 0.9):
        config = MonocularAugmentation(gamma=(gamma, gamma), **still)
        expected = np.clip(np.rint(grey.astype(float) ** gamma), 0, 255)
        np.testing.assert_array_equal(coloured(grey, config, np.random.default_rng(0)), expected)


def test_channels_change_apart_and_brightness_for_all():
    grey = np.full((4, 4, 3), 100, np.uint8)
    config = MonocularAugmentation(gamma=(1, 1), brightness=(1.2, 1.2), channel=(0.9, 1.1))
    out = coloured(grey, config, np.random.default_rng(0))
    assert len(set(out[0, 0].tolist())) == 3 and (out == out[0, 0]).all()
    assert (out >= 108 - 1).all() and (out <= 132 + 1).all()


def test_half_of_the_images_keep_their_colours(sample):
    config = MonocularAugmentation(crop_hw=(40, 90), rotation_probability=0, flip_x_probability=0)
    same = [np.array_equal(augment_monocular(sample, config, np.random.default_rng(seed)).image,
                           sample.image) for seed in range(100)]
    assert 35 <= sum(same) <= 65


def test_small_images_are_enlarged_to_the_crop(sample):
    view = augment_monocular(sample, MonocularAugmentation(crop_hw=(80, 100), **STILL),
                             np.random.default_rng(0))
    assert view.image.shape == (80, 100, 3) and view.depth.shape == (80, 100)


@pytest.mark.parametrize('change, message', [
    ({'rotation_probability': 1.5}, r'rotation_probability must be in \[0, 1\]'),
    ({'bottom_hw': (0, 10)}, 'bottom_hw must be positive'),
    ({'gamma': (1.1, 0.9)}, r'gamma must be \(low, high\)')])
def test_impossible_settings_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        MonocularAugmentation(**change)
