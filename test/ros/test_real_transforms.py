# SPDX-License-Identifier: Apache-2.0
"""Transforms over the real tf2_ros, where it is installed."""
import time
from types import SimpleNamespace

from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.node_parameters import NO_POSE
from crossview_ros.ros.session import NodeSession
from crossview_ros.ros.throttled_log import ThrottledLog
from crossview_ros.ros.transform_output import TransformOutput
from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest

tf2_ros = pytest.importorskip('tf2_ros', reason='tf2_ros is not installed')
pytestmark = pytest.mark.ros

LIMIT_S = 20.0


@pytest.fixture
def nodes():
    """Return two nodes whose callbacks run: one that speaks, one that listens."""
    with NodeSession('mouth', spin=True) as mouth, NodeSession('ear', '/ns', spin=True) as ear:
        yield mouth.node, ear.node


def quiet():
    """Return a log that nobody reads."""
    return ThrottledLog(SimpleNamespace(warning=lambda text: None))


def edge(parent, child, x, quaternion=(0.0, 0.0, 0.0, 1.0), stamp_s=0):
    """Return a transform [m] along x of the parent."""
    transform = TransformStamped()
    transform.header.stamp.sec = stamp_s
    transform.header.frame_id, transform.child_frame_id = parent, child
    transform.transform.translation.x = x
    rotation = transform.transform.rotation
    rotation.x, rotation.y, rotation.z, rotation.w = quaternion
    return transform


def until(ask):
    """Return the first answer that is not None or False."""
    end_s = time.monotonic() + LIMIT_S
    while time.monotonic() < end_s:
        answer = ask()
        if answer is not None and answer is not False:
            return answer
        time.sleep(0.02)
    pytest.fail('no answer in time')


def test_a_late_chain_of_fixed_transforms_is_found_and_nothing_before(nodes):
    mouth, ear = nodes
    transforms = CameraTransforms(ear, 0.0, quiet())

    def find(target='base_link', source='camera'):
        return transforms.find(target, source, NO_POSE, 'extrinsics.base_camera')

    assert find() is None
    broadcaster = tf2_ros.StaticTransformBroadcaster(mouth)
    broadcaster.sendTransform(edge('base_link', 'mast', 1.0))
    until(lambda: find('base_link', 'mast'))
    assert find() is None   # half of the way is no way
    broadcaster.sendTransform(edge('mast', 'camera', 0.5, (-0.5, 0.5, -0.5, 0.5)))
    expected = [[0, 0, 1, 1.5], [-1, 0, 0, 0], [0, -1, 0, 0], [0, 0, 0, 1]]   # REP 103
    np.testing.assert_allclose(until(find), expected, atol=1e-12)
    np.testing.assert_allclose(find('/base_link', '/camera'), expected, atol=1e-12)
    transforms.close()
    until(lambda: mouth.count_subscribers('/tf_static') == 0)


def test_a_transform_goes_out_once_under_its_stamp_and_frames(nodes):
    mouth, ear = nodes
    from tf2_msgs.msg import TFMessage
    received = []
    ear.create_subscription(TFMessage, '/tf', received.append, 100)
    output = TransformOutput(mouth, quiet())
    until(lambda: mouth.count_subscribers('/tf') == 1)
    T_odom_base = np.eye(4)
    T_odom_base[:3, 3] = 1.0, 2.0, 3.0
    for stamp_ns in (7_000_000_008, 9_000_000_010):
        output.send(T_odom_base, stamp_ns, 'odom', 'base_link')
    until(lambda: len(received) == 2)
    sent = [transform for message in received for transform in message.transforms]
    assert [(one.header.stamp.sec, one.header.stamp.nanosec) for one in sent] == [(7, 8), (9, 10)]
    assert {(one.header.frame_id, one.child_frame_id) for one in sent} == {('odom', 'base_link')}
    assert sent[1].transform.translation.z == 3.0
    output.destroy()
    until(lambda: ear.count_publishers('/tf') == 0)
