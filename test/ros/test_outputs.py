# SPDX-License-Identifier: Apache-2.0
"""Outputs: what is computed for whom, and the arrays that go into messages."""
import sys
from types import SimpleNamespace

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.projection import back_project
from crossview_ros.messages.image import read_float_image
from crossview_ros.ros import compat, qos
from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.depth_outputs import decimated_points, DepthOutputs, to_millimetres
from crossview_ros.ros.flow_outputs import FlowOutputs
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import NO_POSE, PerceptionNodeParameters
from crossview_ros.ros.throttled_log import ThrottledLog
from crossview_ros.ros.transform_output import TransformOutput
from fake_publishers import FakeNode
from geometry_msgs.msg import TransformStamped
import numpy as np
import pytest
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import ROSClock
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.time import Time

pytestmark = pytest.mark.ros

CAMERA = PinholeCamera(13, 10, 20.0, 20.0, 6.0, 4.5)
RIG = StereoRig(CAMERA, CAMERA, 0.1)


def frame_input(rng):
    """Return an input with random colours."""
    image = rng.integers(0, 256, (10, 13, 3), np.uint8)
    return FrameInput(image, image, RIG, 5, 'left_optical')


def published(listened_to, rng):
    """Publish one result; return the number of messages by topic."""
    node = FakeNode(listened_to)
    result = SimpleNamespace(depth=np.ones((10, 13), np.float32),
                             disparity=np.full((10, 13), 2.0, np.float32),
                             confidence=np.ones((10, 13), np.float32))
    DepthOutputs(node, '32FC1', 'stereo').publish(result, frame_input(rng),
                                                  PerceptionNodeParameters())
    return {topic: len(publisher.messages) for topic, publisher in node.publishers.items()}


def test_nothing_but_depth_is_computed_while_nobody_listens(rng):
    assert published((), rng) == {'depth/image': 1, 'depth/camera_info': 1,
                                  'depth/confidence': 0, 'disparity': 0, 'points': 0}


@pytest.mark.parametrize('topic', ['depth/confidence', 'disparity', 'points'])
def test_what_somebody_listens_to_is_computed(topic, rng):
    assert published((topic,), rng)[topic] == 1


def test_millimetres_are_rounded_and_never_wrap():
    depth = np.array([[1.0, 1.2345, 0.0004, 65.535, 65.536, 70.0, np.nan, np.inf, -np.inf]],
                     np.float32)
    assert to_millimetres(depth).tolist() == [[1000, 1234, 0, 65535, 0, 0, 0, 0, 0]]
    assert to_millimetres(depth).dtype == np.uint16


@pytest.mark.parametrize('stride', [1, 2, 3, 4, 64])
def test_decimated_points_are_those_of_every_so_many_th_pixel(stride, rng):
    data = frame_input(rng)
    depth = rng.uniform(1, 5, (10, 13)).astype(np.float32)
    depth[0, 0], depth[2, 4] = np.inf, np.nan
    points, rgb = decimated_points(depth, data, stride)
    step = min(stride, 10)
    rows, columns = np.arange(10 // step) * step, np.arange(13 // step) * step
    expected = back_project(depth, CAMERA)[np.ix_(rows, columns)]
    np.testing.assert_allclose(points, expected, rtol=1e-6)
    assert np.isnan(points[0, 0]).all()
    assert (rgb == data.left[np.ix_(rows, columns)]).all()


@pytest.mark.parametrize('offered, requested, text', [
    (('RELIABLE', 'VOLATILE'), ('BEST_EFFORT', 'VOLATILE'), None),
    (('BEST_EFFORT', 'VOLATILE'), ('RELIABLE', 'VOLATILE'), 'best effort'),
    (('RELIABLE', 'VOLATILE'), ('RELIABLE', 'TRANSIENT_LOCAL'), 'volatile'),
    (('RELIABLE', 'TRANSIENT_LOCAL'), ('RELIABLE', 'VOLATILE'), None),
])
def test_qos_fits_when_no_more_is_asked_than_offered(offered, requested, text):
    profiles = [QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability],
                           durability=DurabilityPolicy[durability])
                for reliability, durability in (offered, requested)]
    reason = qos.mismatch(*profiles)
    assert reason is None if text is None else text in reason


