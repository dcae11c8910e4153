# SPDX-License-Identifier: Apache-2.0
"""Listen to what a node publishes, keep it by stamp with the time of its arrival."""
from collections.abc import Callable, Mapping
from dataclasses import dataclass
import threading
import time
from typing import Any

from crossview_ros.errors import ConfigError, CrossviewError
from crossview_ros.messages.header import stamp_ns
from crossview_ros.ros.player import message_class
from crossview_ros.ros.session import NodeSession
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rclpy.qos import QoSProfile, ReliabilityPolicy

DEPTH_OUTPUTS = {
    'depth/image': 'sensor_msgs/msg/Image',
    'depth/camera_info': 'sensor_msgs/msg/CameraInfo',
    'depth/confidence': 'sensor_msgs/msg/Image',
}
ACTIVE = 'active'


@dataclass(frozen=True)
class Received:
    """One message that arrived."""

    message: Any
    monotonic_s: float   # time.monotonic() at its arrival, as `Published` of the player


class OutputCollector:
    """
    Subscribe to topics and keep each message by its header stamp; a context manager.

    Messages arrive in a thread of its own; every method may be called from any thread.
    """

    def __init__(self, topics: Mapping[str, str] = DEPTH_OUTPUTS, namespace: str = '') -> None:
        """
        Remember what to collect.

        :param topics: Topic -> type, such as 'sensor_msgs/msg/Image'; all with a header.
        :param namespace: Namespace of relative topics.
        """
        self._types = dict(topics)
        self._received: dict[str, dict[int, Received]] = {topic: {} for topic in topics}
        self._repeated: dict[str, int] = dict.fromkeys(topics, 0)
        self._statuses: dict[str, DiagnosticStatus] = {}
        self._changed = threading.Condition()
        self._session = NodeSession('output_collector', namespace, spin=True)

    def __enter__(self) -> 'OutputCollector':
        """
        Join ROS and subscribe, reliably: what the node sends is kept.

        :raises ConfigError: If a message type is not installed.
        """
        classes = {topic: message_class(name) for topic, name in self._types.items()}
        missing = sorted(self._types[topic] for topic, kind in classes.items() if kind is None)
        if missing:
            raise ConfigError(f'message type {", ".join(missing)} is not installed')
        node = self._session.__enter__().node
        qos = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in classes.items():
            node.create_subscription(kind, topic, self._keeper(topic), qos)
        node.create_subscription(DiagnosticArray, '/diagnostics', self._on_diagnostics, 10)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave ROS; what was kept stays."""
        self._session.__exit__()

    @property
    def topics(self) -> list[str]:
        """Return what is collected."""
        return list(self._types)

    def received(self, topic: str) -> dict[int, Received]:
        """Return {stamp [ns]: first message with this stamp}, in the order of arrival."""
        with self._changed:
            return dict(self._received[topic])

    def repeated(self, topic: str) -> int:
        """Count the messages with a stamp that had come before."""
        with self._changed:
            return self._repeated[topic]

    def wait_for(self, topic: str, count: int, timeout_s: float) -> bool:
        """Wait until ``count`` stamps of a topic have come; False when they did not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._received[topic]) >= count, timeout_s)

    def wait_for_stamp(self, topic: str, stamp_ns: int, timeout_s: float) -> Any:
        """Wait for the message with this stamp and return it; None when it did not come."""
        with self._changed:
            self._changed.wait_for(lambda: stamp_ns in self._received[topic], timeout_s)
            received = self._received[topic].get(stamp_ns)
        return None if received is None else received.message

    def statuses(self) -> dict[str, DiagnosticStatus]:
        """Return {name: latest status} of everything that came on /diagnostics."""
        with self._changed:
            return dict(self._statuses)

    def diagnostic_values(self, name: str) -> dict[str, str]:
        """Return the key-value pairs of the latest status of a name; empty if there is none."""
        status = self.statuses().get(name)
        return {pair.key: pair.value for pair in status.values} if status else {}

    def wait_for_status(self, accept: Callable[[dict[str, DiagnosticStatus]], bool],
                        timeout_s: float) -> bool:
        """Wait until the latest statuses satisfy ``accept``; False when not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: accept(self._statuses), timeout_s)

    def wait_until_active(self, node_name: str, timeout_s: float,
                          check: Callable[[], None] | None = None) -> None:
        """
        Wait until a lifecycle node is active.

        :param node_name: Such as 'perception_node', in the namespace of the collector.
        :param check: Called every now and then; may raise, e.g. when the process has ended.
        :raises CrossviewError: If it is not active in time.
        """
        client = self._session.node.create_client(GetState, f'{node_name}/get_state')
        deadline_s = time.monotonic() + timeout_s
        state = 'no answer'
        try:
            while state != ACTIVE:
                if check is not None:
                    check()
                if time.monotonic() > deadline_s:
                    raise CrossviewError(f'{node_name} is not active after {timeout_s:g} s; '
                                         f'its state: {state}')
                state = _ask(client) or state
        finally:
            self._session.node.destroy_client(client)

    def _keeper(self, topic: str) -> Callable[[Any], None]:
        def keep(message: Any) -> None:
            arrived = Received(message, time.monotonic())
            with self._changed:
                first = self._received[topic].setdefault(stamp_ns(message), arrived)
                self._repeated[topic] += first is not arrived
                self._changed.notify_all()
        return keep

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self._changed:
            self._statuses.update({status.name: status for status in message.status})
            self._changed.notify_all()


def _ask(client: Any, patience_s: float = 0.2) -> str | None:
    """Ask for the state once; None without an answer in time."""
    if not client.service_is_ready():
        time.sleep(0.05)
        return None
    answer = client.call_async(GetState.Request())
    done = threading.Event()
    answer.add_done_callback(lambda _: done.set())
    if not done.wait(patience_s):
        client.remove_pending_request(answer)
        return None
    return answer.result().current_state.label
