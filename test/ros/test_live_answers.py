# SPDX-License-Identifier: Apache-2.0
"""Every matched pair is answered in full; rubbish is counted, told, and does not end the node."""
from crossview_ros.messages.disparity_image import read_disparity_image
from crossview_ros.messages.image import read_depth_image, read_float_image
from crossview_ros.messages.point_cloud2 import read_cloud
from live_node import (
    ALL_OUTPUTS, BASELINE, FX, HEIGHT, LEFT_FRAME, LiveNode, WIDTH)
from node_with_fake_engine import DISPARITY_PX
import numpy as np
import pytest

pytestmark = pytest.mark.ros

S = 1_000_000_000
DEPTH = FX * BASELINE / DISPARITY_PX   # 1.5 m
INFERENCE, SYNC = 'inference', 'sync'


@pytest.fixture(scope='module')
def live():
    with LiveNode(topics=ALL_OUTPUTS) as node:
        yield node.until_answering()
        assert node.end() == 0
        assert 'Traceback' not in node.log


def set_baseline(baseline):
    """Return an edit of the right camera_info."""
    def edit(message):
        message.p[3] = -FX * baseline
    return edit


def set_fields(**fields):
    """Return an edit that sets fields of a message."""
    def edit(message):
        for name, value in fields.items():
            setattr(message, name, value)
    return edit


def set_stamp(nanosec):
    """Return an edit that damages the stamp."""
    def edit(message):
        message.header.stamp.nanosec = nanosec
    return edit


def resize(width, height):
    """Return edits of all four messages to another size."""
    def images(message):
        message.width, message.height, message.step = width, height, 3 * width
        message.data = bytes(3 * width * height)
    infos = set_fields(width=width, height=height)
    return {'left_image': images, 'right_image': images, 'left_info': infos, 'right_info': infos}


def test_every_pair_is_answered_once_under_its_left_header(live):
    stamps = []
    for _ in range(30):
        stamps.append(live.send())
        assert live.answer(stamps[-1], 'points') is not None
    for topic in ALL_OUTPUTS:
        received = live.collector.received(topic)
        assert [stamp for stamp in received if stamp in stamps] == stamps
        assert {received[stamp].message.header.frame_id for stamp in stamps} == {LEFT_FRAME}
        assert live.collector.repeated(topic) == 0


def test_depth_confidence_and_camera_info_say_the_same(live):
    stamp = live.send()
    depth = read_depth_image(live.answer(stamp))
    assert live.answer(stamp).encoding == '32FC1'
    assert np.isnan(depth[0]).all()
    np.testing.assert_allclose(depth[1:], DEPTH, rtol=1e-6)
    assert (read_float_image(live.answer(stamp, 'depth/confidence')) == 0.5).all()
    info = live.answer(stamp, 'depth/camera_info')
    assert (info.width, info.height) == (WIDTH, HEIGHT)
    assert info.p[0] == FX and info.p[3] == 0.0
    assert list(info.k) == list(info.p[[0, 1, 2, 4, 5, 6, 8, 9, 10]])
    assert set(info.d) == {0.0}


def test_the_disparity_image_gives_the_same_depth(live):
    message = live.answer(live.send(), 'disparity')
    assert message.header == message.image.header
    disparity = read_disparity_image(message)
    assert np.isnan(disparity[0]).all()
    np.testing.assert_allclose(message.f * message.t / disparity[1:], DEPTH, rtol=1e-6)


def test_the_cloud_is_organised_and_decimated(live):
    message = live.answer(live.send(), 'points')
    cloud = read_cloud(message)
    assert cloud.shape == (HEIGHT // 4, WIDTH // 4)
    assert not message.is_dense
    assert np.isnan(cloud['z'][0]).all()
    np.testing.assert_allclose(cloud['z'][1:], DEPTH, rtol=1e-6)
    # column 3 of the cloud is column 12 of the image
    np.testing.assert_allclose(cloud['x'][1:, 3], (12 - (WIDTH - 1) / 2) / FX * DEPTH, rtol=1e-5)


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
    live.camera.send(newest - S // 2)
    live.wait_for_count(SYNC, 'left_image stamps backward', before + 1)
    assert live.answers_a_good_pair()
    assert not live.answered(newest - S // 2)


def test_a_bag_that_loops_is_answered_again(live):
    restarts = live.count(SYNC, 'Restarts of time')
    answered = live.count(INFERENCE, 'Sets answered')
    stamps = [live.stamp_ns - 1000 * S + index * S // 2 for index in range(4)]
    for number, stamp in enumerate(stamps * 3):
        live.camera.send(stamp)
        live.wait_for_count(INFERENCE, 'Sets answered', answered + number + 1)
    assert live.count(SYNC, 'Restarts of time') == restarts + 3
    assert live.answers_a_good_pair()
