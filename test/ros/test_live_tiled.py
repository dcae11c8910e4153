# SPDX-License-Identifier: Apache-2.0
"""The node with the real engine, and networks that look at windows of its images."""
import signal

from crossview_ros.messages.image import read_depth_image, read_float_image
from crossview_ros.ros.collector import DEPTH_OUTPUTS
from dpt_folders import random_network, write_folder
from live_messages import HEIGHT, WIDTH
from live_node import LiveNode
import pytest

pytestmark = pytest.mark.ros

PROGRAM = ('-m', 'crossview_ros.ros.perception_node')
FLOW = 'optical_flow/image'
WINDOWS = {'stereo': (32, 64), 'flow': (32, 32)}


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    """Return a folder with a stereo and a flow network of random weights."""
    folder = tmp_path_factory.mktemp('models') / 'tiled'
    networks = {task: random_network(task) for task in WINDOWS}
    write_folder(folder, networks, WINDOWS)
    return folder


def test_a_model_of_two_networks_answers_pairs_window_by_window(model):
    parameters = {'model': model, 'inference.mode': 'tiled', 'inference.tile_overlap': 0.5}
    topics = {**DEPTH_OUTPUTS, FLOW: 'sensor_msgs/msg/Image'}
    with LiveNode(parameters, topics=topics, program=PROGRAM) as live:
        live.until_answering(['depth/image'])
        stamp_ns = live.send()
        depth = read_depth_image(live.answer(stamp_ns))
        confidence = read_float_image(live.answer(stamp_ns, 'depth/confidence'))
        assert depth.shape == confidence.shape == (HEIGHT, WIDTH)
        assert ((confidence > 0) & (confidence < 1)).all()
        assert read_float_image(live.answer(stamp_ns, FLOW)).shape == (HEIGHT, WIDTH, 2)
        assert live.end(signal.SIGINT) == 0
        assert 'Traceback' not in live.log


def test_a_model_without_windows_says_that_it_cannot(root):
    parameters = {'model': root / 'models' / 'crossview_tiny', 'inference.mode': 'tiled'}
    with LiveNode(parameters, program=PROGRAM) as live:
        assert live.exit_code == 1
        assert "model 'crossview_tiny' cannot run flow, stereo tiled" in live.log
        assert 'Traceback' not in live.log
