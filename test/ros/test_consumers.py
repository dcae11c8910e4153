# SPDX-License-Identifier: Apache-2.0
"""
What SLAM stacks, Nav2 and viewers do with the messages of the outputs, as their sources do it.

Each consumer reads the bytes of the messages by itself: nothing of crossview_ros.messages.
"""
from types import SimpleNamespace

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.ros import qos
from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.depth_outputs import DepthOutputs
from crossview_ros.ros.flow_outputs import FlowOutputs
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.odometry_outputs import OdometryOutputs
from crossview_ros.runtime.results import PerceptionResult, TrackingStatus
from fake_publishers import FakeNode
import numpy as np
import pytest
from rclpy.qos import (
    DurabilityPolicy, qos_check_compatible, qos_profile_sensor_data, QoSCompatibility, QoSProfile,
    ReliabilityPolicy)

pytestmark = pytest.mark.ros

# cx off the centre and fx != fy: an exchange of the two shows
CAMERA = PinholeCamera(12, 8, 20.0, 21.0, 5.2, 3.4)
RIG = StereoRig(CAMERA, CAMERA, 0.1)
FRAME = 'camera_left_optical_frame'
PREVIOUS_NS, STAMP_NS = 4_900_000_000, 5_000_000_000
FORWARD_M = 0.05
# x forward, y left, z up, in the place of the camera
PLACED = {'extrinsics.base_camera': [0.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5], 'publish_tf': False}
DEPTH_TOPICS = ('depth/image', 'depth/camera_info', 'depth/confidence', 'disparity', 'points')
FLOW_TOPICS = ('optical_flow/image', 'optical_flow/confidence', 'optical_flow/color',
               'optical_flow/meta')
SYSTEM_DEFAULT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT,
                            durability=DurabilityPolicy.VOLATILE)   # as Fast DDS resolves it
RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE,
                      durability=DurabilityPolicy.VOLATILE)


def frame(rng):
    """Return an input, and the answer to it: a wall, with each kind of unknown depth."""
    left = rng.integers(0, 256, (8, 12, 3), np.uint8)
    depth = rng.uniform(1, 5, (8, 12)).astype(np.float32)
    depth[0, 0], depth[0, 1], depth[0, 2] = np.nan, np.inf, -np.inf
    flow = np.ones((8, 12, 2), np.float32)
    step = np.eye(4)
    step[2, 3] = FORWARD_M   # along the optical axis
    result = PerceptionResult(
        STAMP_NS, depth, np.float32(2.0) / depth, np.ones_like(depth), flow, np.ones_like(depth),
        PREVIOUS_NS, step, exp_se3(np.array([0.1, -0.2, 0.3, 0.01, 0.02, 0.5])),
        np.diag([1, 2, 3, 4, 5, 6]) * 1e-4, np.diag([6, 5, 4, 3, 2, 1]) * 1e-6,
        TrackingStatus.OK, num_inliers=50)
    return FrameInput(left, left, RIG, STAMP_NS, FRAME), result


def publishers(rng, **settings):
    """Publish one answer; return {topic: its publisher}."""
    node = FakeNode((*DEPTH_TOPICS, *FLOW_TOPICS, 'depth/image_raw'))
    parameters = PerceptionNodeParameters().changed(
        {'point_cloud_stride': 1, **PLACED, **settings})
    transforms = CameraTransforms(SimpleNamespace(), 0.0, None)
    data, result = frame(rng)
    for outputs in (DepthOutputs(node, parameters.depth_encoding, 'stereo'), FlowOutputs(node),
                    OdometryOutputs(node, parameters, transforms, None)):
        outputs.publish(result, data, parameters)
    return node.publishers


@pytest.fixture
def sent(rng):
    """Return {topic: message} of one answer."""
    return {topic: publisher.messages[0] for topic, publisher in publishers(rng).items()}


def pixels(message, kind='<f4'):
    """Return the (H, W) values of an image of one channel, row by row as `step` says."""
    assert message.is_bigendian == 0
    assert len(message.data) == message.step * message.height
    return np.stack([np.frombuffer(bytes(message.data), kind, message.width, row * message.step)
                     for row in range(message.height)])


def cloud_fields(message):
    """Return {name: (H, W)} of a cloud of FLOAT32 fields, as PointCloud2Iterator walks it."""
    assert not message.is_bigendian and message.row_step == message.point_step * message.width
    assert len(message.data) == message.row_step * message.height
    assert all(field.datatype == 7 and field.count == 1 for field in message.fields)
    data = np.frombuffer(bytes(message.data), np.uint8).reshape(-1, message.point_step)
    return {field.name: data[:, field.offset:field.offset + 4].copy().view('<f4').reshape(
        message.height, message.width) for field in message.fields}


