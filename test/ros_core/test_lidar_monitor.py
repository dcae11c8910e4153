# SPDX-License-Identifier: Apache-2.0
"""Which points go with an image, and what is told where none do."""
import threading
import time
from types import SimpleNamespace

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.messages.point_cloud2 import write_cloud
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.lidar_monitor import LidarMonitor, WAIT_S
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.task_health import (
    depth_needs_cloud, lidar_health, missing_tasks)
import numpy as np
import pytest

STAMP_NS = 1_700_000_000_000_000_000
SETTINGS = PerceptionNodeParameters(mode='sequential')
CAMERA = PinholeCamera(40, 30, 30.0, 30.0, 20.0, 15.0)
POINTS = [(1.0, 2.0, 5.0), (0.0, 0.0, 7.0)]


class Transforms:
    """Know one place of the LiDAR, 1 m ahead, or none."""

    def __init__(self, known=True):
        self.known = known

    def find(self, parent, child, given, name):
        T_camera_lidar = np.eye(4)
        T_camera_lidar[2, 3] = 1.0
        return T_camera_lidar if self.known else None


class Log:
    """Keep the errors."""

    def __init__(self):
        self.errors = []

    def error(self, kind, text):
        self.errors.append(text)


def new_monitor(known=True):
    return LidarMonitor(Transforms(known), SETTINGS, '/points', Log())


def new_cloud(points=POINTS):
    message = SimpleNamespace(header=SimpleNamespace(
        stamp=SimpleNamespace(sec=0, nanosec=0), frame_id=''))
    return write_cloud(message, np.asarray(points, np.float32), stamp_ns=1, frame_id='lidar')


def image_at(stamp_ns):
    return FrameInput(np.zeros((30, 40, 3), np.uint8), None, CAMERA, stamp_ns, 'camera')


def test_points_come_in_the_frame_of_the_camera():
    monitor = new_monitor()
    monitor.add(STAMP_NS, new_cloud())
    points = monitor.points_for(image_at(STAMP_NS), SETTINGS)
    assert points.tolist() == [[1, 2, 6], [0, 0, 8]]
    assert monitor.facts().num_guided == 1 and monitor.facts().problem == ''
    assert lidar_health(monitor.facts()).message == '1 images guided'


def test_a_cloud_that_comes_a_little_later_is_waited_for():
    monitor = new_monitor()
    later = threading.Timer(0.3 * WAIT_S, monitor.add, (STAMP_NS, new_cloud()))
    later.start()
    assert monitor.points_for(image_at(STAMP_NS), SETTINGS) is not None
    later.join()


def test_a_silent_lidar_is_waited_for_once():
    monitor = new_monitor()
    monitor.add(STAMP_NS - 10**9, new_cloud())
    waited_s = []
    for number in range(2):
        start_s = time.monotonic()
        assert monitor.points_for(image_at(STAMP_NS + number), SETTINGS) is None
        waited_s.append(time.monotonic() - start_s)
    assert waited_s[0] >= 0.9 * WAIT_S > 5 * waited_s[1]
    facts = monitor.facts()
    assert facts.num_unmatched == 2 and '1.000 s away' in facts.problem
    monitor.add(STAMP_NS + 2, new_cloud())   # it is back
    assert monitor.points_for(image_at(STAMP_NS + 2), SETTINGS) is not None


@pytest.mark.parametrize('known, message, text', [
    (False, new_cloud(), "no transform from 'lidar' to 'camera'"),
    (True, SimpleNamespace(**{**vars(new_cloud()), 'data': b'12345'}), 'data holds 5 bytes')])
def test_a_cloud_of_no_use_is_told(known, message, text):
    monitor = new_monitor(known)
    monitor.add(STAMP_NS, message)
    assert monitor.points_for(image_at(STAMP_NS), SETTINGS) is None
    assert text in monitor.facts().problem and monitor.facts().num_guided == 0


def test_an_image_without_a_time_has_no_cloud():
    monitor = new_monitor()
    monitor.add(STAMP_NS, new_cloud())
    assert monitor.points_for(image_at(0), SETTINGS) is None


def test_a_cloud_stands_in_for_a_depth_head():
    tasks = 'stereo', 'flow', 'odometry'
    assert depth_needs_cloud(SETTINGS, tasks) and not missing_tasks(SETTINGS, tasks)
    assert not depth_needs_cloud(SETTINGS, (*tasks, 'depth'))
    off = SETTINGS.changed({'depth.lidar_guidance': False})
    assert not depth_needs_cloud(off, tasks) and 'depth' in missing_tasks(off, tasks)


def test_a_model_that_does_not_know_the_scale_waits_for_a_cloud_unless_told_otherwise():
    tasks = 'depth', 'flow', 'odometry'
    assert depth_needs_cloud(SETTINGS, tasks, metric=False)
    assert not depth_needs_cloud(SETTINGS.changed({'depth.unscaled': True}), tasks, metric=False)
    assert not depth_needs_cloud(SETTINGS.changed({'mode': 'stereo'}), tasks, metric=False)
