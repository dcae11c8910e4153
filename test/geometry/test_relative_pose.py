# SPDX-License-Identifier: Apache-2.0
"""Flow and depth of a known motion give back the motion, with an honest covariance."""
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.relative_pose import (
    estimate_relative_pose, PoseStatus, RelativePoseOptions)
from crossview_ros.geometry.se3 import exp_se3, invert, log_se3, transform_points
import numpy as np
import pytest

CAMERA = PinholeCamera(160, 120, 130.0, 130.0, 79.5, 59.5)
MOTIONS = {
    'forward and turning': (0.02, -0.01, 0.25, 0.01, 0.05, -0.01),
    'pure rotation': (0, 0, 0, 0.01, -0.06, 0.02),
    'standstill': (0, 0, 0, 0, 0, 0),
    'sideways': (0.2, 0, 0, 0, 0, 0)}


def rough_depth(rng):
    """Return a smooth, uneven surface 3 to 9 m away."""
    v, u = np.mgrid[:120, :160]
    return (6 + 2 * np.sin(u / 23) * np.cos(v / 17) + 1e-3 * rng.random((120, 160))) \
        .astype(np.float32)


def flow_of(depth, T_prev_cur):
    """Return the exact flow (H, W, 2) of a rigid scene."""
    v, u = np.mgrid[:120, :160].astype(np.float64)
    points = np.stack(((u - CAMERA.cx) / CAMERA.fx, (v - CAMERA.cy) / CAMERA.fy,
                       np.ones_like(u)), -1) * depth[..., None]
    x, y, z = np.moveaxis(transform_points(invert(T_prev_cur), points), -1, 0)
    return np.stack((CAMERA.fx * x / z + CAMERA.cx - u, CAMERA.fy * y / z + CAMERA.cy - v), -1)


@pytest.mark.parametrize('name', MOTIONS)
def test_exact_flow_gives_the_exact_motion(rng, name):
    truth = exp_se3(np.array(MOTIONS[name]))
    depth = rough_depth(rng)
    found = estimate_relative_pose(flow_of(depth, truth).astype(np.float32), depth, CAMERA)
    assert found.status is PoseStatus.OK
    # flow and depth are float32: 1e-7 of 160 px over 130 px, of 9 m
    assert np.abs(log_se3(invert(truth) @ found.T_prev_cur)).max() < 1e-6
    assert found.num_inliers == found.num_points


@pytest.mark.parametrize('share', [0.3, 0.6])
def test_gross_outliers_are_left_out(rng, share):
    truth = exp_se3(np.array(MOTIONS['forward and turning']))
    depth = rough_depth(rng)
    flow = flow_of(depth, truth) + rng.normal(0, 0.1, (120, 160, 2))
    wrong = rng.random((120, 160)) < share
    flow[wrong] = rng.uniform(-20, 20, (int(wrong.sum()), 2))
    found = estimate_relative_pose(flow, depth, CAMERA)
    assert found.status is PoseStatus.OK
    error = np.abs(log_se3(invert(truth) @ found.T_prev_cur))
    assert error[:3].max() < 0.01 and error[3:].max() < 1e-3
    assert found.num_inliers / found.num_points == pytest.approx(1 - share, abs=0.06)


def test_a_moving_thing_does_not_pull_the_camera_along(rng):
    truth = exp_se3(np.array(MOTIONS['forward and turning']))
    depth = rough_depth(rng)
    flow = flow_of(depth, truth)
    flow[30:90, 20:80] += (4.0, 1.0)   # a fifth of the image
    found = estimate_relative_pose(flow, depth, CAMERA)
    assert np.abs(log_se3(invert(truth) @ found.T_prev_cur)).max() < 1e-3


@pytest.mark.parametrize('name', ['forward and turning', 'pure rotation'])
def test_the_covariance_tells_the_errors(name):
    """NEES of 150 runs: its mean is 6 within 4 standard errors, sqrt(2 * 6 / 150) each."""
    truth = exp_se3(np.array(MOTIONS[name]))
    depth = rough_depth(np.random.default_rng(0))
    flow = flow_of(depth, truth)
    sigma_px = np.where(np.mgrid[:120, :160][1] < 80, 0.2, 0.6)
    depth_sigma = np.full((120, 160), 0.03)
    nees = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        found = estimate_relative_pose(
            flow + sigma_px[..., None] * rng.normal(size=(120, 160, 2)),
            # as disparity errs: evenly in 1 / Z
            depth / (1 + depth_sigma * rng.normal(size=(120, 160))), CAMERA, sigma_px,
            depth_sigma)
        error = log_se3(invert(found.T_prev_cur) @ truth)
        nees.append(error @ np.linalg.solve(found.covariance, error))
    assert abs(np.mean(nees) - 6) < 4 * np.sqrt(12 / 150)


def test_errors_that_are_alike_widen_the_covariance(rng):
    depth = rough_depth(rng)
    flow = flow_of(depth, exp_se3(np.array(MOTIONS['sideways'])))
    flow += rng.normal(0, 0.3, flow.shape)
    alone, alike = (estimate_relative_pose(
        flow, depth, CAMERA, options=RelativePoseOptions(correlation_px=px)) for px in (1, 16))
    stride = 4   # 40 x 30 cells
    assert alike.covariance == pytest.approx(alone.covariance * (16 / stride) ** 2)


def blank(depth, flow):
    return np.full_like(depth, np.nan), flow


def few(depth, flow):
    flow[:, 8:] = flow[20:] = np.nan
    return depth, flow


def one_place(depth, flow):
    v, u = np.mgrid[:120, :160]
    return depth, np.stack((80.0 - u, 60.0 - v), -1)


def noise(depth, flow):
    return depth, np.random.default_rng(0).uniform(-60, 60, flow.shape)


def infinite(depth, flow):
    return np.full_like(depth, np.inf), flow


@pytest.mark.parametrize('spoil, status', [
    (blank, PoseStatus.TOO_FEW_POINTS), (infinite, PoseStatus.TOO_FEW_POINTS),
    (few, PoseStatus.TOO_FEW_POINTS), (one_place, PoseStatus.TOO_FEW_INLIERS),
    (noise, PoseStatus.TOO_FEW_INLIERS)])
def test_where_nothing_can_be_known_there_is_no_pose(rng, spoil, status):
    depth = rough_depth(rng)
    depth, flow = spoil(depth, flow_of(depth, np.eye(4)))
    found = estimate_relative_pose(flow, depth, CAMERA)
    assert found.status is status
    assert found.T_prev_cur is None and found.covariance is None


def test_the_same_input_gives_the_same_pose(rng):
    depth = rough_depth(rng)
    flow = flow_of(depth, exp_se3(np.array(MOTIONS['forward and turning'])))
    flow += rng.normal(0, 1, flow.shape)
    one, two = (estimate_relative_pose(flow, depth, CAMERA) for _ in range(2))
    assert np.array_equal(one.T_prev_cur, two.T_prev_cur)
