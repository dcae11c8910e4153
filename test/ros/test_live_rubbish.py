# SPDX-License-Identifier: Apache-2.0
"""Rubbish is counted, told, and does not end the node: the next good set is answered."""
from array import array

from crossview_ros.messages.odometry import read_pose
from fake_engine import STEP_M
from live_messages import (
    CAMERA_ON_BASE, ON_CAMERA, resize, set_baseline, set_fields, set_stamp)
from live_node import LiveNode, ONE_CAMERA, TOPICS
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, PointCloud2

pytestmark = pytest.mark.ros

S = 1_000_000_000
INFERENCE, SYNC, LIDAR = 'inference', 'sync', 'lidar'
OUTPUTS = {'depth/image': 'sensor_msgs/msg/Image', 'odom': 'nav_msgs/msg/Odometry',
           'optical_flow/image': 'sensor_msgs/msg/Image'}
JPEGS = {**TOPICS, 'left_jpeg': (CompressedImage, 'left/image_rect/compressed'),
         'right_jpeg': (CompressedImage, 'right/image_rect/compressed')}
JPEGS = {stream: JPEGS[stream] for stream in ('left_jpeg', 'left_info', 'right_jpeg',
                                              'right_info')}


@pytest.fixture(scope='module')
def live():
    """Run a node with stereo camera and LiDAR."""
    sensors = {'topics': {'points': (PointCloud2, 'points_in'), **TOPICS}}
    parameters = {'extrinsics.base_camera': CAMERA_ON_BASE, 'extrinsics.camera_lidar': ON_CAMERA,
                  'lidar_stamp_reference': 'middle'}
    engine = {'process_s': 0.03}   # time for the cloud to come, too
    with LiveNode(parameters, engine, topics=OUTPUTS, camera=sensors) as node:
        yield node.until_answering()
        assert node.end() == 0
        assert 'Traceback' not in node.log


@pytest.fixture(scope='module')
def one_camera():
    """Run a node with one camera."""
    topics = {'optical_flow/image': 'sensor_msgs/msg/Image'}
    with LiveNode({'mode': 'sequential'}, topics=topics,
                  camera={'topics': ONE_CAMERA}) as node:
        yield node.until_answering()
        assert node.end() == 0
        assert 'Traceback' not in node.log


@pytest.mark.parametrize('edits, kind, text', [
    ({'left_image': set_fields(encoding='hsv9')}, 'message', "encoding 'hsv9' is not supported"),
    ({'left_image': set_fields(data=bytes(100))}, 'message', 'data holds 100 bytes'),
    ({'right_image': set_fields(height=2 ** 32 - 1, width=2 ** 32 - 1)}, 'message', 'size must'),
    ({'right_image': set_fields(height=60000, width=60000, step=180000)}, 'message',
     'data holds'),
    ({'left_image': set_fields(step=0)}, 'message', 'step is 0 bytes'),
    ({'right_image': set_fields(height=0, data=b'')}, 'message', 'size must be'),
    ({'left_info': set_fields(width=32, height=24), 'right_info': set_fields(width=32, height=24)},
     'message', 'its camera_info says 32x24'),
    ({'right_info': set_baseline(0.0)}, 'calibration', 'no baseline'),
    ({'right_info': set_baseline(-0.12)}, 'calibration', 'left and right swapped'),
    ({'left_info': set_baseline(0.12), 'right_info': set_baseline(0.0)}, 'calibration',
     'left and right swapped'),
    ({'right_info': set_baseline(120.0)}, 'calibration', 'likely millimetres'),
    ({'right_info': set_baseline(float('nan'))}, 'calibration', 'right camera_info'),
    ({'left_info': set_fields(p=[0.0] * 12, k=[0.0] * 9)}, 'calibration', 'not calibrated'),
    ({'right_info': set_fields(width=32)}, 'calibration', 'one size'),
    ({'right_info': set_fields(binning_x=2)}, 'calibration', 'one size'),
])
def test_a_bad_pair_is_counted_and_told_and_the_next_one_answered(live, edits, kind, text):
    key = f'Sets with a bad {kind}'
    before = live.count(INFERENCE, key)
    bad = live.send(**edits)
    live.wait_for_count(INFERENCE, key, before + 1)
    task = {'message': INFERENCE, 'calibration': 'calibration'}[kind]
    level, message, _ = live.wait_for(task, lambda level, message, values: text in message)
    assert level == {'message': 1, 'calibration': 2}[kind]
    assert live.answers_a_good_pair()
    assert not live.answered(bad)
    live.wait_for(task, lambda level, message, values: level == 0)


