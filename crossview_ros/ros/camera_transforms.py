# SPDX-License-Identifier: Apache-2.0
"""Where the cameras sit relative to each other, for calibrations that do not say it."""
from typing import Any

from rclpy.node import Node
from rclpy.time import Time

NO_TF = ('tf2_ros is not installed, so the baseline cannot be looked up in TF; set the parameter '
         'stereo_baseline')


class CameraTransforms:
    """
    The baseline from a parameter, or from TF where tf2_ros is installed.

    Listens to TF only once it is asked, because /tf can be busy. Called from the worker thread.
    """

    def __init__(self, node: Node, stereo_baseline: float) -> None:
        """
        Remember where to look.

        :param stereo_baseline: Distance of the cameras [m]; 0 asks TF.
        """
        self._node = node
        self._stereo_baseline = stereo_baseline
        self._buffer: Any = None
        self._listener: Any = None
        self._tried = False

    def baseline(self, left_frame: str, right_frame: str) -> float | None:
        """
        Return x of the right camera in the left optical frame [m]; None while it is not known.

        Never waits: TF that is on its way serves a later frame.
        """
        if self._stereo_baseline > 0:
            return self._stereo_baseline
        if not self._tried:
            self._listen()
        if self._buffer is None or not self._buffer.can_transform(left_frame, right_frame,
                                                                  Time()):
            return None
        transform = self._buffer.lookup_transform(left_frame, right_frame, Time())
        return float(transform.transform.translation.x)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
            self._listener = None

    def _listen(self) -> None:
        self._tried = True
        try:
            import tf2_ros
        except ImportError:
            self._node.get_logger().warning(NO_TF)
            return
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, self._node)
