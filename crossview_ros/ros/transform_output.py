# SPDX-License-Identifier: Apache-2.0
"""Transforms on /tf: by tf2_ros where it is installed, else by tf2_msgs, else not at all."""
from collections.abc import Callable
from typing import Any

from crossview_ros.messages.odometry import write_transform
from crossview_ros.ros import qos
from crossview_ros.ros.throttled_log import ThrottledLog
from geometry_msgs.msg import TransformStamped
import numpy as np
from rclpy.node import Node

NEITHER = ('neither tf2_ros nor tf2_msgs is installed: no transform goes to /tf; install '
           'ros-<distro>-tf2-ros-py, or set publish_tf: false')


class TransformOutput:
    """Sends one transform at a time; used by the worker's thread once it is made."""

    def __init__(self, node: Node, log: ThrottledLog) -> None:
        """Find out what is installed; tell if nothing is."""
        self._node = node
        self._publisher: Any = None
        self._send = self._with_tf2_ros() or self._with_tf2_msgs()
        if self._send is None:
            log.warning_once('no tf output', NEITHER)

    @property
    def available(self) -> bool:
        """Tell whether transforms go out."""
        return self._send is not None

    def send(self, T_parent_child: np.ndarray, stamp_ns: int, parent: str, child: str) -> None:
        """Send a transform (4, 4) [m], where that is possible."""
        if self._send is not None:
            self._send(write_transform(TransformStamped(), T_parent_child, stamp_ns, parent,
                                       child))

    def destroy(self) -> None:
        """Leave the topic."""
        self._send = None
        if self._publisher is not None:
            self._node.destroy_publisher(self._publisher)
            self._publisher = None

    def _with_tf2_ros(self) -> Callable[[TransformStamped], None] | None:
        try:
            from tf2_ros import TransformBroadcaster
        except ImportError:
            return None
        broadcaster = TransformBroadcaster(self._node)
        # `pub_tf` is what every release calls it; without it the topic is left with the node
        self._publisher = getattr(broadcaster, 'pub_tf', None)
        return broadcaster.sendTransform

    def _with_tf2_msgs(self) -> Callable[[TransformStamped], None] | None:
        try:
            from tf2_msgs.msg import TFMessage
        except ImportError:
            return None
        self._publisher = self._node.create_publisher(TFMessage, '/tf', qos.transforms())
        return lambda transform: self._publisher.publish(TFMessage(transforms=[transform]))