def test_the_size_may_change_while_it_runs(live):
    small = live.send(**resize(32, 24))
    assert live.answer(small).width == 32
    assert live.answers_a_good_pair()


@pytest.mark.parametrize('missing', ['left_image', 'left_info', 'right_image', 'right_info'])
def test_a_pair_with_a_missing_message_is_counted_as_unmatched(live, missing):
    others = {'left_image', 'left_info', 'right_image', 'right_info'} - {missing}
    key = f'{min(others)} unmatched'
    before = live.count(SYNC, key)
    bad = live.send(only=others)
    assert live.answers_a_good_pair()
    live.wait_for_count(SYNC, key, before + 1)
    assert not live.answered(bad)


def test_a_damaged_stamp_is_counted(live):
    task, key = f'{live.namespace}/left/image_rect frequency', 'Unreadable stamps'
    before = live.count(task, key)
    live.send(left_image=set_stamp(1_500_000_000))
    live.wait_for_count(task, key, before + 1)
    assert live.answers_a_good_pair()


def test_a_zero_stamp_is_answered_and_counted(live):
    before = live.count(SYNC, 'Zero stamps answered')
    live.camera.send(0)
    assert live.answer(0) is not None
    live.wait_for_count(SYNC, 'Zero stamps answered', before + 1)
    assert live.answers_a_good_pair()


def test_an_empty_frame_is_answered_and_counted(live):
    def no_frame(message):
        message.header.frame_id = ''
    before = live.count(SYNC, 'Empty frame_id answered')
    assert live.answer(live.send(left_image=no_frame)).header.frame_id == ''
    live.wait_for_count(SYNC, 'Empty frame_id answered', before + 1)


def test_a_stamp_that_goes_back_a_little_is_dropped_and_counted(live):
    before = live.count(SYNC, 'left_image stamps backward')
    newest = live.send()
    assert live.answer(newest) is not None
    old = newest - S // 2 + 1   # a nanosecond beside all that were sent
    live.camera.send(old)
    live.wait_for_count(SYNC, 'left_image stamps backward', before + 1)
    assert live.answers_a_good_pair()
    assert not live.answered(old)


