# SPDX-License-Identifier: Apache-2.0
"""Promises of the two views of a cloud: what is kept, how it moves, and the way back."""
from dataclasses import replace
import math

from crossview_ros.data.point_views import (
    crop_cloud, draw_subset, draw_transform, move_points, PointTransform, PointViewConfig,
    two_views)
from crossview_ros.errors import DatasetError
import numpy as np
import pytest

SMALL = PointViewConfig(num_points=50)


def cloud(rng, count=80):
    low, high = np.array(SMALL.min_xyz), np.array(SMALL.max_xyz)
    xyz = low + (high - low) * rng.uniform(0.01, 0.99, (count, 3))
    return np.hstack((xyz, rng.random((count, 1)))).astype(np.float32)


def test_views_and_their_inverse_are_those_of_the_reference(shared_dir):
    with np.load(shared_dir / 'reference/golden/simipu/a2_view_transform.npz') as file:
        data = {key: file[key] for key in file.files}
    for i in range(int(data['n_cases'])):
        case = {key: data[f'c{i}_{key}'] for key in (
            'points_in', 'points_out', 'points_reversed', 'angle', 'pcd_scale_factor',
            'pcd_trans', 'flip', 'points_center')}
        center = np.nan_to_num(case['points_center'])   # NaN: about the origin
        transform = PointTransform(float(case['angle']), float(case['pcd_scale_factor']),
                                   tuple(case['pcd_trans']), bool(case['flip']), tuple(center))
        moved = move_points(case['points_in'], transform.view_from_lidar())
        back = move_points(case['points_out'], transform.lidar_from_view())
        np.testing.assert_allclose(moved, case['points_out'], atol=1e-4)      # README: 1e-4 m
        np.testing.assert_allclose(back[:, :3], case['points_reversed'], atol=1e-4)


def test_a_matrix_does_what_the_steps_do_one_by_one(rng):
    points = cloud(rng).astype(np.float64)
    shift = np.array([0.3, -0.2, 0.1])
    transform = PointTransform(0.7, 1.2, tuple(shift), True, (35.2, 0.0, -1.0))
    row_matrix = np.array([[math.cos(0.7), -math.sin(0.7), 0],
                           [math.sin(0.7), math.cos(0.7), 0], [0, 0, 1]])
    expected = ((points[:, :3] - transform.center) @ row_matrix + transform.center) * 1.2 + shift
    expected[:, 1] *= -1
    moved = move_points(points, transform.view_from_lidar())
    np.testing.assert_allclose(moved[:, :3], expected, atol=1e-12)
    np.testing.assert_array_equal(moved[:, 3], points[:, 3])


def test_the_range_is_open_at_both_ends():
    inside = np.array([[1, 0, 0, 0.5]], np.float32)
    edges = np.array([[0, 0, 0, 0.5], [1, 40, 0, 0.5], [1, 0, -3, 0.5]], np.float32)
    np.testing.assert_array_equal(crop_cloud(np.vstack((edges, inside)), SMALL), inside)


@pytest.mark.parametrize('column', [0, 3])
def test_a_point_that_is_not_finite_is_dropped(column, rng):
    points = cloud(rng)
    points[7, column] = np.nan
    assert len(crop_cloud(points, SMALL)) == len(points) - 1


def test_an_empty_cloud_is_refused(rng):
    with pytest.raises(DatasetError, match='none of the 80 points'):
        crop_cloud(cloud(rng) + np.float32(100), SMALL)


def test_enough_points_are_drawn_once_each_and_too_few_repeat(rng):
    points = cloud(rng)
    assert len(np.unique(draw_subset(points, 50, rng), axis=0)) == 50
    repeated = draw_subset(points, 200, rng)
    assert len(repeated) == 200 and len(np.unique(repeated, axis=0)) <= 80


def test_both_views_hold_the_same_points_in_different_orders(rng):
    points = cloud(rng)
    transform = draw_transform(SMALL, True, rng)
    original, moved = two_views(points, transform, SMALL, rng)
    back = move_points(moved, transform.lidar_from_view())
    assert not np.allclose(back, original, atol=1e-3)
    order, order_back = np.argsort(original[:, 0]), np.argsort(back[:, 0])
    np.testing.assert_allclose(back[order_back], original[order], atol=1e-4)   # float32 at 70 m


def test_draws_stay_in_their_ranges_and_the_flip_is_the_given_one(rng):
    drawn = [draw_transform(SMALL, True, rng) for _ in range(200)]
    angles = [transform.angle_rad for transform in drawn]
    scales = [transform.scale for transform in drawn]
    assert -math.pi / 2 <= min(angles) < -1.2 and 1.2 < max(angles) <= math.pi / 2
    assert 0.75 <= min(scales) < 0.8 and 1.2 < max(scales) <= 1.25
    assert all(transform.flip and transform.shift == (0, 0, 0) for transform in drawn)


def test_an_impossible_config_is_refused():
    with pytest.raises(ValueError, match='num_points'):
        replace(SMALL, num_points=0)
    with pytest.raises(ValueError, match='min_xyz'):
        replace(SMALL, max_xyz=(0.0, 40.0, 1.0))
