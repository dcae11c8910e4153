# SPDX-License-Identifier: Apache-2.0
"""Projection against a slow loop, and depth images against the points they came from."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import (
    back_project, points_to_depth_image, project_points)
import numpy as np
import pytest

CAMERA = PinholeCamera(24, 16, 20.0, 22.0, 11.0, 8.5)


def depth_image_slowly(points, camera):
    """Draw point by point: the oracle."""
    image = np.full(camera.size_hw, np.nan, np.float32)
    for x, y, z in points:
        if not np.isfinite((x, y, z)).all() or z <= 0:
            continue
        column = int(np.floor(camera.fx * x / z + camera.cx + 0.5))
        row = int(np.floor(camera.fy * y / z + camera.cy + 0.5))
        if 0 <= column < camera.width and 0 <= row < camera.height:
            if not image[row, column] <= z:
                image[row, column] = z
    return image


def test_a_point_on_the_axis_falls_on_the_principal_point():
    uv, depth, in_view = project_points([[0, 0, 3.0]], CAMERA)
    assert uv.tolist() == [[11.0, 8.5]] and depth.tolist() == [3.0] and in_view.tolist() == [True]


@pytest.mark.parametrize('point', [(0, 0, -1.0), (0, 0, 0.0), (np.nan, 0, 1), (0, 0, np.nan),
                                   (0, 0, np.inf)])
def test_a_point_without_a_pixel_has_no_pixel(point):
    uv, _, in_view = project_points([point], CAMERA)
    assert np.isnan(uv).all() and not in_view.any()


def test_in_view_ends_half_a_pixel_beyond_the_outer_pixel_centres():
    u = np.array([-0.51, -0.5, 23.49, 23.5])
    points = np.stack(((u - 11) / 20, np.zeros(4), np.ones(4)), axis=1)
    assert project_points(points, CAMERA)[2].tolist() == [False, True, True, False]


def test_no_points_give_no_pixels():
    uv, depth, in_view = project_points(np.empty((0, 3)), CAMERA)
    assert uv.shape == (0, 2) and depth.shape == (0,) and in_view.shape == (0,)
    assert np.isnan(points_to_depth_image(np.empty((0, 3)), CAMERA)).all()


def test_depth_image_equals_drawing_point_by_point(rng):
    points = rng.uniform((-5, -4, -2), (5, 4, 10), (3000, 3))
    points[::50] = np.nan
    image = points_to_depth_image(points, CAMERA)
    np.testing.assert_array_equal(image, depth_image_slowly(points, CAMERA))
    assert np.isfinite(image).mean() > 0.5   # many pixels were hit more than once


def test_the_nearest_point_of_a_pixel_wins():
    image = points_to_depth_image([[0, 0, 5.0], [0, 0, 2.0], [0, 0, 9.0]], CAMERA)
    assert image[9, 11] == 2.0 and np.isfinite(image).sum() == 1


def test_back_projected_depth_projects_to_its_own_pixels(rng):
    depth = rng.uniform(0.5, 20, CAMERA.size_hw).astype(np.float32)
    points = back_project(depth, CAMERA)
    uv, z, in_view = project_points(points.reshape(-1, 3), CAMERA)
    v, u = np.mgrid[:16, :24]
    # float32 points: 1e-7 of some pixels
    np.testing.assert_allclose(uv.reshape(16, 24, 2), np.stack((u, v), axis=2), atol=1e-5)
    np.testing.assert_array_equal(points_to_depth_image(points.reshape(-1, 3), CAMERA), depth)
    assert points.dtype == np.float32 and in_view.all() and (z == depth.reshape(-1)).all()


@pytest.mark.parametrize('value', [np.nan, np.inf, -np.inf])
def test_a_pixel_without_depth_has_no_point(value):
    points = back_project(np.full(CAMERA.size_hw, value, np.float32), CAMERA)
    assert np.isnan(points).all()


def test_depth_of_another_size_is_refused():
    with pytest.raises(CalibrationError, match=r'\(16, 25\) but the camera is \(16, 24\)'):
        back_project(np.ones((16, 25), np.float32), CAMERA)
