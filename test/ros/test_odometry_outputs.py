# SPDX-License-Identifier: Apache-2.0
"""What the odometry remembers of the frames that it has seen."""
from types import SimpleNamespace

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.odometry_outputs import OdometryOutputs
from crossview_ros.runtime.results import PerceptionResult, TrackingStatus
from fake_publishers import FakeNode
import numpy as np
import pytest

pytestmark = pytest.mark.ros

IMAGE = np.zeros((8, 12, 3), np.uint8)
CAMERA = PinholeCamera(12, 8, 20.0, 20.0, 5.5, 3.5)
SETTINGS = PerceptionNodeParameters().changed({
    'extrinsics.base_camera': [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5], 'publish_tf': False})


@pytest.mark.parametrize('gaps_s, expected', [((0.0, 0.0, 0.0), 0), ((0.0, 0.4, 0.1), 2)])
def test_gaps_that_the_path_was_guessed_across_are_counted(gaps_s, expected):
    node = FakeNode(())
    outputs = OdometryOutputs(node, SETTINGS, CameraTransforms(SimpleNamespace(), 0.0, None), None)
    for number, gap_s in enumerate(gaps_s, start=1):
        data = FrameInput(IMAGE, None, CAMERA, number * 1_000_000_000, 'optical')
        outputs.publish(PerceptionResult(
            data.stamp_ns, previous_stamp_ns=data.stamp_ns - 500_000_000, T_prev_cur=np.eye(4),
            T_odom_camera=np.eye(4), covariance=np.eye(6), covariance_rel=np.eye(6),
            status=TrackingStatus.OK, gap_s=gap_s), data, SETTINGS)
    assert outputs.tracking().num_gaps == expected
    assert outputs.tracking().counts == {'ok': 3}
    assert len(node.publishers['odom'].messages) == 3   # each is published all the same
