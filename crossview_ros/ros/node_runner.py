# SPDX-License-Identifier: Apache-2.0
"""Spin the node in a thread while the main thread waits for a signal."""
import signal
import sys
import threading

from crossview_ros.errors import CrossviewError
from crossview_ros.ros.large_messages import LargeMessages
from crossview_ros.ros.lifecycle_node import PerceptionNode
from crossview_ros.ros.model_loader import EngineFactory, open_perception
from crossview_ros.ros.perception_node import ENDING
import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.logging import get_logger
from rclpy.signals import SignalHandlerOptions

POLL_S = 0.2


def run_node(args: list[str] | None, engine_factory: EngineFactory | None,
             task: str | None) -> int:
    """
    Run the node until SIGINT or SIGTERM, which must be blocked in the calling thread.

    :param task: What it is for; None: all tasks.
    :return: Exit code.
    """
    arguments = sys.argv if args is None else [sys.argv[0], *args]
    try:
        with LargeMessages():
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            node = PerceptionNode(engine_factory or open_perception, task)
    except CrossviewError as error:
        return _refuse(str(error))
    except Exception as error:   # rcl's errors about the command line have no common class
        return _refuse(f'ROS cannot be started: {" ".join(str(error).split())}')
    spinner = Spinner(node)
    try:
        while not node.failed.is_set():
            if signal.sigtimedwait(ENDING, POLL_S) is not None:
                break
    finally:
        node.request_stop()
        spinner.stop()
        node.close()
        rclpy.try_shutdown()
    return 1 if node.failed.is_set() else 0


def _refuse(text: str) -> int:
    get_logger('perception_node').fatal(text)
    rclpy.try_shutdown()
    return 1


class Spinner:
    """Runs the callbacks of a node in a thread; a callback that fails is told, not fatal."""

    def __init__(self, node: PerceptionNode) -> None:
        """Start."""
        self._node = node
        self._stopped = False
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name='executor', daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return once no callback runs."""
        self._stopped = True
        self._executor.shutdown()
        self._thread.join()

    def _spin(self) -> None:
        while not self._stopped:
            try:
                self._executor.spin()
            except ExternalShutdownException:
                return
            except Exception as error:   # one bad message or request must not end the node
                if self._stopped:
                    return   # entities go away while the executor looks at them
                self._node.get_logger().error(
                    f'callback failed: {type(error).__name__}: {error}')
