# SPDX-License-Identifier: Apache-2.0
"""Flow, odometry, one camera, and nodes with one task on."""
import signal

from asker import Asker
from crossview_ros.messages.image import read_float_image, read_image
from crossview_ros.messages.odometry import read_pose
from fake_engine import FLOW_PX, ONE_CAMERA_DEPTH_M, STEP_M
from live_messages import CAMERA_ON_BASE, HEIGHT, LEFT_FRAME, WIDTH
from live_node import LiveNode, ONE_CAMERA, STEP_NS, TOPICS
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger

pytestmark = pytest.mark.ros

ODOM, FLOW = 'odom', 'optical_flow/image'
TYPES = {ODOM: 'nav_msgs/msg/Odometry', FLOW: 'sensor_msgs/msg/Image',
         'depth/image': 'sensor_msgs/msg/Image',
         'optical_flow/confidence': 'sensor_msgs/msg/Image',
         'optical_flow/color': 'sensor_msgs/msg/Image', 'optical_flow/meta': 'std_msgs/msg/Header'}
WITH_STAMP = [topic for topic in TYPES if topic != 'optical_flow/meta']   # of the newer frame
PLACED = {'extrinsics.base_camera': CAMERA_ON_BASE}
SPEED = STEP_M / (STEP_NS * 1e-9)


@pytest.fixture(scope='module')
def live():
    """Run a node with all tasks."""
    with LiveNode(PLACED, topics=TYPES) as node:
        yield node.until_answering(WITH_STAMP)
        assert node.end(signal.SIGTERM) == 0
        assert 'Traceback' not in node.log


def only(*topics):
    """Return topics with their types."""
    return {topic: TYPES[topic] for topic in topics}


def position(message):
    """Return where an Odometry sees the base [m]."""
    return read_pose(message.pose.pose)[:3, 3]


def test_flow_has_the_stamp_of_the_newer_frame_and_meta_that_of_the_older(live):
    first = live.send()
    assert live.answer(first, FLOW) is not None
    second = live.send()
    message = live.answer(second, FLOW)
    assert (message.encoding, message.header.frame_id) == ('32FC2', LEFT_FRAME)
    flow = read_float_image(message)
    assert flow.shape == (HEIGHT, WIDTH, 2)
    assert (flow == np.float32(FLOW_PX)).all()
    assert live.answer(first, 'optical_flow/meta').frame_id == LEFT_FRAME
    assert (read_float_image(live.answer(second, 'optical_flow/confidence')) == 0.25).all()
    color = read_image(live.answer(second, 'optical_flow/color'))
    assert (color == color[0, 0]).all() and color[0, 0].min() < 50   # one direction, full colour


def test_odometry_tells_pose_and_velocity_of_the_base(live):
    before = live.answer(live.send(), ODOM)
    message = live.answer(live.send(), ODOM)
    assert (message.header.frame_id, message.child_frame_id) == ('odom', 'base_link')
    # forward along the optical axis is x of base and odom
    np.testing.assert_allclose(position(message) - position(before), [STEP_M, 0, 0], atol=1e-9)
    linear, angular = message.twist.twist.linear, message.twist.twist.angular
    np.testing.assert_allclose([linear.x, linear.y, linear.z], [SPEED, 0, 0], atol=1e-6)
    np.testing.assert_allclose([angular.x, angular.y, angular.z], 0, atol=1e-9)
    covariance = np.reshape(message.twist.covariance, (6, 6))
    # the camera sits one metre in front: its rotation adds to the doubt about the base's place
    expected = 1e-4 / (STEP_NS * 1e-9) ** 2 * np.array([1, 2, 2, 1, 1, 1])
    np.testing.assert_allclose(np.diagonal(covariance), expected, rtol=1e-9)
    assert np.diagonal(np.reshape(message.pose.covariance, (6, 6))).min() > 0
    live.wait_for('tracking', lambda level, text, values: (level, text) == (0, 'ok') and
                  values['Inliers'] == '100')


def test_a_reset_starts_the_odometry_anew(live):
    assert live.answer(live.send(), ODOM) is not None
    with Asker(live) as asker:
        answer = asker.ask('reset', Trigger, Trigger.Request())
    assert (answer.success, answer.message) == (True, 'tracking begins anew')
    first = live.send()
    assert live.answer(first) is not None
    np.testing.assert_allclose(position(live.answer(live.send(), ODOM)), [STEP_M, 0, 0],
                               atol=1e-9)
    assert not live.answered(first, ODOM)


def test_without_the_place_of_the_camera_no_odometry_is_made_up():
    with LiveNode(topics=only('depth/image', ODOM)) as live:
        live.until_answering(['depth/image'])
        level, text, _ = live.wait_for('tracking', lambda level, text, values: level == 2)
        assert f"no transform from '{LEFT_FRAME}' to 'base_link'" in text
        assert 'set extrinsics.base_camera' in text
        assert live.answers_a_good_pair()
        assert live.log.count('no odometry is published') == 1
        assert live.collector.received(ODOM) == {}


def test_a_camera_frame_that_is_the_base_needs_no_transform():
    with LiveNode({'base_frame': LEFT_FRAME}, topics=only(ODOM)) as live:
        live.until_answering()
        message = live.answer(live.send(), ODOM)
        assert message.child_frame_id == LEFT_FRAME
        assert message.twist.twist.linear.z == pytest.approx(SPEED)