def test_a_bag_that_loops_is_answered_again(live):
    restarts = live.count(SYNC, 'Restarts of time')
    answered = live.count(INFERENCE, 'Sets answered')
    stamps = [live.stamp_ns - 1000 * S + index * S // 2 for index in range(4)]
    for number, stamp in enumerate(stamps * 3):
        live.camera.send(stamp)
        live.wait_for_count(INFERENCE, 'Sets answered', answered + number + 1)
    assert live.count(SYNC, 'Restarts of time') == restarts + 3
    assert live.answers_a_good_pair()


def test_after_a_jump_back_flow_and_odometry_begin_anew(live):
    live.send()
    for expected in (None, STEP_M, 2 * STEP_M):
        live.stamp_ns += 1 - 10 * S if expected is None else 0   # beside all that were sent
        stamp = live.send()
        assert live.answer(stamp) is not None
        if expected is not None:
            assert live.answer(stamp, 'optical_flow/image') is not None
            pose = read_pose(live.answer(stamp, 'odom').pose.pose)
            np.testing.assert_allclose(pose[:3, 3], [expected, 0, 0], atol=1e-9)
    assert not live.answered(stamp - 2 * 50_000_000, 'odom')   # the first one after the jump


def test_a_zero_stamp_gives_depth_but_no_odometry(live):
    live.camera.send(0)
    assert live.answer(0) is not None
    assert live.answers_a_good_pair('optical_flow/image')
    assert not live.answered(0, 'odom')


def test_a_change_of_size_starts_flow_anew(live):
    small = live.send(**resize(32, 24))
    assert live.answer(small).width == 32
    assert live.answer(live.send()) is not None
    assert not live.answered(small, 'optical_flow/image')
    assert live.answers_a_good_pair('optical_flow/image')


def no_points(message):
    """Make every point NaN."""
    message.data = array('B', np.full(len(message.data) // 4, np.nan, '<f4').tobytes())


@pytest.mark.parametrize('edit, text', [
    (set_fields(data=array('B', bytes(7))), 'data holds 7 bytes'),
    (set_fields(height=2 ** 31, width=2 ** 31), 'row_step is'),
    (set_fields(fields=[]), 'declares no fields'),
    (set_fields(point_step=2 ** 31), 'cannot have 2147483648 bytes'),
    (no_points, 'no point of the cloud lies in the image'),
])
def test_a_bad_cloud_is_told_and_the_image_answered(live, edit, text):
    assert live.answer(live.send(points=edit)) is not None
    live.wait_for(LIDAR, lambda level, message, values: level == 1 and text in message)
    assert live.answers_a_good_pair()
    live.wait_for(LIDAR, lambda level, message, values: level == 0)


def test_good_clouds_are_compared_with_depth(live):
    assert live.answers_a_good_pair()
    values = live.wait_for(LIDAR, lambda level, text, values: 'abs_rel' in values)[2]
    assert float(values['abs_rel']) == pytest.approx(0.0, abs=1e-3)
    assert float(values['Coverage']) == 1.0
    assert int(values['Points in the image']) == 121


@pytest.mark.parametrize('edits, kind, text', [
    ({'image': set_fields(encoding='hsv9')}, 'message', "encoding 'hsv9' is not supported"),
    ({'image': set_fields(data=array('B', bytes(9)))}, 'message', 'data holds 9 bytes'),
    ({'image': set_fields(height=2 ** 32 - 1, width=2 ** 32 - 1)}, 'message', 'size must'),
    ({'camera_info': set_fields(width=32)}, 'message', 'camera_info says 32x48'),
    ({'camera_info': set_fields(p=[0.0] * 12, k=[0.0] * 9)}, 'calibration', 'not calibrated'),
    ({'camera_info': set_fields(p=[float('nan')] * 12)}, 'calibration', ''),
])
def test_a_bad_image_of_one_camera_is_told_and_the_next_answered(one_camera, edits, kind, text):
    live, topic = one_camera, 'optical_flow/image'
    key = f'Sets with a bad {kind}'
    before = live.count(INFERENCE, key)
    bad = live.send(**edits)
    live.wait_for_count(INFERENCE, key, before + 1)
    task = {'message': INFERENCE, 'calibration': 'calibration'}[kind]
    live.wait_for(task, lambda level, message, values: level and text in message)
    assert live.answer(live.send(), topic) is not None or live.answers_a_good_pair(topic)
    assert not live.answered(bad, topic)


def test_one_camera_without_camera_info_is_told():
    with LiveNode({'mode': 'sequential', 'input_timeout': 0.5},
                  camera={'topics': {'image': ONE_CAMERA['image']}}) as live:
        live.until_active()
        live.send()
        live.wait_for(SYNC, lambda level, text, values: level == 2 and
                      f'nobody publishes {live.namespace}/camera_info' in
                      values.get('Likely cause', ''))


def test_a_damaged_jpeg_is_told_and_the_next_answered():
    with LiveNode({'image_transport': 'compressed'}, camera={'topics': JPEGS}) as live:
        live.until_answering()
        for number, data in enumerate((b'', b'no picture', bytes(range(256)) * 40)):
            live.send(left_jpeg=set_fields(data=array('B', data)))
            live.wait_for_count(INFERENCE, 'Sets with a bad message', number + 1)
            assert live.answers_a_good_pair()
