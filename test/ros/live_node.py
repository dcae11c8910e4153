# SPDX-License-Identifier: Apache-2.0
"""A live node with a fake engine, cameras and a LiDAR in front and ears behind it."""
import itertools
import json
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time

from crossview_ros.ros.collector import DEPTH_OUTPUTS, OutputCollector
from crossview_ros.ros.session import NodeSession
from live_messages import MESSAGES
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

SCRIPT = Path(__file__).with_name('node_with_fake_engine.py')
ALL_OUTPUTS = {**DEPTH_OUTPUTS, 'disparity': 'stereo_msgs/msg/DisparityImage',
               'points': 'sensor_msgs/msg/PointCloud2'}
TOPICS = {'left_image': (Image, 'left/image_rect'), 'left_info': (CameraInfo, 'left/camera_info'),
          'right_image': (Image, 'right/image_rect'),
          'right_info': (CameraInfo, 'right/camera_info')}
ONE_CAMERA = {'image': (Image, 'image_rect'), 'camera_info': (CameraInfo, 'camera_info')}
LIMIT_S = 10.0
START_LIMIT_S = 60.0   # a first start exports graphs and compares backends
STEP_NS = 50_000_000
START_NS = 1_700_000_000_000_000_000
NUMBERS = itertools.count()


class Sensors:
    """Publish sets of messages; what a message holds may be edited before it goes out."""

    def __init__(self, namespace, reliable=True, topics=TOPICS):
        """Remember where to publish."""
        self._session = NodeSession('sensors', namespace)
        self._qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE if reliable
                               else ReliabilityPolicy.BEST_EFFORT)
        self._topics = topics
        self.publishers = {}

    def __enter__(self):
        """Join ROS."""
        node = self._session.__enter__().node
        self.publishers = {stream: node.create_publisher(kind, topic, self._qos)
                           for stream, (kind, topic) in self._topics.items()}
        return self

    def __exit__(self, *_):
        """Leave ROS."""
        self._session.__exit__()

    def topic_names(self):
        """Return (name, types) of every topic in ROS."""
        return self._session.node.get_topic_names_and_types()

    def send(self, stamp_ns, only=None, **edits):
        """
        Publish one message of each stream.

        :param only: Streams to publish; None: all.
        :param edits: Stream -> function that changes its message.
        """
        for stream, publisher in self.publishers.items():
            if only is None or stream in only:
                message = MESSAGES[stream](stamp_ns)
                edits.get(stream, lambda message: None)(message)
                publisher.publish(message)


