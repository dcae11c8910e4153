# SPDX-License-Identifier: Apache-2.0
"""Dense depth from sparse points: planes, prior, wrong points, clouds that say nothing."""
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.runtime.lidar_depth import lidar_depth, LidarGuide, SCALE_MAX_AGE_NS
import numpy as np
import pytest

CAMERA = PinholeCamera(160, 96, 120.0, 120.0, 80.0, 40.0)
HEIGHT_M = 1.6
V, U = np.mgrid[:96, :160].astype(np.float64)
GREY = np.full((96, 160, 3), 128, np.uint8)


def ground_and_wall():
    """Return the depth (96, 160) of ground below and a wall 20 m ahead."""
    with np.errstate(divide='ignore'):
        ground = HEIGHT_M * CAMERA.fy / (V - CAMERA.cy)
    return np.where((ground > 0) & (ground < 20), ground, 20.0)


DEPTH = ground_and_wall()


def cloud_of(depth, step_v=8, step_u=2):
    """Return points (N, 3) on rows ``step_v`` px apart."""
    v, u = (grid.ravel() for grid in np.mgrid[4:96:step_v, 1:160:step_u])
    z = depth[v, u]
    return np.stack(((u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z),
                    axis=1).astype(np.float32)


def abs_rel(depth):
    return float(np.nanmean(np.abs(depth / DEPTH - 1)[4:93]))


def test_ground_and_wall_come_back_from_every_eighth_row():
    answer = lidar_depth(None, None, GREY, CAMERA, cloud_of(DEPTH))
    assert answer.scale is None
    assert answer.depth.dtype == answer.sigma.dtype == np.float32
    assert abs_rel(answer.depth) < 0.01


def test_a_tenth_of_wrong_points_does_not_show():
    rng = np.random.default_rng(0)
    cloud = cloud_of(DEPTH)
    wrong = rng.random(len(cloud)) < 0.1
    cloud[wrong] *= rng.uniform(0.2, 3, (int(wrong.sum()), 1)).astype(np.float32)
    answer = lidar_depth(None, None, GREY, CAMERA, cloud)
    assert answer.num_points < (~wrong).sum() + 0.3 * wrong.sum()
    assert abs_rel(answer.depth) < 0.02


@pytest.mark.parametrize('cloud', [
    np.empty((0, 3), np.float32),
    np.full((50, 3), np.nan, np.float32),
    np.array([[0, 0, -5.0], [1, 0, 0.0], [50, 0, 1.0]], np.float32),
], ids=['empty', 'not a number', 'behind, in the plane and beside'])
def test_without_a_point_in_view_there_is_no_answer(cloud):
    assert lidar_depth(DEPTH.astype(np.float32), None, GREY, CAMERA, cloud) is None


def test_points_that_are_not_finite_or_behind_change_nothing():
    cloud = cloud_of(DEPTH)
    rubbish = np.array([[np.nan, 0, 5], [0, np.inf, 5], [0, 0, np.inf], [0, 0, -5]], np.float32)
    expected = lidar_depth(None, None, GREY, CAMERA, cloud)
    answer = lidar_depth(None, None, GREY, CAMERA, np.concatenate((rubbish, cloud)))
    np.testing.assert_array_equal(answer.depth, expected.depth)


def test_a_prior_of_another_scale_is_brought_to_metres():
    prior = (0.3 * DEPTH).astype(np.float32)
    answer = lidar_depth(prior, None, GREY, CAMERA, cloud_of(DEPTH, step_v=24))
    assert answer.scale.factor == pytest.approx(1 / 0.3, rel=0.02)
    assert abs_rel(answer.depth) < 0.01


def test_far_from_all_points_the_scaled_prior_stays():
    prior = (2 * DEPTH).astype(np.float32)
    prior[:30] = np.inf   # sky
    cloud = cloud_of(DEPTH)
    low = cloud[cloud[:, 1] > 0.5]   # the ground near by
    answer = lidar_depth(prior, None, GREY, CAMERA, low)
    assert (answer.depth[:10] > 200).all()
    # alone, points say nothing about a sky that far from them
    alone = lidar_depth(None, None, GREY, CAMERA, low)
    assert np.isnan(alone.depth[:10]).all()
    assert np.isnan(alone.sigma[:10]).all()


def test_a_worthless_prior_does_no_harm():
    noise = np.random.default_rng(1).uniform(1, 50, DEPTH.shape).astype(np.float32)
    alone = abs_rel(lidar_depth(None, None, GREY, CAMERA, cloud_of(DEPTH)).depth)
    answer = lidar_depth(noise, None, GREY, CAMERA, cloud_of(DEPTH))
    assert abs_rel(answer.depth) < alone + 0.01


def test_at_the_points_the_answer_is_theirs_whatever_the_prior_says():
    cloud = cloud_of(DEPTH, step_v=4)
    prior = (DEPTH * (1 + 0.3 * np.sin(U / 20))).astype(np.float32)   # bent, 30 % wrong
    answer = lidar_depth(prior, None, GREY, CAMERA, cloud)
    u, v = (np.rint(cloud[:, axis] / cloud[:, 2] * 120 + centre).astype(int)
            for axis, centre in ((0, 80), (1, 40)))
    assert np.abs(answer.depth[v, u] / cloud[:, 2] - 1).mean() < 0.02


def test_doubt_grows_away_from_points_and_where_they_disagree():
    alone = lidar_depth(None, None, GREY, CAMERA, cloud_of(DEPTH)[:200])   # the upper rows
    assert alone.sigma[4, 80] < alone.sigma[24, 80] < alone.sigma[28, 80]
    box = np.where((U > 60) & (U < 100), 5.0, 20.0)
    answer = lidar_depth(None, None, GREY, CAMERA, cloud_of(box))
    assert answer.sigma[44, 60] > 3 * answer.sigma[44, 20]


def test_points_behind_a_nearer_surface_are_not_used():
    near = cloud_of(np.full_like(DEPTH, 5.0), step_v=2)
    behind = cloud_of(np.full_like(DEPTH, 30.0), step_v=8)[::7] + np.float32(0.01)
    answer = lidar_depth(None, None, GREY, CAMERA, np.concatenate((near, behind)))
    assert np.abs(answer.depth[8:88, 8:152] - 5).max() < 0.1


def test_without_a_cloud_the_last_scale_serves_for_a_while():
    prior, guide = (0.5 * DEPTH).astype(np.float32), LidarGuide()
    first = guide.answer(prior, None, GREY, CAMERA, cloud_of(DEPTH), 10)
    later = guide.answer(prior, None, GREY, CAMERA, None, 10 + SCALE_MAX_AGE_NS)
    assert later.num_points == 0
    assert later.scale == first.scale
    assert abs_rel(later.depth) < 0.02
    too_late = guide.answer(prior, None, GREY, CAMERA, None, 11 + SCALE_MAX_AGE_NS)
    assert too_late.scale is None
    np.testing.assert_array_equal(too_late.depth, prior)


def test_a_reset_forgets_the_scale():
    prior, guide = (0.5 * DEPTH).astype(np.float32), LidarGuide()
    guide.answer(prior, None, GREY, CAMERA, cloud_of(DEPTH), 10)
    guide.reset()
    assert guide.answer(prior, None, GREY, CAMERA, None, 20).scale is None


def test_with_neither_prior_nor_cloud_nothing_is_answered():
    assert LidarGuide().answer(None, None, GREY, CAMERA, None, 0) is None
