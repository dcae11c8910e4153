# SPDX-License-Identifier: Apache-2.0
"""Where the camera's motion explains the flow, depth and pose give it; movers keep their own."""
from dataclasses import replace

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.flow import static_flow
from crossview_ros.geometry.se3 import exp_se3, invert
from crossview_ros.runtime.odometry import SeenDepth
from crossview_ros.runtime.static_flow import explain_by_motion, POSE_SCALE_PX
import numpy as np
import pytest

CAMERA = PinholeCamera(64, 48, 70.0, 70.0, 31.5, 23.5)
STEP = exp_se3(np.array((0.05, 0.0, 0.2, 0.0, 0.03, 0.0)))   # T_prev_cur


@pytest.fixture(name='seen')
def _seen(rng):
    depth = rng.uniform(2.0, 12.0, CAMERA.size_hw).astype(np.float32)
    return SeenDepth(depth, np.full(depth.shape, 0.02, np.float32), CAMERA, 1)


@pytest.fixture(name='truth')
def _truth(seen):
    return static_flow(seen.depth, CAMERA, invert(STEP))[0]


def doubt(scale_px):
    return np.full(CAMERA.size_hw, np.log(scale_px), np.float32)


def test_noise_within_the_networks_doubt_is_gone(seen, truth, rng):
    noisy = truth + rng.uniform(-0.7, 0.7, truth.shape).astype(np.float32)
    flow, _ = explain_by_motion(noisy, doubt(0.8), seen, STEP)
    np.testing.assert_array_equal(flow, truth)


def test_a_sure_mover_keeps_the_flow_of_the_network(seen, truth):
    moving = truth.copy()
    moving[10:20, 10:20] += 5.0
    flow, log_scale = explain_by_motion(moving, doubt(0.5), seen, STEP)
    np.testing.assert_array_equal(flow[10:20, 10:20], moving[10:20, 10:20])
    np.testing.assert_array_equal(log_scale[10:20, 10:20], doubt(0.5)[10:20, 10:20])
    np.testing.assert_array_equal(flow[30:], truth[30:])


def test_a_guess_with_much_doubt_follows_the_camera(seen, truth):
    guess = truth + np.float32(15.0)
    flow, log_scale = explain_by_motion(guess, doubt(20.0), seen, STEP)
    np.testing.assert_array_equal(flow, truth)
    assert (log_scale < np.log(2.0)).all()


def test_where_a_static_point_leaves_the_image_a_surer_guess_is_overruled(seen, truth):
    u = np.arange(64) + truth[..., 0]
    leaves = (u < 0) | (u > 63)
    assert leaves.sum() > 20
    static_scale = 0.3   # more than depth and pose give it anywhere
    guess = truth + np.float32((4 + static_scale, 0))
    flow, _ = explain_by_motion(guess, doubt(1.0), seen, STEP)
    np.testing.assert_array_equal(flow[leaves], truth[leaves])
    v = np.arange(48)[:, None] + truth[..., 1]
    stays = ~leaves & (v >= 0) & (v <= 47)
    np.testing.assert_array_equal(flow[stays], guess[stays])


def test_the_scale_is_that_of_the_depth_error_times_the_parallax(seen, truth):
    by_turning = static_flow(seen.depth, CAMERA, invert(STEP))[1]
    parallax = np.linalg.norm(truth - by_turning, axis=2)
    _, log_scale = explain_by_motion(truth, doubt(30.0), seen, STEP)
    # a Laplace scale is the standard deviation over sqrt(2)
    np.testing.assert_allclose(np.exp(log_scale), parallax * 0.02 / np.sqrt(2) + POSE_SCALE_PX,
                               rtol=1e-4)


def test_doubt_never_grows(seen, truth):
    _, log_scale = explain_by_motion(truth, doubt(0.01), seen, STEP)
    np.testing.assert_array_equal(log_scale, doubt(0.01))


def test_pixels_without_depth_keep_the_flow_of_the_network(seen, truth):
    seen.depth[4, 5] = np.nan
    other = truth + np.float32(0.2)
    flow, log_scale = explain_by_motion(other, doubt(1.0), seen, STEP)
    np.testing.assert_array_equal(flow[4, 5], other[4, 5])
    assert log_scale[4, 5] == np.float32(0) and np.isfinite(flow).all()


@pytest.mark.parametrize('missing', ['flow', 'depth'])
def test_without_a_measure_of_doubt_nothing_is_replaced(seen, truth, missing):
    other = truth + np.float32(0.1)
    if missing == 'depth':
        seen = SeenDepth(seen.depth, None, CAMERA, 1)
    log_scale = None if missing == 'flow' else doubt(1.0)
    flow, scale = explain_by_motion(other, log_scale, seen, STEP)
    assert flow is other and scale is log_scale


def test_depth_of_one_view_replaces_only_flow_that_it_knows_better(seen, truth, rng):
    one_view = replace(seen, scale_sigma=0.5)
    noisy = truth + rng.uniform(-0.1, 0.1, truth.shape).astype(np.float32)
    flow, log_scale = explain_by_motion(noisy, doubt(0.01), one_view, STEP)   # a sure network
    np.testing.assert_array_equal(flow, noisy)
    np.testing.assert_array_equal(log_scale, doubt(0.01))
    flow, _ = explain_by_motion(noisy, doubt(20.0), one_view, STEP)
    np.testing.assert_array_equal(flow, truth)
