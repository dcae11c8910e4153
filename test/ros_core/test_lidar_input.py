# SPDX-License-Identifier: Apache-2.0
"""Which cloud belongs to an image, and where its points lie."""
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.messages.point_cloud2 import write_cloud
from crossview_ros.ros.lidar_input import cloud_in_camera, CloudBuffer
import numpy as np
import pytest

PERIOD_NS = 100_000_000
START_NS = 1_700_000_000_000_000_000


def filled(reference, count=5):
    """Return a buffer of clouds 0, 1, ... that came every 0.1 s."""
    buffer = CloudBuffer(2.0, reference)
    for number in range(count):
        buffer.add(START_NS + number * PERIOD_NS, number)
    return buffer


@pytest.mark.parametrize('reference, cloud, delta_ns', [
    ('middle', 2, -10_000_000), ('start', 2, 40_000_000), ('end', 3, 40_000_000)])
def test_the_cloud_scanned_nearest_to_the_image_is_taken(reference, cloud, delta_ns):
    nearest = filled(reference).nearest(START_NS + 2 * PERIOD_NS + 10_000_000)
    assert nearest == (cloud, delta_ns)


def test_old_clouds_go_and_the_buffer_stays_small():
    buffer = filled('middle', 100)
    assert len(buffer) == 21   # 2 s of 10 Hz, both ends
    assert buffer.nearest(0)[0] == 79


def test_an_empty_buffer_has_no_nearest():
    assert CloudBuffer(1.0).nearest(5) is None


def test_out_of_order_is_dropped_and_a_jump_back_starts_anew():
    buffer = filled('middle')
    buffer.add(START_NS + 350_000_000, 'late')
    assert buffer.nearest(START_NS + 350_000_000)[0] != 'late'
    buffer.add(START_NS - 3_000_000_000, 'again')
    assert len(buffer) == 1 and buffer.nearest(START_NS)[0] == 'again'


def new_cloud(points):
    message = SimpleNamespace(header=SimpleNamespace(
        stamp=SimpleNamespace(sec=0, nanosec=0), frame_id=''))
    return write_cloud(message, np.asarray(points, np.float32), stamp_ns=1, frame_id='lidar')


def test_points_are_moved_into_the_camera_and_nan_left_out():
    T_camera_lidar = np.array([[0, -1, 0, 0.5], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1.0]])
    points = cloud_in_camera(new_cloud([(1, 2, 3), (np.nan, 0, 0), (4, 5, 6)]), T_camera_lidar)
    assert points.dtype == np.float32
    assert points.tolist() == [[-1.5, -3, 1], [-4.5, -6, 4]]


@pytest.mark.parametrize('points', [np.empty((0, 3)), np.full((4, 3), np.nan)])
def test_a_cloud_without_points_has_none(points):
    assert cloud_in_camera(new_cloud(points), np.eye(4)).shape == (0, 3)


def test_a_cloud_without_a_coordinate_is_told():
    message = new_cloud([(1, 2, 3)])
    message.fields = [field for field in message.fields if field.name != 'z']
    with pytest.raises(MessageError, match="/points: no number field 'z'; the cloud has x, y"):
        cloud_in_camera(message, np.eye(4), '/points')


def test_a_damaged_cloud_is_told():
    message = new_cloud([(1, 2, 3)])
    message.data = message.data[:5]
    with pytest.raises(MessageError, match='data holds 5 bytes'):
        cloud_in_camera(message, np.eye(4))
