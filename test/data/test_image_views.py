# SPDX-License-Identifier: Apache-2.0
"""Promises of the image's view: the reference's pixels, and a true record of where they went."""
from crossview_ros.data.image_views import (
    CROCO_IMAGES, draw_box, image_view, ImageViewConfig, resize_and_flip, size_in_box)
from crossview_ros.errors import DatasetError
import numpy as np
import pytest


def golden(shared_dir):
    with np.load(shared_dir / 'reference/golden/simipu/a3_image_pipeline.npz') as file:
        return {key: file[key] for key in file.files}


def test_images_are_those_of_the_reference(shared_dir):
    data = golden(shared_dir)
    for i in range(int(data['n_cases'])):
        bgr, flip = data[f'c{i}_img_bgr'], bool(data[f'c{i}_flip'])
        box = tuple(int(side) for side in data[f'c{i}_scale_long_short'])
        rgb = np.ascontiguousarray(bgr[..., ::-1])
        view = image_view(rgb, box, flip, ImageViewConfig())
        assert view.size_hw == tuple(data[f'c{i}_img_shape'][:2])
        np.testing.assert_array_equal(resize_and_flip(bgr, view.size_hw, False)[0],
                                      data[f'c{i}_resized'])
        np.testing.assert_allclose(view.image.transpose(1, 2, 0), data[f'c{i}_out_hwc'],
                                   atol=1e-4)   # subtraction in float32 at 255
        scale_x = view.transform[0, 0] * (-1 if flip else 1)
        np.testing.assert_allclose((scale_x, view.transform[1, 1]),
                                   data[f'c{i}_scale_factor'][:2], atol=1e-6)
        assert view.transform[0, 2] == (view.size_hw[1] if flip else 0)


def test_sizes_are_those_of_the_reference(shared_dir):
    for height, width, long_side, short_side, *expected in golden(shared_dir)['size_table']:
        size_hw = size_in_box((int(height), int(width)), (int(long_side), int(short_side)))
        padded = tuple(-(-side // 32) * 32 for side in size_hw)
        assert (*size_hw, *padded) == tuple(expected)


def test_a_bright_spot_is_found_where_the_record_says():
    image = np.zeros((60, 100, 3), np.uint8)
    image[18:22, 28:32] = 255          # centre at u = 30, v = 20 from the outer corner
    config = ImageViewConfig(channels='rgb', mean=(0, 0, 0))
    for flip in (False, True):
        view = image_view(image, (200, 150), flip, config)
        u, v = view.transform @ (30, 20, 1)
        rows, cols = np.nonzero(view.image[0] > 128)
        # a pixel's centre lies half a pixel from its corner
        assert (cols.mean() + 0.5, rows.mean() + 0.5) == pytest.approx((u, v), abs=0.05)


def test_padding_is_zero_and_sides_are_multiples(rng):
    image = rng.integers(100, 255, (50, 70, 3), dtype=np.uint8)
    view = image_view(image, (70, 50), False, ImageViewConfig())
    assert view.image.shape == (3, 64, 96)
    assert not view.image[:, 50:].any() and not view.image[:, :, 70:].any()


def test_croco_images_are_rgb_with_unit_spread():
    image = np.full((32, 32, 3), (255, 0, 0), np.uint8)
    view = image_view(image, (32, 32), False, CROCO_IMAGES)
    # ImageNet: (1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0 - 0.406) / 0.225
    np.testing.assert_allclose(view.image[:, 0, 0], (2.2489, -2.0357, -1.8044), atol=1e-3)


def test_boxes_stay_in_their_ranges(rng):
    boxes = np.array([draw_box(ImageViewConfig(), rng) for _ in range(300)])
    assert 640 <= boxes[:, 0].min() < 700 and 2300 < boxes[:, 0].max() <= 2400
    assert 192 <= boxes[:, 1].min() < 220 and 690 < boxes[:, 1].max() <= 720


def test_what_is_no_image_is_refused():
    with pytest.raises(DatasetError, match='uint8'):
        image_view(np.zeros((8, 8, 3), np.float32), (640, 192), False, ImageViewConfig())
    with pytest.raises(ValueError, match='range'):
        ImageViewConfig(long_side_px=(700, 640))