class LiveNode:
    """The node as a process, its sensors, and a collector of its outputs."""

    def __init__(self, parameters=None, engine=None, topics=DEPTH_OUTPUTS, camera=None,
                 arguments=(), program=(str(SCRIPT),)):
        """
        Remember what to start.

        :param parameters: Name -> value for the command line.
        :param engine: Behaviour of the fake engine; its task names the node.
        :param camera: Options of Sensors.
        :param program: What Python runs.
        """
        self.name = f"{(engine or {}).get('task', 'perception')}_node"
        self.namespace = f'/live{next(NUMBERS)}'
        settings = {'diagnostic_updater.period': 0.05, **(parameters or {})}
        command = [sys.executable, *program, '--ros-args', '-r', f'__ns:={self.namespace}']
        for name, value in settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            command += ['-p', f'{name}:={text}']
        self._patience_s = 0.2 + (engine or {}).get('process_s', 0.0)
        self._command = [*command, *arguments]
        self._environment = {**os.environ, 'FAKE_ENGINE': json.dumps(engine or {})}
        self._log = tempfile.NamedTemporaryFile(prefix='live_node_')
        self.collector = OutputCollector(topics, self.namespace)
        self.camera = Sensors(self.namespace, **(camera or {}))
        self.stamp_ns = START_NS
        self.process = None

    def __enter__(self):
        """Start all three."""
        self.collector.__enter__()
        self.camera.__enter__()
        self.process = subprocess.Popen(self._command, stdout=self._log, stderr=self._log,
                                        env=self._environment, start_new_session=True)
        return self

    def __exit__(self, *_):
        """End all three; by force, which leaves shared memory behind, only if need be."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.camera.__exit__()
        self.collector.__exit__()

    @property
    def log(self):
        """Return what the node has written."""
        return Path(self._log.name).read_text()

    @property
    def exit_code(self):
        """Return the exit code of a node that ends by itself."""
        return self.process.wait(LIMIT_S)

    def end(self, number=signal.SIGINT):
        """Send a signal; return the exit code."""
        self.process.send_signal(number)
        return self.exit_code

    def check(self):
        """Make sure that it runs."""
        assert self.process.poll() is None, self.log

    def until_active(self):
        """Wait for the state active; returns itself."""
        self.collector.wait_until_active(self.name, START_LIMIT_S, self.check)
        return self

    def until_connected(self):
        """Wait until it is active and hears each of the sensors; returns itself."""
        self.until_active()
        deadline_s = time.monotonic() + LIMIT_S
        while not all(publisher.get_subscription_count()
                      for publisher in self.camera.publishers.values()):
            assert time.monotonic() < deadline_s, f'not heard: {self.log}'
            time.sleep(0.01)
        return self

    def until_answering(self, topics=None):
        """
        Wait until sets go in and answers come out; returns itself.

        :param topics: Where answers are expected; None: on all that are collected.
        """
        self.until_active()
        deadline_s = time.monotonic() + LIMIT_S
        while time.monotonic() < deadline_s:
            stamp_ns = self.send()
            if all(self.answer(stamp_ns, topic, self._patience_s) is not None
                   for topic in topics or self.collector.topics):
                return self
            self.check()
        raise AssertionError(f'no answer: {self.log}')

    def next_stamp(self, step_ns=STEP_NS):
        """Return the stamp of the next set."""
        self.stamp_ns += step_ns
        return self.stamp_ns

    def send(self, **options):
        """Send a set with the next stamp; returns the stamp."""
        stamp_ns = self.next_stamp()
        self.camera.send(stamp_ns, **options)
        return stamp_ns

    def answer(self, stamp_ns, topic='depth/image', limit_s=LIMIT_S):
        """Return the answer with this stamp; None if there is none in time."""
        return self.collector.wait_for_stamp(topic, stamp_ns, limit_s)

    def answers_a_good_pair(self, topic='depth/image'):
        """Tell whether the node still does its work."""
        return self.answer(self.send(), topic) is not None

    def answered(self, stamp_ns, topic='depth/image'):
        """Tell whether the answer has come already."""
        return stamp_ns in self.collector.received(topic)

    def wait_for(self, task, accept):
        """Wait until the status of a task is accepted; return (level, message, values)."""
        name = f'{self.namespace.lstrip("/")}/{self.name}: {task}'

        def fits(statuses):
            return name in statuses and accept(*reading(statuses[name]))

        came = self.collector.wait_for_status(fits, LIMIT_S)
        status = self.collector.statuses().get(name)
        assert came, f'{task} is {status and reading(status)}; log: {self.log}'
        return reading(status)

    def count(self, task, key):
        """Return a counter of a task, once it is published."""
        return int(self.wait_for(task, lambda level, text, values: key in values)[2][key])

    def wait_for_count(self, task, key, count):
        """Wait until a counter has reached a number."""
        self.wait_for(task, lambda level, text, values: int(values.get(key, -1)) >= count)


def until_logged(live, text):
    """Wait until the node has written something."""
    deadline_s = time.monotonic() + LIMIT_S
    while text not in live.log:
        assert time.monotonic() < deadline_s, live.log
        time.sleep(0.005)


def reading(status):
    """Return level as a number, message and values of a DiagnosticStatus."""
    level = status.level[0] if isinstance(status.level, bytes) else status.level
    return level, status.message, {pair.key: pair.value for pair in status.values}
