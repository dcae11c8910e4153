# SPDX-License-Identifier: Apache-2.0
"""Agreement of depth with LiDAR points, counted by hand."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.metrics.lidar import depth_vs_lidar
import numpy as np
import pytest

CAMERA = PinholeCamera(4, 3, 1.0, 1.0, 1.0, 1.0)
# (0, 0, z) falls on pixel (1, 1); (z, 0, z) on (2, 1); (0, z, z) on (1, 2)
POINTS = np.array([(0, 0, 2.0), (0, 0, 5.0), (4, 0, 4.0), (0, 8, 8.0), (0, 0, -1), (99, 0, 1),
                   (np.nan, 0, 1)])


def test_agreement_by_hand():
    depth = np.full((3, 4), 7, np.float32)
    depth[1, 1], depth[1, 2], depth[2, 1] = 2.5, np.nan, 7.0
    agreement = depth_vs_lidar(depth, POINTS, CAMERA)
    assert agreement.num_points == 3               # the nearer of two on one pixel counts
    assert agreement.coverage == pytest.approx(2 / 3)
    assert agreement.bias_m == pytest.approx((0.5 - 1.0) / 2)
    assert agreement.abs_rel == pytest.approx((0.5 / 2 + 1.0 / 8) / 2)


def test_points_out_of_range_are_left_out():
    agreement = depth_vs_lidar(np.full((3, 4), 4, np.float32), POINTS, CAMERA, 3.0, 6.0)
    assert (agreement.num_points, agreement.abs_rel) == (1, 0)


def test_a_depth_image_of_another_size_is_refused():
    with pytest.raises(CalibrationError, match=r'depth image is \(6, 8\) but the camera is'):
        depth_vs_lidar(np.ones((6, 8), np.float32), POINTS, CAMERA)


def test_nothing_in_view_is_not_a_number():
    agreement = depth_vs_lidar(np.ones((3, 4), np.float32), np.empty((0, 3)), CAMERA)
    assert agreement.num_points == 0
    assert np.isnan([agreement.coverage, agreement.bias_m, agreement.abs_rel]).all()