@pytest.mark.parametrize('policy', ['silent', 'inflate', 'null'])
def test_a_lost_pose_is_told_as_the_policy_says(policy):
    with LiveNode({**PLACED, 'lost_policy': policy}, {'lost_on': list(range(40, 400))},
                  topics=only('depth/image', ODOM)) as live:
        live.until_answering()
        last = live.send()
        before = live.answer(last, ODOM)
        for _ in range(40):
            assert live.answer(live.send()) is not None
        level, text, _ = live.wait_for('tracking', lambda level, text, values: level == 2)
        assert text == 'lost: too few inliers'
        stamp = live.send()
        assert live.answer(stamp) is not None
        message = live.answer(stamp, ODOM, limit_s=0.3 if policy == 'silent' else 5.0)
        if policy == 'silent':
            assert message is None
            return
        assert message.pose.covariance[0] == message.twist.covariance[35] == 9999.0
        assert message.child_frame_id == 'base_link'
        if policy == 'inflate':   # the last pose that was known
            assert position(message)[0] > position(before)[0]
            assert abs(message.pose.pose.orientation.w) == 1.0
        else:
            assert message.pose.pose.orientation.w == 0.0


def test_one_camera_gives_flow_and_says_that_the_model_lacks_the_rest():
    with LiveNode({'mode': 'sequential', 'flow_units': 'pixel_per_second'}, {'tasks': ['flow']},
                  topics=only(FLOW), camera={'topics': ONE_CAMERA}) as live:
        live.until_answering()
        live.answer(live.send(), FLOW)
        flow = read_float_image(live.answer(live.send(), FLOW))
        np.testing.assert_allclose(flow[0, 0], np.array(FLOW_PX) / (STEP_NS * 1e-9), rtol=1e-6)
        for task in ('depth', 'odometry'):
            level, text, _ = live.wait_for(task, lambda *_: True)
            assert (level, text) == (
                1, "the model 'crossview_tiny' has no depth head for one camera")


def test_one_camera_gives_depth_and_odometry_where_the_model_has_a_depth_head():
    topics = {**only('depth/image', FLOW, ODOM), 'points': 'sensor_msgs/msg/PointCloud2',
              'depth/camera_info': 'sensor_msgs/msg/CameraInfo',
              'depth/confidence': 'sensor_msgs/msg/Image'}
    with LiveNode({'mode': 'sequential', **PLACED}, {'tasks': ['depth', 'flow', 'odometry']},
                  topics=topics, camera={'topics': ONE_CAMERA}) as live:
        live.until_answering()
        before = live.answer(live.send(), ODOM)
        stamp = live.send()
        assert position(live.answer(stamp, ODOM))[0] > position(before)[0]
        assert (read_float_image(live.answer(stamp, 'depth/image')) == ONE_CAMERA_DEPTH_M).all()
        assert (read_float_image(live.answer(stamp, 'depth/confidence')) == 0.5).all()
        assert live.answer(stamp, 'depth/camera_info').width == WIDTH
        points = live.answer(stamp, 'points')
        assert points.width * points.height > 0
        names = {name for name, _ in live.camera.topic_names()}
        assert f'{live.namespace}/depth/image' in names
        assert f'{live.namespace}/disparity' not in names


@pytest.mark.parametrize('task, topic', [('depth', 'depth/image'), ('flow', FLOW),
                                         ('odometry', ODOM)])
def test_a_node_for_one_task_does_that_alone(task, topic):
    with LiveNode(PLACED, {'task': task}, topics=only(topic)) as live:
        live.until_answering()
        names = {name for name, _ in live.camera.topic_names()}
        published = {name for name in names
                     if name.startswith((f'{live.namespace}/depth', f'{live.namespace}/optical',
                                         f'{live.namespace}/odom'))}
        first_part = topic.split('/')[0]
        assert published and all(first_part in name for name in published)


def test_a_node_for_a_task_that_the_model_lacks_ends_with_the_reason():
    with LiveNode(engine={'task': 'flow', 'tasks': ['stereo']}) as live:
        assert live.exit_code == 1
    assert "flow: the model 'crossview_tiny' cannot do it" in live.log


def test_all_that_the_model_has_runs_and_the_rest_is_told():
    with LiveNode(engine={'tasks': ['stereo']}) as live:
        live.until_answering()
        for task in ('flow', 'odometry'):
            level, text, _ = live.wait_for(task, lambda *_: True)
            assert (level, text) == (1, "the model 'crossview_tiny' cannot do it")
        assert live.log.count('flow: the model') == 1


def test_sets_beyond_max_rate_are_dropped_and_counted():
    with LiveNode({'max_rate': 5}) as live:
        live.until_answering()
        before = live.count('sync', 'Dropped by max_rate')
        for _ in range(10):
            live.send()
        live.wait_for_count('sync', 'Dropped by max_rate', before + 5)
        live.until_answering()


def test_compressed_images_are_taken_from_beside_the_remapped_topic():
    kinds = {'left_jpeg': (CompressedImage, 'cam0/image/compressed'),
             'right_jpeg': (CompressedImage, 'right/image_rect/compressed'),
             'left_info': TOPICS['left_info'], 'right_info': TOPICS['right_info']}
    with LiveNode({'image_transport': 'compressed'}, camera={'topics': kinds},
                  arguments=['-r', 'left/image_rect:=cam0/image']) as live:
        assert live.until_answering().answers_a_good_pair()


def test_raw_images_are_rectified_on_request():
    with LiveNode({'rectify': True}) as live:
        assert live.until_answering().answers_a_good_pair()
        live.wait_for('calibration', lambda level, text, values: (level, text) ==
                      (0, 'baseline 0.1200 m'))
