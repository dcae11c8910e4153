# SPDX-License-Identifier: Apache-2.0
"""The node with the shipped model, and a hand before its cameras for two seconds."""
from array import array
import time

from crossview_ros.errors import CheckpointError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.odometry import read_pose
from crossview_ros.runtime.manifest import find_model
from live_messages import CAMERA_ON_BASE, LEFT_FRAME, RIGHT_FRAME
from live_node import LiveNode
import numpy as np
import pytest
from wall_bag import BASELINE, CAMERA, DISPARITY, METRES_PER_PIXEL, wall, WIDTH

pytestmark = pytest.mark.ros

PROGRAM = ('-m', 'crossview_ros.ros.perception_node')
DEPTH, ODOM = 'depth/image', 'odom'
TOPICS = {DEPTH: 'sensor_msgs/msg/Image', ODOM: 'nav_msgs/msg/Odometry'}
RIG = StereoRig(CAMERA, CAMERA, BASELINE)
PICTURE = wall(WIDTH + DISPARITY + 100, cell=12)
SEEN_NS, COVERED_NS = 100_000_000, 400_000_000   # from one pair to the next
SHIFT_PX = 6   # to the side, from one pair to the next
STEP_M = SHIFT_PX * METRES_PER_PIXEL
BLACK = np.zeros((*CAMERA.size_hw, 3), np.uint8), np.zeros((*CAMERA.size_hw, 3), np.uint8)
NUM_BLACK = 5   # 2 s
LOADED_S = 40.0   # importing torch on a busy machine


@pytest.fixture(scope='module')
def model():
    """Return the shipped model."""
    try:
        return find_model('crossview_tiny')
    except CheckpointError:
        pytest.skip('models/crossview_tiny is not there')


def pair(number):
    """Return what both cameras see of the wall after so many steps to the right."""
    at = number * SHIFT_PX
    return PICTURE[:, at:at + WIDTH], PICTURE[:, at + DISPARITY:at + DISPARITY + WIDTH]


def show(live, images, step_ns=SEEN_NS):
    """Send a pair; return its stamp."""
    stamp_ns = live.next_stamp(step_ns)

    def image(pixels):
        def edit(message):
            message.height, message.width = CAMERA.size_hw
            message.step, message.data = 3 * WIDTH, array('B', pixels.tobytes())
        return edit

    def info(frame_id, baseline):
        return lambda message: write_camera_info(message, CAMERA, stamp_ns, frame_id, baseline)

    left, right = images
    live.camera.send(stamp_ns, left_image=image(left), right_image=image(right),
                     left_info=info(LEFT_FRAME, 0.0), right_info=info(RIGHT_FRAME, RIG.baseline))
    return stamp_ns


def until_tracking(live):
    """Show the same pair until the node tracks."""
    end_s = time.monotonic() + LOADED_S
    while live.answer(show(live, pair(0)), ODOM, 2.0) is None:
        live.check()
        assert time.monotonic() < end_s, live.log


def pose_of(live, stamp_ns):
    """Return where the base is at a stamp [m], once its depth has come too."""
    assert live.answer(stamp_ns) is not None
    message = live.answer(stamp_ns, ODOM)
    assert message is not None, live.log
    return read_pose(message.pose.pose)[:3, 3]


def test_a_covered_camera_is_lost_without_a_pose_and_recovers(model):
    with LiveNode({'model': model, 'extrinsics.base_camera': CAMERA_ON_BASE}, topics=TOPICS,
                  program=PROGRAM) as live:
        live.collector.wait_until_active(live.name, LOADED_S, live.check)
        until_tracking(live)
        before = [pose_of(live, show(live, pair(number))) for number in (1, 2, 3)]
        assert np.linalg.norm(before[2] - before[1]) == pytest.approx(STEP_M, rel=0.2)
        covered = []
        for _ in range(NUM_BLACK):
            covered.append(show(live, BLACK, COVERED_NS))
            assert live.answer(covered[-1]) is not None   # the node goes on
        _, text, _ = live.wait_for('tracking', lambda level, text, values: level == 2)
        assert text.startswith('lost: ')
        assert not [stamp for stamp in covered if live.answered(stamp, ODOM)]
        for number in (3, 4):   # the first image after the dark has nothing to be compared with
            assert live.answer(show(live, pair(number))) is not None
        after = [pose_of(live, show(live, pair(number))) for number in (5, 6)]
        assert np.linalg.norm(after[1] - after[0]) == pytest.approx(STEP_M, rel=0.2)
        live.wait_for('tracking', lambda level, text, values: (level, text) == (0, 'ok'))
        assert live.end() == 0 and 'Traceback' not in live.log