def test_inputs_take_from_anybody_and_outputs_serve_anybody():
    assert qos.sensor_input(4).depth == 10
    assert qos.sensor_input(30).depth == 30
    assert qos.in_words(qos.sensor_input(4)) == 'BEST_EFFORT VOLATILE'
    assert qos.in_words(qos.dense_output()) == 'RELIABLE VOLATILE'


@pytest.mark.parametrize('with_post_callback', [True, False], ids=['iron', 'humble'])
def test_parameters_are_applied_after_they_are_validated(with_post_callback):
    calls, registered = [], []
    node = SimpleNamespace(add_on_set_parameters_callback=registered.append)
    if with_post_callback:
        node.add_post_set_parameters_callback = registered.append

    def validate(parameters):
        calls.append(('validate', *parameters))
        return SetParametersResult(successful=parameters != ['bad'])

    compat.watch_parameters(node, validate, lambda parameters: calls.append(
        ('apply', *parameters)))
    for parameters in (['good'], ['bad']):
        result = registered[0](parameters)
        if result.successful and with_post_callback:
            registered[1](parameters)
    assert calls == [('validate', 'good'), ('apply', 'good'), ('validate', 'bad')]


def test_the_module_of_events_is_found_under_its_old_name_too(monkeypatch):
    import importlib
    load = importlib.import_module

    def like_humble(name):
        if name == 'rclpy.event_handler':
            raise ImportError(name)
        return SimpleNamespace(name=name) if name == 'rclpy.qos_event' else load(name)

    assert hasattr(compat.event_callbacks(), 'SubscriptionEventCallbacks')
    monkeypatch.setattr(importlib, 'import_module', like_humble)
    assert compat.event_callbacks().name == 'rclpy.qos_event'


def test_the_baseline_comes_from_the_parameter_then_from_tf_then_from_nowhere(monkeypatch):
    warnings = []
    node = SimpleNamespace(get_clock=ROSClock)
    log = ThrottledLog(SimpleNamespace(warning=warnings.append))
    transform = TransformStamped().transform
    transform.translation.x = 0.25
    buffer = SimpleNamespace(
        can_transform=lambda target, source, time: target == 'left',
        lookup_transform=lambda target, source, time: SimpleNamespace(transform=transform))
    fake = SimpleNamespace(Buffer=lambda: buffer,
                           TransformListener=lambda buffer, node: SimpleNamespace())
    assert CameraTransforms(node, 0.3, log).baseline('left', 'right') == 0.3
    monkeypatch.setitem(sys.modules, 'tf2_ros', fake)
    assert CameraTransforms(node, 0.0, log).baseline('left', 'right') == 0.25
    assert CameraTransforms(node, 0.0, log).baseline('/left', '/right') == 0.25   # of ROS 1
    assert CameraTransforms(node, 0.0, log).baseline('elsewhere', 'right') is None
    assert warnings == []
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    transforms = CameraTransforms(node, 0.0, log)
    assert transforms.baseline('left', 'right') is None
    assert transforms.baseline('left', 'right') is None
    assert len(warnings) == 1 and 'or set the parameter stereo_baseline' in warnings[0]


def test_transforms_are_forgotten_when_the_clock_goes_back(monkeypatch):
    cleared = []
    fake = SimpleNamespace(
        Buffer=lambda: SimpleNamespace(can_transform=lambda *_: False,
                                       clear=lambda: cleared.append(clock.now().nanoseconds)),
        TransformListener=lambda buffer, node: SimpleNamespace(unregister=lambda: None))
    monkeypatch.setitem(sys.modules, 'tf2_ros', fake)
    clock = ROSClock()
    clock._set_ros_time_is_active(True)
    transforms = CameraTransforms(SimpleNamespace(get_clock=lambda: clock), 0.0, None)
    transforms.find('base_link', 'camera', NO_POSE, 'extrinsics.base_camera')
    for second in (50, 60, 59.5, 10, 20):
        clock.set_ros_time_override(Time(nanoseconds=int(second * 1e9)))
    assert cleared == [10_000_000_000]
    transforms.close()
    clock.set_ros_time_override(Time(seconds=1))
    assert len(cleared) == 1


