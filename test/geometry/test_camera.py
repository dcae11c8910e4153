# SPDX-License-Identifier: Apache-2.0
"""Cameras and rigs: what they refuse, and that resizing and cropping move pixels as they say."""
from dataclasses import FrozenInstanceError, replace

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.projection import project_points
from crossview_ros.geometry.stereo import disparity_to_depth
import numpy as np
import pytest

CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 321.5, 238.25)
RIG = StereoRig(CAMERA, replace(CAMERA, cx=331.5), 0.12)


def random_points(rng, count=50):
    return rng.uniform((-1, -1, 1), (1, 1, 20), (count, 3))


def test_matrix_projects_as_the_pinhole_formula():
    u, v, w = CAMERA.matrix @ (0.3, -0.2, 2.0)
    assert (u / w, v / w) == pytest.approx((500 * 0.15 + 321.5, 510 * -0.1 + 238.25))
    assert CAMERA.size_hw == (480, 640)


def test_rays_pass_through_the_centres_of_their_pixels():
    camera = PinholeCamera(7, 5, 4.0, 3.0, 2.5, 1.75)
    rays = camera.rays()
    uv, _, in_view = project_points(rays.reshape(-1, 3), camera)
    v, u = np.mgrid[:5, :7]
    np.testing.assert_allclose(uv.reshape(5, 7, 2), np.stack((u, v), axis=2), atol=1e-12)
    assert rays.shape == (5, 7, 3) and (rays[..., 2] == 1).all() and in_view.all()


def test_scaled_camera_projects_to_scaled_pixels(rng):
    points = random_points(rng)
    uv, _, _ = project_points(points, CAMERA)
    scaled, _, _ = project_points(points, CAMERA.scaled(320, 120))
    np.testing.assert_allclose(scaled, uv * (320 / 640, 120 / 480), rtol=1e-12)


def test_cropped_camera_projects_to_moved_pixels(rng):
    points = random_points(rng)
    uv, _, _ = project_points(points, CAMERA)
    camera = CAMERA.cropped(100, 20, 200, 300)
    cropped, _, _ = project_points(points, camera)
    np.testing.assert_allclose(cropped, uv - (100, 20), atol=1e-10)
    assert camera.size_hw == (300, 200)


def test_scaling_there_and_back_is_the_same_camera():
    back = CAMERA.scaled(213, 97).scaled(640, 480)
    for name in ('width', 'height', 'fx', 'fy', 'cx', 'cy'):
        assert getattr(back, name) == pytest.approx(getattr(CAMERA, name), rel=1e-14)


@pytest.mark.parametrize('window', [(-1, 0, 10, 10), (0, -1, 10, 10), (600, 0, 41, 10),
                                    (0, 480, 1, 1)])
def test_a_crop_out_of_the_image_is_refused(window):
    with pytest.raises(CalibrationError, match='reaches out of the 640x480 image'):
        CAMERA.cropped(*window)


@pytest.mark.parametrize('change, text', [
    ({'width': 0}, 'width must be a whole number from 1 to 65536 px, got 0'),
    ({'height': -3}, 'height must be .* got -3'),
    ({'width': 2 ** 32 - 1}, 'width must be .* got 4294967295'),
    ({'height': 10.5}, 'height must be .* got 10.5'),
    ({'width': float('nan')}, 'width must be .* got nan'),
    ({'fx': 0.0}, 'fx must be greater than 0 px, got 0; is the camera calibrated'),
    ({'fy': -500.0}, 'fy must be greater than 0 px, got -500'),
    ({'fx': float('nan')}, r'fx must be a finite number \[px\], got nan'),
    ({'cx': float('inf')}, r'cx must be a finite number \[px\], got inf'),
    ({'cy': float('nan')}, r'cy must be a finite number \[px\], got nan'),
])
def test_impossible_intrinsics_are_refused_in_plain_words(change, text):
    with pytest.raises(CalibrationError, match=text):
        replace(CAMERA, **change)


def test_numpy_scalars_become_plain_numbers_and_nothing_can_be_changed():
    camera = PinholeCamera(np.int64(4), np.uint32(3), *np.float32((1, 1, 2, 1)))
    assert type(camera.width) is int and type(camera.fx) is float
    with pytest.raises(FrozenInstanceError):
        camera.fx = 2.0


@pytest.mark.parametrize('right, baseline, text', [
    (replace(CAMERA, width=320), 0.1, 'left image is 640x480 px but right is 320x480'),
    (replace(CAMERA, fx=501.0), 0.1, 'left fx is 500 px but right fx is 501; the pair is not'),
    (replace(CAMERA, fy=505.0), 0.1, 'left fy is 510 px but right fy is 505'),
    (replace(CAMERA, cy=240.0), 0.1, 'left cy is 238.25 px but right cy is 240; rows do not'),
    (CAMERA, -0.12, 'baseline is -0.120 m; .* are left and right swapped'),
    (CAMERA, 0.0, 'baseline is 0 m; .* P.3. = -fx'),
    (CAMERA, 120.0, 'baseline is 120.000 m, more than 10 m: it is likely millimetres'),
    (CAMERA, float('nan'), 'baseline must be a finite number of metres, got nan'),
])
def test_what_is_no_rectified_pair_is_refused_in_plain_words(right, baseline, text):
    with pytest.raises(CalibrationError, match=text):
        StereoRig(CAMERA, right, baseline)


def test_focal_lengths_that_differ_by_rounding_are_one_pair():
    StereoRig(CAMERA, replace(CAMERA, fx=500.4, cy=238.3), 10.0)


@pytest.mark.parametrize('change', [lambda rig: rig.scaled(320, 240),
                                    lambda rig: rig.cropped(40, 30, 300, 200)])
def test_depth_survives_resizing_and_cropping(change, rng):
    points = random_points(rng)
    rig = change(RIG)
    left, depth, _ = project_points(points, rig.left)
    right, _, _ = project_points(points - (rig.baseline, 0, 0), rig.right)
    disparity = (left - right)[:, 0].astype(np.float32)[None]
    np.testing.assert_allclose(disparity_to_depth(disparity, rig)[0], depth, rtol=1e-4)
    assert rig.baseline == RIG.baseline


def test_doffs_is_how_far_right_the_right_principal_point_lies():
    assert RIG.doffs == 10.0
    assert RIG.scaled(320, 480).doffs == 5.0
    assert RIG.cropped(3, 0, 600, 400).doffs == 10.0
