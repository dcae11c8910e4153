# SPDX-License-Identifier: Apache-2.0
"""Image and cloud of any sample: in one frame, cropped to the view, with their reflectance."""
from crossview_ros.data.camera_clouds import CameraCloud, cropped_to_view, of_record, of_sample, \
    project
from crossview_ros.data.samples import FrameSample, ImagePointSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np
import pytest

CAMERA = PinholeCamera(64, 48, 50.0, 50.0, 31.5, 23.5)
IMAGE = np.zeros((48, 64, 3), np.uint8)
# optical: ahead in the middle, at the left edge, beyond the right edge, behind, too far
OPTICAL = np.array([[0, 0, 5], [-3.15, 0, 5], [3.4, 0, 5], [0, 0, -5], [0, 0, 120]], np.float32)
SHADES = np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32)


def test_points_turn_to_forward_left_up_and_those_out_of_view_go():
    cloud = of_sample(ImagePointSample(IMAGE, OPTICAL, CAMERA, 'a', SHADES))
    np.testing.assert_allclose(cloud.points, [[5, 0, 0, 0.1], [5, 3.15, 0, 0.2]], atol=1e-6)
    pixels, depth = project(cloud, cloud.points)
    np.testing.assert_allclose(pixels, [[31.5, 23.5], [0.0, 23.5]], atol=1e-4)
    np.testing.assert_allclose(depth, 5)


def test_points_stand_where_their_lidar_is_and_project_alike():
    T = np.eye(4)
    T[:3, 3] = 0.1, -0.4, -0.3   # right, up, behind the camera
    sample = ImagePointSample(IMAGE, OPTICAL, CAMERA, 'a', SHADES, T)
    cloud = of_sample(sample)
    np.testing.assert_allclose(cloud.points[0], [5.3, 0.1, -0.4, 0.1], atol=1e-6)
    np.testing.assert_allclose(project(cloud, cloud.points)[0], [[31.5, 23.5], [0.0, 23.5]],
                               atol=1e-4)


def test_frames_of_a_stereo_camera_keep_the_right_image_and_unknown_reflectance_is_zero():
    right = IMAGE + np.uint8(7)
    cloud = of_sample(FrameSample(IMAGE, right, StereoRig(CAMERA, CAMERA, 0.1), 0, OPTICAL))
    assert cloud.right is right and not cloud.points[:, 3].any() and len(cloud.points) == 2
    with pytest.raises(DatasetError, match='FrameSample without points'):
        of_sample(FrameSample(IMAGE, right, StereoRig(CAMERA, CAMERA, 0.1), 0, name='x'))


def test_a_record_drops_the_beams_without_a_point():
    T = np.array([[0, -1, 0, 0.2], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float32)
    points = np.array([[4, 0.2, 0, 0.6], [np.nan] * 4], np.float32)
    cloud = of_record({'left': IMAGE.transpose(2, 0, 1), 'right': IMAGE.transpose(2, 0, 1),
                       'depth': np.full((48, 64), 4, np.float16), 'points': points,
                       'focal': np.float32(50), 'T_camera_lidar': T})
    np.testing.assert_array_equal(cloud.points, points[:1])
    np.testing.assert_allclose(project(cloud, cloud.points)[0], [[31.5, 23.5]], atol=1e-5)
    assert cloud.depth.dtype == np.float32 and cloud.image.shape == (48, 64, 3)


def test_a_cloud_without_a_point_in_view_is_told_by_name():
    cloud = CameraCloud(IMAGE, np.array([[-5, 0, 0, 0.5]], np.float32),
                        of_sample(ImagePointSample(IMAGE, OPTICAL, CAMERA)).lidar_to_image,
                        name='frame 7')
    with pytest.raises(DatasetError, match="'frame 7': none of its 1 points"):
        cropped_to_view(cloud)
