# SPDX-License-Identifier: Apache-2.0
"""Figures of a path: with truth, without, standing still, with gaps."""
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.replay.odometry_scores import (
    errors_along_path, odometry_figures, Track, TrackedFrame)
import numpy as np
import pytest


def track(estimates, truths=None):
    """Return a Track of poses; None where there is none."""
    truths = truths or [None] * len(estimates)
    return Track([TrackedFrame(index, index * 10**8, estimate, truth)
                  for index, (estimate, truth) in enumerate(zip(estimates, truths))])


def at(x, y=0.0, yaw=0.0):
    """Return a pose in the plane."""
    T = exp_se3(np.array([0, 0, 0, 0, 0, yaw]))
    T[:2, 3] = x, y
    return T


def values(figures):
    """Return {name: value}."""
    return {name: metric.value for name, metric in figures.items()}


def test_a_perfect_path_in_another_frame_has_no_error():
    T_world_odom = exp_se3(np.array([3.0, -2.0, 1.0, 0.3, -0.4, 1.2]))
    poses = [at(0), at(1), at(2, 0, 0.5), at(2, 1, 1.5)]
    figures = values(odometry_figures(track(poses, [T_world_odom @ pose for pose in poses])))
    assert figures['odometry.true_path'] == pytest.approx(3.0)
    for name in ('drift_percent', 'ape', 'rpe', 'rpe_angle'):
        assert figures[f'odometry.{name}'] == pytest.approx(0.0, abs=1e-6), name


def test_without_truth_it_is_how_far_the_camera_went():
    figures = values(odometry_figures(track([at(0), at(1), at(1, 1, np.pi / 2), at(0, 1)])))
    assert figures == {'odometry.path': pytest.approx(3.0),
                       'odometry.away': pytest.approx(np.sqrt(2)),
                       'odometry.turn': pytest.approx(90.0)}


def test_turning_on_the_spot_is_not_standing_still():
    turning = [at(0), at(0, 0, 0.1), at(0, 0, 0.2)]
    assert not track(turning, turning).stands_still
    still = [at(0), at(0.001), at(0.0, 0.001)]
    assert track(turning, still).stands_still
    assert not track(still).stands_still   # without truth nobody knows


def test_fewer_than_two_poses_have_no_figures():
    assert odometry_figures(Track()) == {}
    assert odometry_figures(track([at(0), None], [at(0), at(1)])) == {}


def test_errors_grow_from_zero_along_the_true_path():
    travelled, position_m, rotation_deg = errors_along_path(
        track([None, at(5), at(6.5), at(8, 0, 0.1)], [at(0), at(1), at(2), at(3)]))
    np.testing.assert_allclose(travelled, [0, 1, 2])
    np.testing.assert_allclose(position_m, [0, 0.5, 1.0], atol=1e-12)
    np.testing.assert_allclose(rotation_deg, [0, 0, np.rad2deg(0.1)], atol=1e-9)
