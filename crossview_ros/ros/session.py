# SPDX-License-Identifier: Apache-2.0
"""A ROS node of one's own inside any program: its context, its node, its spinning thread."""
import threading

from crossview_ros.ros.large_messages import LargeMessages
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.task import Future


class NodeSession:
    """
    A node with a context of its own; a context manager.

    Signals stay with the program that uses it. Callbacks, if spun, run in one thread.
    """

    def __init__(self, name: str, namespace: str = '', spin: bool = False) -> None:
        """
        Remember what to start.

        :param name: Name of the node.
        :param namespace: Namespace of relative topics; '' is the root.
        :param spin: Run callbacks in a thread, for subscriptions, clients and timers.
        """
        self.name = name
        self.namespace = namespace
        self.node: Node | None = None
        self._context: Context | None = None
        self._executor: SingleThreadedExecutor | None = None
        self._leaving: Future | None = None
        self._thread: threading.Thread | None = None
        self._spin = spin

    def __enter__(self) -> 'NodeSession':
        """Join the ROS graph."""
        self._context = Context()
        with LargeMessages():
            rclpy.init(context=self._context)
            self.node = Node(self.name, namespace=self.namespace, context=self._context,
                             use_global_arguments=False, start_parameter_services=False,
                             enable_rosout=False)
        if self._spin:
            self._executor = SingleThreadedExecutor(context=self._context)
            self._executor.add_node(self.node)
            self._leaving = Future()
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the ROS graph."""
        if self._executor is not None:
            self._leaving.set_result(None)   # a shutdown beside a thread that spins fails in it
            self._thread.join()
            self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def _run(self) -> None:
        try:
            self._executor.spin_until_future_complete(self._leaving)
        except ExternalShutdownException:
            pass
