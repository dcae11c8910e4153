# SPDX-License-Identifier: Apache-2.0
"""Publish a bag over ROS 2 with its own stamps, at any speed, without rosbag2."""
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
import importlib
from pathlib import Path
import struct
import time
from typing import Any

from crossview_ros.errors import ConfigError
from crossview_ros.replay.bag import Bag
from crossview_ros.ros.session import NodeSession
from rclpy.duration import Duration
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock

CLOCK_PERIOD_S = 0.02
STOP_POLL_S = 0.05
DEPTH = 10
LATCHED_DEPTH = 100   # at most so many messages of a latched topic are kept for late subscribers
ACKNOWLEDGE_LIMIT_S = 2.0


@dataclass(frozen=True)
class Published:
    """One message that went out."""

    topic: str              # name in the bag, before remapping
    stamp_ns: int | None    # of its header; None where the type has none
    monotonic_s: float      # time.monotonic() right before it was handed over


class BagPlayer:
    """
    Publish the messages of a bag in the order and, at rate 1, the pace of their record time.

    A context manager: entering joins ROS and makes the publishers, so that subscribers can be
    waited for. Messages go out as the bytes that were recorded, unless they are changed; topics
    of a type that is not installed are left out. `play` runs in the caller's thread; `stop` may
    come from any.
    """

    def __init__(self, path: str | Path, *, rate: float = 1.0, loop: bool = False,
                 clock: bool = False, remap: Mapping[str, str] | None = None,
                 topics: Iterable[str] | None = None, max_frames: int | None = None,
                 frame_topic: str | None = None,
                 changes: Mapping[str, Callable[[Any], Any]] | None = None) -> None:
        """
        Remember what to play.

        :param path: Bag folder, .mcap or .db3 file.
        :param rate: Speed relative to the recording.
        :param loop: Start again at the end, until `stop`; stamps repeat.
        :param clock: Publish the bag's time on /clock.
        :param remap: Topic of the bag -> topic to publish instead.
        :param topics: Topics of the bag to play; None plays all.
        :param max_frames: End each pass after so many messages of ``frame_topic``, and what was
            recorded before the next of them.
        :param frame_topic: Goes with max_frames; by default the first image topic.
        :param changes: Topic of the bag -> what to do to its messages before they go out.
        :raises ConfigError: If rate or max_frames is not positive.
        """
        if not rate > 0:
            raise ConfigError(f'rate must be greater than 0, got {rate}')
        if max_frames is not None and max_frames < 1:
            raise ConfigError(f'max_frames must be at least 1, got {max_frames}')
        self.path = Path(path)
        self.rate, self.loop, self.max_frames = rate, loop, max_frames
        self.remap = dict(remap or {})
        self.counts: Counter[str] = Counter()     # messages published, by topic of the bag
        self.skipped: dict[str, str] = {}         # topic of the bag -> why it is left out
        self._topics = None if topics is None else set(topics)
        self._frame_topic = frame_topic
        self._changes = dict(changes or {})
        self._with_clock = clock
        self._bag = Bag(self.path)
        self._session = NodeSession('bag_player')
        self._publishers: dict[str, Publisher] = {}
        self._stamped: set[str] = set()
        self._clock: Publisher | None = None
        self._stopped = False   # no Event: `stop` may be called by a signal handler

    def __enter__(self) -> 'BagPlayer':
        """
        Open the bag, join ROS and make the publishers.

        :raises MessageError: If the bag cannot be read.
        :raises ConfigError: If a topic to play or to remap is not in the bag.
        """
        self._bag.__enter__()
        try:
            self._check_topics()
            self._session.__enter__()
        except BaseException:
            self._bag.__exit__()
            raise
        for info in self._bag.topics:
            if self._topics is None or info.name in self._topics:
                self._advertise(info)
        if self._with_clock:
            self._clock = self._session.node.create_publisher(Clock, '/clock', DEPTH)
        return self

    def __exit__(self, *_: object) -> None:
        """Wait shortly until reliable subscribers have everything, then leave."""
        deadline_s = time.monotonic() + ACKNOWLEDGE_LIMIT_S
        for publisher in self._publishers.values():
            left_s = deadline_s - time.monotonic()
            if left_s > 0 and publisher.get_subscription_count():
                publisher.wait_for_all_acked(Duration(seconds=left_s))
        self._session.__exit__()
        self._bag.__exit__()

    @property
    def topics(self) -> dict[str, str]:
        """Return {topic of the bag: topic it is published on}, without the skipped ones."""
        return {name: self.remap.get(name, name) for name in self._publishers}

    def wait_for_subscribers(self, topics: Iterable[str], timeout_s: float) -> bool:
        """
        Wait until somebody listens to each of these topics of the bag.

        :return: False if somebody was still missing after ``timeout_s``.
        """
        publishers = [self._publishers[topic] for topic in topics]
        deadline_s = time.monotonic() + timeout_s
        while not all(publisher.get_subscription_count() for publisher in publishers):
            if time.monotonic() > deadline_s or not self._sleep(0.02):
                return False
        return True

    def play(self, on_published: Callable[[Published], None] | None = None) -> int:
        """
        Publish until the end of the bag, or until `stop` where it loops.

        A message that is late, because the machine is slow, goes out at once; none is dropped.

        :param on_published: Called before each message goes out, in this thread.
        :return: Number of published messages.
        :raises MessageError: If the bag is damaged.
        """
        while not self._stopped:
            if not self._play_once(on_published) or not self.loop:
                break
        return sum(self.counts.values())

    def stop(self) -> None:
        """End `play` as soon as possible, from any thread or signal handler."""
        self._stopped = True

    def _play_once(self, on_published: Callable[[Published], None] | None) -> bool:
        """Tell whether anything was published."""
        start_s, start_ns, frames, any_published = time.monotonic(), None, 0, False
        frame_topic = self._frame_topic or self._first_image_topic()
        for topic, kind, time_ns, raw in self._bag.raw_messages(list(self._publishers)):
            start_ns = time_ns if start_ns is None else start_ns
            frames += topic == frame_topic
            if self.max_frames is not None and frames > self.max_frames:
                break
            if topic in self._changes:
                raw = self._bag.changed(raw, kind, self._changes[topic])
            if not self._sleep_until(start_s, start_ns, time_ns):
                break
            if on_published is not None:
                stamp_ns = _stamp_ns(raw) if topic in self._stamped else None
                on_published(Published(topic, stamp_ns, time.monotonic()))
            self._publishers[topic].publish(bytes(raw))
            self.counts[topic] += 1
            any_published = True
        return any_published

    def _sleep_until(self, start_s: float, start_ns: int, time_ns: int) -> bool:
        """Wait for the time of a message, publishing the clock; False when stopped."""
        due_s = start_s + (time_ns - start_ns) * 1e-9 / self.rate
        while True:
            left_s = due_s - time.monotonic()
            if self._clock is not None:
                self._publish_clock(time_ns - max(0, int(left_s * self.rate * 1e9)))
            if left_s <= 0:
                return not self._stopped
            if not self._sleep(min(left_s, CLOCK_PERIOD_S) if self._clock else left_s):
                return False

    def _sleep(self, duration_s: float) -> bool:
        """Wait; False, and early, when stopped."""
        end_s = time.monotonic() + duration_s
        while not self._stopped:
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return True
            time.sleep(min(left_s, STOP_POLL_S))
        return False

    def _publish_clock(self, now_ns: int) -> None:
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now_ns, 1_000_000_000)
        self._clock.publish(message)

    def _check_topics(self) -> None:
        names = {info.name for info in self._bag.topics}
        asked = {*self.remap, *(self._topics or ()), *filter(None, [self._frame_topic])}
        if asked - names:
            raise ConfigError(f'{self.path}: no topic {", ".join(sorted(asked - names))}; the bag '
                              f'holds {", ".join(sorted(names)) or "nothing"}')

    def _first_image_topic(self) -> str | None:
        return next((info.name for info in self._bag.topics if info.name in self._publishers
                     and info.type.endswith('Image')), None)

    def _advertise(self, info: Any) -> None:
        message_type = message_class(info.type)
        if message_type is None:
            self.skipped[info.name] = f'message type {info.type} is not installed'
            return
        qos = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
        if info.latched:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
            qos.depth = min(info.count, LATCHED_DEPTH) or 1
        if 'std_msgs/Header' in list(message_type.get_fields_and_field_types().values())[:1]:
            self._stamped.add(info.name)
        self._publishers[info.name] = self._session.node.create_publisher(
            message_type, self.remap.get(info.name, info.name), qos)


def message_class(type_name: str) -> type | None:
    """
    Import the class of a message type.

    :param type_name: Such as 'sensor_msgs/msg/Image'.
    :return: None where its package is not installed or has no such message.
    """
    package, _, name = type_name.partition('/msg/')
    try:
        return getattr(importlib.import_module(f'{package}.msg'), name, None)
    except ImportError:
        return None


def _stamp_ns(raw: bytes) -> int:
    """Read the stamp of a serialised message that begins with a header."""
    order = '<' if raw[1] & 1 else '>'   # CDR representation: an odd number is little-endian
    sec, nanosec = struct.unpack_from(order + 'iI', raw, 4)
    return sec * 1_000_000_000 + nanosec
