# SPDX-License-Identifier: Apache-2.0
"""Flow of a scene that stands still, against projecting each of its points."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.flow import static_flow
from crossview_ros.geometry.projection import back_project, project_points
from crossview_ros.geometry.se3 import exp_se3, transform_points
import numpy as np
import pytest

CAMERA = PinholeCamera(64, 48, 70.0, 72.0, 30.2, 25.1)
MOTION = exp_se3(np.array((0.1, -0.05, 0.4, 0.02, -0.06, 0.03)))


def depth_image(rng):
    return rng.uniform(1.5, 20.0, CAMERA.size_hw).astype(np.float32)


def pixels():
    return np.stack(np.meshgrid(np.arange(64), np.arange(48)), axis=2)


def test_each_pixel_goes_where_its_point_is_projected(rng):
    depth = depth_image(rng)
    points = transform_points(MOTION, back_project(depth, CAMERA).reshape(-1, 3))
    uv, _, _ = project_points(points, CAMERA)
    flow, _ = static_flow(depth, CAMERA, MOTION)
    # float32 of coordinates up to 64 px
    np.testing.assert_allclose(flow, uv.reshape(48, 64, 2) - pixels(), atol=2e-4)
    assert flow.dtype == np.float32


def test_what_is_infinitely_far_moves_by_rotation_alone(rng):
    depth = depth_image(rng)
    depth[5, 7] = np.inf
    flow, by_turning = static_flow(depth, CAMERA, MOTION)
    np.testing.assert_array_equal(flow[5, 7], by_turning[5, 7])
    ray = CAMERA.rays() @ MOTION[:3, :3].T
    expected = ray[..., :2] / ray[..., 2:] * (CAMERA.fx, CAMERA.fy) + (CAMERA.cx, CAMERA.cy)
    np.testing.assert_allclose(by_turning, expected - pixels(), atol=2e-4)


@pytest.mark.parametrize('depth_m', [np.nan, -np.inf, 0.0])
def test_without_a_depth_there_is_no_flow(rng, depth_m):
    depth = depth_image(rng)
    depth[3, 4] = depth_m
    flow, _ = static_flow(depth, CAMERA, MOTION)
    others = np.delete(flow.reshape(-1, 2), 3 * 64 + 4, axis=0)
    assert np.isnan(flow[3, 4]).all() and np.isfinite(others).all()


def test_points_that_end_up_behind_the_camera_have_no_flow():
    backwards = np.eye(4)
    backwards[2, 3] = -3.0   # the camera drives 3 m forward, past what is 2 m away
    flow, _ = static_flow(np.full(CAMERA.size_hw, 2.0, np.float32), CAMERA, backwards)
    assert np.isnan(flow).all()


def test_a_camera_of_another_size_is_refused():
    with pytest.raises(CalibrationError, match='48, 64'):
        static_flow(np.ones((10, 10), np.float32), CAMERA, np.eye(4))