def stamp_ns(header):
    """Return the stamp [ns]."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def test_exact_time_synchronisers_match_all_outputs_of_a_frame(sent):
    stamps = {topic: stamp_ns(message.header) for topic, message in sent.items()
              if topic != 'optical_flow/meta'}
    assert set(stamps.values()) == {STAMP_NS}
    assert {'odom', *DEPTH_TOPICS} <= set(stamps)


def test_rtabmap_takes_depth_that_belongs_to_the_left_image(sent):
    depth, info = sent['depth/image'], sent['depth/camera_info']
    assert depth.encoding in ('16UC1', '32FC1', 'mono16')
    assert (depth.width, depth.height) == (CAMERA.width, CAMERA.height) == (
        info.width, info.height)
    assert depth.header == info.header
    assert info.p[0] > 0 and info.p[3] == 0   # of a single camera, not of a pair


def test_no_depth_is_a_zero_that_stands_for_unknown(sent):
    depth = pixels(sent['depth/image'])
    assert (depth != 0).all()
    assert np.isnan(depth[0, 0]) and depth[0, 1] == np.inf and depth[0, 2] == -np.inf


def test_readers_of_k_and_readers_of_p_see_one_camera(sent):
    info = sent['depth/camera_info']
    p = np.reshape(info.p, (3, 4))
    assert (np.reshape(info.k, (3, 3)) == p[:, :3]).all()
    assert (np.reshape(info.r, (3, 3)) == np.eye(3)).all()
    assert not any(info.d) and info.distortion_model == 'plumb_bob'
    assert (info.binning_x, info.binning_y) in ((0, 0), (1, 1))
    assert not any((info.roi.width, info.roi.height, info.roi.x_offset, info.roi.y_offset))
    assert [p[0, 0], p[1, 1], p[0, 2], p[1, 2]] == [20.0, 21.0, 5.2, 3.4]


@pytest.mark.parametrize('encoding, kind, topic', [('32FC1', '<f4', 'depth/image'),
                                                   ('16UC1', '<u2', 'depth/image_raw')])
def test_depth_image_proc_makes_the_points_that_the_node_publishes(rng, encoding, kind, topic):
    topics = publishers(rng, depth_encoding=encoding)
    (image,), (info,) = topics[topic].messages, topics['depth/camera_info'].messages
    assert image.encoding == encoding
    raw = pixels(image, kind)
    valid = np.isfinite(raw) if kind == '<f4' else raw != 0   # DepthTraits::valid
    z = raw.astype(np.float64) * (1.0 if kind == '<f4' else 1e-3)
    v, u = np.mgrid[:image.height, :image.width]
    cloud = cloud_fields(topics['points'].messages[0])
    assert (np.isfinite(cloud['z']) == valid).all()
    tolerance = 1e-5 if kind == '<f4' else 1e-3   # half a millimetre, and what it moves x and y
    for name, expected in (('x', (u - info.p[2]) * z / info.p[0]),
                           ('y', (v - info.p[6]) * z / info.p[5]), ('z', z)):
        np.testing.assert_allclose(cloud[name][valid], expected[valid], atol=tolerance)
    assert valid.sum() == 8 * 12 - 3


def test_depthimage_to_laserscan_sees_the_wall_and_no_echo_at_the_camera(sent):
    depth, info = sent['depth/image'], sent['depth/camera_info']
    assert depth.encoding in ('16UC1', '32FC1')
    rows, range_min, range_max = pixels(depth)[0:2], 0.3, 10.0   # two rows, as scan_height: 2
    across = (np.arange(depth.width) - info.k[2]) / info.k[0]
    ranges = np.full(depth.width, np.nan)
    for row in rows.astype(np.float64):
        for u, z in enumerate(row):
            echo = z * np.hypot(1, across[u]) if np.isfinite(z) else z
            old = ranges[u]
            if not np.isfinite(echo) and not np.isfinite(old):   # use_point(): Inf before NaN
                ranges[u] = old if np.isnan(echo) else echo
            elif np.isfinite(echo) and range_min <= echo <= range_max:
                ranges[u] = echo if not np.isfinite(old) else min(echo, old)
    assert np.isfinite(ranges).all()   # the row below is known where the first is not
    assert (ranges >= 1.0).all()


def test_the_costmap_marks_known_points_alone(sent):
    cloud = sent['points']
    assert cloud.header.frame_id == FRAME
    fields = cloud_fields(cloud)
    assert {'x', 'y', 'z'} <= set(fields)
    # camera on the base, 1 m above the floor: height is minus the optical y
    height = 1.0 - fields['y']
    buffered = (height >= -5.0) & (height <= 5.0)   # ObservationBuffer; false for NaN
    assert (buffered == np.isfinite(fields['x'])).all()
    distance = np.sqrt(sum(fields[name] ** 2 for name in 'xyz'))[buffered]
    assert distance.min() > 0.9   # nothing at the sensor's own place
    assert not cloud.is_dense


@pytest.mark.parametrize('padding, point_step, colour_at', [(False, 16, 12), (True, 32, 16)])
def test_rviz_and_pcl_find_position_and_colour(rng, padding, point_step, colour_at):
    data, _ = frame(np.random.default_rng(0))
    (cloud,) = publishers(rng, point_cloud_pcl_padding=padding)['points'].messages
    assert cloud.point_step == point_step
    assert [(field.name, field.offset) for field in cloud.fields] == [
        ('x', 0), ('y', 4), ('z', 8), ('rgb', colour_at)]
    packed = cloud_fields(cloud)['rgb'].copy().view('<u4')   # 0x00RRGGBB
    colours = np.stack([packed >> shift & 255 for shift in (16, 8, 0)], axis=-1)
    assert (colours == data.left).all()
    assert (packed >> 24 == 0).all()


def test_viewers_can_draw_every_image(sent):
    sizes = {'32FC1': 4, '32FC2': 8, 'rgb8': 3}
    for topic in ('depth/image', 'depth/confidence', 'optical_flow/image',
                  'optical_flow/confidence', 'optical_flow/color'):
        image = sent[topic]
        assert image.header.frame_id == FRAME
        assert image.step == sizes[image.encoding] * image.width
        assert len(image.data) == image.step * image.height
    disparity = sent['disparity']
    assert np.isfinite([disparity.min_disparity, disparity.max_disparity]).all()
    assert disparity.max_disparity > disparity.min_disparity   # disparity_view divides by it
    assert disparity.delta_d > 0 and np.isfinite(pixels(disparity.image)).all()


def test_robot_localization_fuses_the_velocity_in_the_frame_of_the_base(sent):
    odometry = sent['odom']
    assert (odometry.header.frame_id, odometry.child_frame_id) == ('odom', 'base_link')
    # the camera goes along its optical axis, which is the base's x, though the base has turned
    speed = FORWARD_M / (STAMP_NS - PREVIOUS_NS) * 1e9
    linear, angular = odometry.twist.twist.linear, odometry.twist.twist.angular
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [speed, 0, 0], atol=1e-9)
    np.testing.assert_allclose([angular.x, angular.y, angular.z], 0, atol=1e-9)
    q = odometry.pose.pose.orientation
    assert abs(np.linalg.norm([q.x, q.y, q.z, q.w]) - 1) < 1e-9
    # variances along base x, y, z are those along optical z, x, y, by the square of the time
    variances = np.diagonal(np.reshape(odometry.twist.covariance, (6, 6)))
    np.testing.assert_allclose(variances, np.array([4, 6, 5, 1, 3, 2]) * 1e-6 / 0.1 ** 2)


@pytest.mark.parametrize('part', ['pose', 'twist'])
def test_filters_take_the_covariance_for_what_it_is(sent, part):
    covariance = np.reshape(getattr(sent['odom'], part).covariance, (6, 6))
    assert np.isfinite(covariance).all()
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-18)
    assert np.linalg.eigvalsh(covariance).min() > 0
    diagonal = np.diagonal(covariance)
    assert (diagonal > 1e-9).all()    # robot_localization takes 0 for certain
    assert (diagonal < 9999).all()    # rtabmap takes 9999 for lost
    assert covariance[0, 0] != 1.0    # rtabmap takes it for unset


def test_rtabmap_sees_no_reset_in_a_path_that_goes_on(sent):
    pose = sent['odom'].pose.pose
    numbers = [pose.position.x, pose.position.y, pose.position.z, pose.orientation.x,
               pose.orientation.y, pose.orientation.z]
    assert any(numbers)   # the identity would begin a new map


@pytest.mark.parametrize('consumer, profile, topics', [
    ('robot_localization', qos_profile_sensor_data, ('odom',)),
    ('Nav2 odometry smoother', RELIABLE, ('odom',)),
    ('Nav2 costmap', qos_profile_sensor_data, ('points',)),
    ('rtabmap qos: 0', SYSTEM_DEFAULT, ('odom', 'depth/image', 'depth/camera_info')),
    ('rtabmap qos: 1', RELIABLE, ('odom', 'depth/image', 'depth/camera_info')),
    ('depth_image_proc', qos_profile_sensor_data, ('depth/image', 'depth/camera_info')),
    ('depthimage_to_laserscan', SYSTEM_DEFAULT, ('depth/image', 'depth/camera_info')),
    ('rviz', RELIABLE, (*DEPTH_TOPICS, *FLOW_TOPICS, 'odom'))])
def test_every_consumer_is_reached(rng, consumer, profile, topics):
    offered = publishers(rng)
    for topic in topics:
        compatible, reason = qos_check_compatible(offered[topic].profile, profile)
        assert compatible != QoSCompatibility.ERROR, f'{consumer}, {topic}: {reason}'


def test_inputs_are_taken_from_best_effort_and_from_reliable_drivers():
    for offered in (qos_profile_sensor_data, RELIABLE):
        compatible, reason = qos_check_compatible(offered, qos.sensor_input(10))
        assert compatible != QoSCompatibility.ERROR, reason


def test_who_asks_for_old_messages_is_not_reached(rng):
    latched = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE,
                         durability=DurabilityPolicy.TRANSIENT_LOCAL)
    offered = publishers(rng)['depth/image'].profile
    assert qos_check_compatible(offered, latched)[0] == QoSCompatibility.ERROR
