# SPDX-License-Identifier: Apache-2.0
"""The subscriptions of the node and what can be known about each."""
from collections.abc import Callable
from functools import partial
import time
from typing import Any

from crossview_ros.errors import MessageError
from crossview_ros.messages.header import stamp_ns
from crossview_ros.ros import qos
from crossview_ros.ros.compat import event_callbacks
from crossview_ros.ros.event_rate import EventRate
from crossview_ros.ros.health import InputFacts
from crossview_ros.ros.throttled_log import ThrottledLog
from crossview_ros.ros.watchdog import PublisherFacts, TopicFacts
from rclpy.node import Node


class InputTopic:
    """One subscription with its counters; used by the executor's thread."""

    def __init__(self, stream: str, topic: str, type_name: str) -> None:
        """
        Count nothing yet.

        :param topic: Full name.
        :param type_name: Such as 'sensor_msgs/msg/Image'.
        """
        self.stream, self.topic, self.type_name = stream, topic, type_name
        self.subscription: Any = None
        self.rate = EventRate(time.monotonic())
        self.last_stamp_ns: int | None = None
        self.incompatible_qos = 0   # publishers that cannot reach us
        self.lost = 0               # messages that the middleware dropped
        self.damaged = 0            # messages without a readable stamp

    def input_facts(self, node: Node, cached: bool) -> InputFacts:
        """Gather what diagnostics need."""
        return InputFacts(
            self.topic, self.rate, qos.in_words(self.subscription.qos_profile),
            node.count_publishers(self.topic), self.incompatible_qos, self.lost, self.damaged,
            cached)

    def facts(self, node: Node, now_s: float, nearest_ns: int | None) -> TopicFacts:
        """Gather what the watchdog needs; asks the ROS graph, so not for every message."""
        publishers = tuple(self._publishers(node))
        last_s = self.rate.last_s
        return TopicFacts(
            self.stream, self.topic, self.type_name, qos.in_words(self.subscription.qos_profile),
            publishers, self.rate.total, None if last_s is None else now_s - last_s,
            self.last_stamp_ns, nearest_ns, self.lost, self.damaged,
            () if publishers else self._alternatives(node))

    def _publishers(self, node: Node) -> list[PublisherFacts]:
        requested = self.subscription.qos_profile
        return [PublisherFacts(
            f"{info.node_namespace.rstrip('/')}/{info.node_name}", info.topic_type,
            qos.in_words(info.qos_profile), qos.mismatch(info.qos_profile, requested))
            for info in node.get_publishers_info_by_topic(self.topic)]

    def _alternatives(self, node: Node) -> tuple[str, ...]:
        own = {publisher.topic_name for publisher in node.publishers}
        return tuple(sorted(
            topic for topic, types in node.get_topic_names_and_types()
            if self.type_name in types and topic != self.topic and topic not in own
            and node.count_publishers(topic)))


class InputTopics:
    """All inputs of the node; used by the executor's thread."""

    def __init__(self, node: Node, types: dict[str, tuple[str, type]], queue_size: int,
                 on_message: Callable[[str, int, Any], None], log: ThrottledLog) -> None:
        """
        Subscribe.

        :param types: Stream -> (relative topic, message class).
        :param on_message: Called with stream, stamp [ns] and message.
        """
        self._node, self._on_message, self._log = node, on_message, log
        self.by_stream: dict[str, InputTopic] = {}
        try:
            for stream, (topic, message_class) in types.items():
                self.by_stream[stream] = self._subscribe(stream, topic, message_class, queue_size)
        except Exception:   # e.g. a QoS override that means nothing
            self.destroy()
            raise

    @property
    def names(self) -> dict[str, str]:
        """Return {stream: full topic name}."""
        return {stream: entry.topic for stream, entry in self.by_stream.items()}

    def destroy(self) -> None:
        """Unsubscribe."""
        for entry in self.by_stream.values():
            self._node.destroy_subscription(entry.subscription)

    def start_counting(self) -> None:
        """Begin the rates anew, as after an activation."""
        for entry in self.by_stream.values():
            entry.rate = EventRate(time.monotonic())

    def _subscribe(self, stream: str, topic: str, message_class: type,
                   queue_size: int) -> InputTopic:
        package = message_class.__module__.split('.')[0]
        entry = InputTopic(stream, self._node.resolve_topic_name(topic),
                           f'{package}/msg/{message_class.__name__}')
        entry.subscription = self._node.create_subscription(
            message_class, topic, partial(self._receive, entry), qos.sensor_input(queue_size),
            event_callbacks=self._events(entry), qos_overriding_options=qos.overridable())
        return entry

    def _receive(self, entry: InputTopic, message: Any) -> None:
        entry.rate.add(time.monotonic())
        try:
            entry.last_stamp_ns = stamp_ns(message)
        except MessageError as error:
            entry.damaged += 1
            self._log.error(f'stamp {entry.topic}', f'{entry.topic}: {error}')
            return
        self._on_message(entry.stream, entry.last_stamp_ns, message)

    def _events(self, entry: InputTopic) -> Any:
        def on_incompatible_qos(event: Any) -> None:
            entry.incompatible_qos = event.total_count
            self._log.warning(
                f'qos {entry.topic}', f'{entry.topic}: a publisher offers incompatible QoS '
                f'({event.last_policy_kind.name}); nothing will come from it, see '
                f'`ros2 topic info -v {entry.topic}`')

        def on_message_lost(event: Any) -> None:
            entry.lost = event.total_count

        return event_callbacks().SubscriptionEventCallbacks(
            incompatible_qos=on_incompatible_qos, message_lost=on_message_lost)
