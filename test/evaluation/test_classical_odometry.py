# SPDX-License-Identifier: Apache-2.0
"""ORB + SGBM + PnP follows a rig along a wall, says when it is lost, and goes on."""
from crossview_ros.evaluation.classical_odometry import ClassicalOdometry
from crossview_ros.geometry.camera import StereoRig
import numpy as np
import pytest
from wall_bag import BASELINE, CAMERA, DISPARITY, METRES_PER_PIXEL, wall, WIDTH

RIG = StereoRig(CAMERA, CAMERA, BASELINE)
PICTURE = wall(WIDTH + DISPARITY + 100, cell=6)


def pair(shift_px):
    return (PICTURE[:, shift_px:shift_px + WIDTH],
            PICTURE[:, shift_px + DISPARITY:shift_px + DISPARITY + WIDTH])


def test_the_way_along_a_wall_is_found_to_a_millimetre_a_step():
    odometry = ClassicalOdometry()
    poses = [odometry.process(*pair(shift), RIG) for shift in (0, 5, 12, 12)]
    np.testing.assert_array_equal(poses[0], np.eye(4))
    for pose, shift in zip(poses, (0, 5, 12, 12)):
        assert pose[:3, 3] == pytest.approx([shift * METRES_PER_PIXEL, 0, 0], abs=0.002)
        np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=2e-3)


def test_a_dark_image_is_lost_and_the_way_goes_on_from_the_last_pose():
    odometry = ClassicalOdometry()
    dark = np.zeros_like(pair(0)[0]), np.zeros_like(pair(0)[0])
    assert odometry.process(*pair(0), RIG) is not None
    assert odometry.process(*dark, RIG) is None
    assert odometry.process(*pair(10), RIG) is None   # nothing to compare it with
    pose = odometry.process(*pair(15), RIG)
    assert pose[0, 3] == pytest.approx(5 * METRES_PER_PIXEL, abs=0.002)
    odometry.reset()
    np.testing.assert_array_equal(odometry.process(*pair(40), RIG), np.eye(4))
