# SPDX-License-Identifier: Apache-2.0
"""What the outputs of every task have in common: publishers, rates, who listens."""
from collections.abc import Mapping
import threading
import time
from typing import Any

from crossview_ros.ros import qos
from crossview_ros.ros.compat import event_callbacks
from crossview_ros.ros.event_rate import EventRate
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher
from rclpy.qos import QoSProfile


class OutputGroup:
    """
    The publishers of one task; a child says what goes out.

    Made and destroyed in the executor's thread, used in the worker's.
    """

    task = ''   # 'depth', 'flow' or 'odometry'

    def __init__(self, node: LifecycleNode, topics: Mapping[str, type],
                 profile: QoSProfile | None = None) -> None:
        """
        Advertise.

        :param topics: Relative topic -> message class; the first one's rate is watched.
        :param profile: Quality of service; None: that of images.
        """
        self.incompatible_qos: dict[str, int] = {}   # topic -> subscribers that get nothing
        self.rate = EventRate(time.monotonic())
        self._resetting = threading.Event()
        self._node = node
        self._profile = profile or qos.dense_output()
        self._publishers: dict[str, LifecyclePublisher] = {}
        try:
            for topic, message_type in topics.items():
                self._publishers[topic] = self._advertise(message_type, topic)
        except Exception:   # e.g. a QoS override that means nothing
            self.destroy()
            raise

    @property
    def topic(self) -> str:
        """Return the full name of the main topic."""
        return next(iter(self._publishers.values())).topic_name

    def publish(self, result: Any, data: FrameInput, settings: PerceptionNodeParameters) -> None:
        """
        Publish what the result holds of this task.

        :param result: PerceptionResult.
        :param data: The input that it answers.
        """
        if self._resetting.is_set():
            self._resetting.clear()
            self._forget()
        if self._publish(result, data, settings):
            self.rate.add(time.monotonic())

    def reset(self) -> None:
        """Forget earlier frames, as the engine does; may be called from any thread."""
        self._resetting.set()

    def start_counting(self) -> None:
        """Begin the rate anew, as after an activation."""
        self.rate = EventRate(time.monotonic())

    def facts(self) -> dict[str, int]:
        """Return {topic: subscribers}, and how many cannot be reached."""
        topics = {f'Subscribers of {publisher.topic_name}': publisher.get_subscription_count()
                  for publisher in self._publishers.values()}
        return {**topics, 'Subscribers of incompatible QoS': sum(self.incompatible_qos.values())}

    def destroy(self) -> None:
        """Leave the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)

    def _publish(self, result: Any, data: FrameInput,
                 settings: PerceptionNodeParameters) -> bool:
        """Publish; tell whether the main topic got a message."""
        raise NotImplementedError

    def _forget(self) -> None:
        """Forget earlier frames."""

    def _send(self, topic: str, message: Any) -> None:
        self._publishers[topic].publish(message)

    def _wanted(self, topic: str) -> bool:
        """Tell whether somebody listens: what nobody wants is not computed."""
        return self._publishers[topic].get_subscription_count() > 0

    def _advertise(self, message_type: type, topic: str) -> LifecyclePublisher:
        def on_incompatible_qos(event: Any) -> None:
            self.incompatible_qos[topic] = event.total_count
        events = event_callbacks().PublisherEventCallbacks(incompatible_qos=on_incompatible_qos)
        return self._node.create_lifecycle_publisher(
            message_type, topic, self._profile, event_callbacks=events,
            qos_overriding_options=qos.overridable())
