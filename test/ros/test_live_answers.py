# SPDX-License-Identifier: Apache-2.0
"""Every matched pair is answered in full: depth and all that goes with it."""
from crossview_ros.messages.disparity_image import read_disparity_image
from crossview_ros.messages.image import read_depth_image, read_float_image
from crossview_ros.messages.point_cloud2 import read_cloud
from live_messages import DEPTH, FX, HEIGHT, LEFT_FRAME, WIDTH
from live_node import ALL_OUTPUTS, LiveNode
import numpy as np
import pytest

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def live():
    with LiveNode(topics=ALL_OUTPUTS) as node:
        yield node.until_answering()
        assert node.end() == 0
        assert 'Traceback' not in node.log


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
