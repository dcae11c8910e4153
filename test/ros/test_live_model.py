# SPDX-License-Identifier: Apache-2.0
"""The node with the real engine and the shipped model."""
import signal
import time

from crossview_ros.errors import CheckpointError
from crossview_ros.messages.image import read_depth_image, read_float_image
from crossview_ros.runtime.manifest import find_model
from live_messages import HEIGHT, WIDTH
from live_node import LiveNode, until_logged
import numpy as np
import pytest

pytestmark = pytest.mark.ros

PROGRAM = ('-m', 'crossview_ros.ros.perception_node')


@pytest.fixture(scope='module')
def model():
    try:
        return find_model('crossview_tiny')
    except CheckpointError:
        pytest.skip('models/crossview_tiny is not there')


def test_the_shipped_model_answers_every_pair_and_ends_during_its_work(model):
    with LiveNode({'model': model}, program=PROGRAM) as live:
        live.until_answering()
        stamps = []
        for _ in range(3):
            stamps.append(live.send())
            assert live.answer(stamps[-1], 'depth/confidence') is not None
        depth = read_depth_image(live.answer(stamps[-1]))
        confidence = read_float_image(live.answer(stamps[-1], 'depth/confidence'))
        assert depth.shape == confidence.shape == (HEIGHT, WIDTH)
        assert ((confidence >= 0) & (confidence <= 1)).all()
        finite = depth[np.isfinite(depth)]
        assert ((finite >= 0.1) & (finite <= 80)).all()
        live.send()
        assert live.end(signal.SIGINT) == 0
        assert 'Traceback' not in live.log


def test_a_signal_while_the_real_model_loads_ends_the_node_cleanly(model):
    with LiveNode({'model': model}, program=PROGRAM) as live:
        until_logged(live, 'parameters:')
        time.sleep(0.1)   # into the import of torch
        assert live.end(signal.SIGTERM) == 0
        assert 'Traceback' not in live.log
