# SPDX-License-Identifier: Apache-2.0
"""The report of a live run: answers are matched by stamp, and everything lost is counted."""
from types import SimpleNamespace

from crossview_ros.cli.live import (
    CONFIDENCE, DEPTH, DISPARITY, FLOW, FLOW_CONFIDENCE, FLOW_META, LiveRun, ODOM)
from crossview_ros.cli.live_report import evaluate_live
from crossview_ros.data.rosbags_messages import blank_message
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import write_image
from crossview_ros.messages.odometry import write_odometry
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.inputs import InputReader
from crossview_ros.replay.pairing import frames_of, StereoPairer
from crossview_ros.replay.run import ReplayOptions
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import find_input_topics
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

TYPES = get_typestore(Stores.ROS2_HUMBLE)


@pytest.fixture
def live_run(shared_dir):
    """
    Return (bag path, topics, live run): 4 pairs published, the third not answered at all.

    Pair n was sent at n seconds and answered 0.1 * (n + 1) s later; the second answer carries a
    wrong frame; one answer has a stamp that nobody sent. The fourth pair has a flow from the
    second one, but no odometry.
    """
    path = shared_dir / 'data' / 'bags' / 'kitti_raw_residential_a'
    answers = {name: {} for name in (DEPTH, CONFIDENCE, DISPARITY, FLOW, FLOW_CONFIDENCE,
                                     FLOW_META, ODOM)}
    published = {}
    with Bag(path) as bag:
        topics = find_input_topics(bag)
        reader = InputReader(topics, StaticTransforms.of_bag(bag))
        for frame in frames_of(bag, topics, StereoPairer(0)):
            if frame.index == 4:
                break
            published[frame.stamp_ns] = float(frame.index)
            if frame.index != 2:
                frame_id = 'base_link' if frame.index == 1 else frame.left.header.frame_id
                _answer(answers, frame, reader.read(frame).rig, frame_id)
            if frame.index in (1, 3):
                before_ns = sorted(published)[frame.index - (1 if frame.index == 1 else 2)]
                _answer_motion(answers, frame, before_ns)
    del answers[ODOM][max(published)]
    answers[DEPTH][5] = SimpleNamespace(message=None, monotonic_s=9.0)
    statuses = {'perception_node: sync': {'matched': '4', 'lost': '0'}}
    tasks = 'stereo', 'flow', 'odometry'
    return path, topics, LiveRun(published, tasks, answers, 0, statuses, 1.0, 0, 'SIGINT',
                                 {'ROS_DOMAIN_ID': '7'})


def _answer(answers, frame, rig, frame_id):
    size, stamp = rig.left.size_hw, frame.stamp_ns
    disparity = np.full(size, 8.0, np.float32)
    depth = np.full(size, rig.left.fx * rig.baseline / 8.0, np.float32)
    image = 'sensor_msgs/msg/Image'
    messages = {
        DEPTH: write_image(blank_message(TYPES, image), depth, '32FC1', stamp, frame_id),
        CONFIDENCE: write_image(blank_message(TYPES, image), 0 * depth + 0.5, '32FC1', stamp,
                                frame_id),
        DISPARITY: write_disparity_image(blank_message(TYPES, 'stereo_msgs/msg/DisparityImage'),
                                         disparity, rig, 0.1, 80.0, stamp, frame_id)}
    for topic, message in messages.items():
        answers[topic][stamp] = SimpleNamespace(
            message=message, monotonic_s=frame.index + 0.1 * (frame.index + 1))


def _answer_motion(answers, frame, before_ns):
    stamp, size = frame.stamp_ns, (frame.left.height, frame.left.width)
    image, frame_id = 'sensor_msgs/msg/Image', frame.left.header.frame_id
    odometry = blank_message(TYPES, 'nav_msgs/msg/Odometry')
    identity, certain = np.eye(4), 1e-4 * np.eye(6)
    messages = {
        FLOW: write_image(blank_message(TYPES, image), np.zeros((*size, 2), np.float32), '32FC2',
                          stamp, frame_id),
        FLOW_CONFIDENCE: write_image(blank_message(TYPES, image), np.ones(size, np.float32),
                                     '32FC1', stamp, frame_id),
        ODOM: write_odometry(odometry, identity, certain, np.zeros(6), certain, stamp, 'odom',
                             'base_link')}
    for topic, message in messages.items():
        answers[topic][stamp] = SimpleNamespace(message=message, monotonic_s=9.0)
    header = set_header(blank_message(TYPES, 'std_msgs/msg/Header'), before_ns, frame_id)
    answers[FLOW_META][before_ns] = SimpleNamespace(message=header, monotonic_s=9.0)


def test_latency_is_from_sending_to_arrival_and_silence_is_no_answer(live_run):
    path, topics, live = live_run
    data = evaluate_live(path, topics, live, ReplayOptions(), {}, title='t', command='c')
    assert data.mode == 'live'
    latencies = [frame.latency_ms for frame in data.frames]
    assert latencies == pytest.approx([100.0, 200.0, None, 400.0])
    assert data.rate_hz == pytest.approx(3 / 3.4)   # three answers until 3.4 s


def test_everything_lost_or_odd_is_counted(live_run):
    path, topics, live = live_run
    data = evaluate_live(path, topics, live, ReplayOptions(), {}, title='t', command='c')
    counts = {count.name: count.value for count in data.counts}
    assert counts == {'stereo pairs published': 4, 'answered': 3, 'not answered': 1,
                      'wrong frame_id': 1, 'unasked': 1, 'repeated': 0,
                      'exit code of the node': 0}


def test_facts_name_node_domain_and_diagnostics(live_run):
    path, topics, live = live_run
    data = evaluate_live(path, topics, live, ReplayOptions(), {'Model': {'a': 'b'}}, title='t',
                         command='c', notes=['n'])
    assert data.facts['ROS 2']['ROS_DOMAIN_ID'] == '7'
    assert data.facts['Inside the node, by its diagnostics'] == {'sync: matched': '4'}
    assert data.facts['Model'] == {'a': 'b'} and data.notes[0] == 'n'
    assert data.facts['Input']['published at'] == '1.0 Hz'


def test_pictures_and_figures_come_from_the_messages(live_run):
    path, topics, live = live_run
    data = evaluate_live(path, topics, live, ReplayOptions(), {}, title='t', command='c')
    assert [panel.index for panel in data.panels] == [0, 1, 3]
    assert data.figures['depth.median'].value == pytest.approx(0.5371506 * 360.76885 / 8.0,
                                                               rel=1e-4)
    assert data.figures['confidence.mean'].value == pytest.approx(0.5)
    assert 'photo.error' in data.figures


def test_flow_and_odometry_are_counted_beside_the_depth(live_run):
    path, topics, live = live_run
    data = evaluate_live(path, topics, live, ReplayOptions(), {}, title='t', command='c')
    assert {output.task: (output.answered, output.possible) for output in data.outputs} == {
        'stereo': (3, 4), 'flow': (2, 3), 'odometry': (1, 3)}
    assert [frame.lost for frame in data.track.frames] == [False, False, False, True]
    # a flow of zero moves nothing; both are compared with the image that the flow starts from
    assert data.figures['flow.photo'] == data.figures['flow.photo_unmoved']
    assert data.figures['flow.median'].value == 0.0
    assert [panel.index for panel in data.flow_panels] == [1, 3]
