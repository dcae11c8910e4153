# SPDX-License-Identifier: Apache-2.0
"""Promises of SimIPU's samples: image and clouds agree, and a batch keeps what it was made of."""
from dataclasses import replace

from crossview_ros.data.contrastive_views import (
    contrastive_views, ContrastiveViewConfig, stack_views)
from crossview_ros.data.image_views import ImageViewConfig
from crossview_ros.data.point_views import PointViewConfig
from crossview_ros.errors import DatasetError
import numpy as np
import pytest

IMAGE_HW = 120, 160
# forward is x, left is y, up is z
LIDAR_TO_IMAGE = np.array([[80.0, -100, 0, 0], [60, 0, -100, 0], [1, 0, 0, 0]], np.float32)
CONFIG = ContrastiveViewConfig(
    ImageViewConfig((150, 300), (100, 200), 'rgb', (0, 0, 0)), PointViewConfig(num_points=64))


def frame(rng, count=100):
    """Return points seen by the camera, each with a white square around its pixel."""
    points = np.column_stack((rng.uniform(5, 20, count), rng.uniform(-2, 2, count),
                              rng.uniform(-1, 0.9, count), rng.random(count)))
    image = np.zeros((*IMAGE_HW, 3), np.uint8)
    pixels = points[:, :3] @ LIDAR_TO_IMAGE[:, :3].T
    for u, v in pixels[:, :2] / pixels[:, 2:]:
        row, col = int(v), int(u)
        image[max(row - 3, 0):row + 4, max(col - 3, 0):col + 4] = 255
    return image, points.astype(np.float32)


def pixels_of(sample):
    """Project view A into the network's image."""
    homogeneous = sample['points'][:, :3] @ sample['lidar_to_image'][:, :3].T \
        + sample['lidar_to_image'][:, 3]
    original = homogeneous[:, :2] / homogeneous[:, 2:]
    transform = sample['image_transform']
    return original @ transform[:, :2].T + transform[:, 2]


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_points_fall_on_what_the_image_shows_of_them(flip, rng):
    config = replace(CONFIG, flip_probability=flip)
    for _ in range(5):
        sample = contrastive_views(*frame(rng), LIDAR_TO_IMAGE, config, rng)
        cols, rows = np.floor(pixels_of(sample)).astype(int).T
        assert (sample['image'][0, rows, cols] > 200).all()


def test_a_mirrored_image_without_its_record_would_be_noticed(rng):
    config = replace(CONFIG, flip_probability=1.0)
    image, points = frame(rng, 6)
    points[:, 1] = np.abs(points[:, 1]) + 0.3   # left of the axis
    sample = contrastive_views(image, points, LIDAR_TO_IMAGE, config, rng)
    assert (pixels_of(sample)[:, 0] > sample['image_transform'][0, 2] / 2).all()


@pytest.mark.parametrize('flip', [0.0, 1.0])
def test_the_second_cloud_goes_back_onto_the_first(flip, rng):
    sample = contrastive_views(*frame(rng), LIDAR_TO_IMAGE,
                               replace(CONFIG, flip_probability=flip), rng)
    back = sample['view_points'][:, :3] @ sample['lidar_from_view'][:, :3].T \
        + sample['lidar_from_view'][:, 3]
    order = np.argsort(sample['points'][:, 3]), np.argsort(sample['view_points'][:, 3])
    np.testing.assert_allclose(back[order[1]], sample['points'][order[0], :3], atol=1e-4)
    mirrors = np.linalg.det(sample['lidar_from_view'][:, :3]) < 0
    assert mirrors == bool(flip)


def test_the_same_seed_gives_the_same_views(rng):
    given = frame(rng)
    first, second = (contrastive_views(*given, LIDAR_TO_IMAGE, CONFIG, np.random.default_rng(3))
                     for _ in range(2))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])


def test_a_batch_pads_images_with_zeros_and_keeps_their_own_sizes(rng):
    samples = [contrastive_views(*frame(rng), LIDAR_TO_IMAGE, CONFIG, rng) for _ in range(4)]
    batch = stack_views(samples)
    assert batch['image'].shape[2:] == tuple(batch['pad_hw'].max(0))
    for i, sample in enumerate(samples):
        rows, cols = sample['image'].shape[1:]
        assert batch['pad_hw'][i].tolist() == [rows, cols]
        np.testing.assert_array_equal(batch['image'][i, :, :rows, :cols], sample['image'])
        assert not batch['image'][i, :, rows:].any() and not batch['image'][i, :, :, cols:].any()
        np.testing.assert_array_equal(batch['view_points'][i], sample['view_points'])


def test_points_without_reflectance_are_refused(rng):
    image, points = frame(rng)
    with pytest.raises(DatasetError, match='reflectance'):
        contrastive_views(image, points[:, :3], LIDAR_TO_IMAGE, CONFIG, rng)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match='flip_probability'):
        ContrastiveViewConfig(flip_probability=1.5)