def test_extrinsics_come_from_the_parameter_or_tf_and_are_never_made_up(monkeypatch):
    monkeypatch.setitem(sys.modules, 'tf2_ros', None)
    transforms = CameraTransforms(SimpleNamespace(), 0.0,
                                  ThrottledLog(SimpleNamespace(warning=lambda text: None)))
    given = (1.0, 2.0, 3.0, 0.0, 0.0, 1.0, 0.0)   # half a turn about z
    found = transforms.find('base_link', 'camera', given, 'extrinsics.base_camera')
    np.testing.assert_allclose(found @ [1, 0, 0, 1], [0, 2, 3, 1], atol=1e-12)
    assert transforms.find('base_link', 'camera', NO_POSE, 'extrinsics.base_camera') is None
    assert (transforms.find('camera', 'camera', NO_POSE, 'x') == np.eye(4)).all()


def flow_topics(listened_to, previous_ns=3, **settings):
    """Publish one flow of 2 px to the right; return the messages by topic."""
    node = FakeNode(listened_to)
    flow = np.zeros((10, 13, 2), np.float32)
    flow[..., 0] = 2.0
    result = SimpleNamespace(flow=flow, flow_confidence=np.ones((10, 13), np.float32),
                             previous_stamp_ns=previous_ns)
    data = FrameInput(np.zeros((10, 13, 3), np.uint8), None, CAMERA, 5_000_000_000, 'optical')
    FlowOutputs(node).publish(result, data, PerceptionNodeParameters(**settings))
    return {topic: publisher.messages for topic, publisher in node.publishers.items()}


def test_flow_and_its_first_header_go_out_always_and_the_rest_on_demand():
    counts = {topic: len(messages) for topic, messages in flow_topics(()).items()}
    assert counts == {'optical_flow/image': 1, 'optical_flow/meta': 1,
                      'optical_flow/confidence': 0, 'optical_flow/color': 0}
    for topic in ('optical_flow/confidence', 'optical_flow/color'):
        assert len(flow_topics((topic,))[topic]) == 1


@pytest.mark.parametrize('previous_ns, expected', [
    (4_500_000_000, 4.0), (5_000_000_000, None), (6_000_000_000, None), (0, None)])
def test_flow_per_second_needs_a_time_between_the_images(previous_ns, expected):
    messages = flow_topics((), previous_ns, flow_units='pixel_per_second')['optical_flow/image']
    values = [read_float_image(message)[0, 0].tolist() for message in messages]
    assert values == ([] if expected is None else [[expected, 0.0]])


def sent_by(node, warnings):
    """Send a transform; return whether that was possible."""
    output = TransformOutput(node, ThrottledLog(SimpleNamespace(warning=warnings.append)))
    output.send(np.eye(4), 5, 'odom', 'base_link')
    output.destroy()
    return output


def test_transforms_go_out_by_tf2_ros_else_by_tf2_msgs_else_the_lack_is_told(monkeypatch):
    sent, warnings = [], []
    publisher = SimpleNamespace(publish=lambda message: sent.extend(message.transforms))
    node = SimpleNamespace(create_publisher=lambda kind, topic, qos: publisher,
                           destroy_publisher=lambda publisher: None)
    with_ros = SimpleNamespace(TransformBroadcaster=lambda node: SimpleNamespace(
        sendTransform=sent.append))
    with_msgs = SimpleNamespace(TFMessage=lambda transforms: SimpleNamespace(
        transforms=transforms))
    for ros, msgs, count in ((with_ros, None, 1), (None, with_msgs, 2), (None, None, 2)):
        monkeypatch.setitem(sys.modules, 'tf2_ros', ros)
        monkeypatch.setitem(sys.modules, 'tf2_msgs', msgs and SimpleNamespace(msg=msgs))
        monkeypatch.setitem(sys.modules, 'tf2_msgs.msg', msgs)
        sent_by(node, warnings)
        assert len(sent) == count
    assert [transform.child_frame_id for transform in sent] == ['base_link'] * 2
    assert len(warnings) == 1 and 'neither tf2_ros nor tf2_msgs' in warnings[0]
