# SPDX-License-Identifier: Apache-2.0
"""Where cameras, base and LiDAR sit: from parameters, or from TF where tf2_ros is installed."""
from collections.abc import Sequence
from typing import Any

from crossview_ros.messages.odometry import read_pose, transform_from_pose
from crossview_ros.ros.node_parameters import NO_POSE
from crossview_ros.ros.throttled_log import ThrottledLog
from geometry_msgs.msg import Point, Pose
import numpy as np
from rclpy.clock import JumpThreshold
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

# A bag that begins again, seen by /clock. Without it tf2 refuses all that is older than before.
RESTART = JumpThreshold(min_forward=None, min_backward=Duration(seconds=-1), on_clock_change=False)


class CameraTransforms:
    """
    Fixed transforms that calibrations of the cameras do not hold.

    Listens to TF only once it is asked, because /tf can be busy. Called from the worker thread.
    """

    def __init__(self, node: Node, stereo_baseline: float, log: ThrottledLog) -> None:
        """
        Remember where to look.

        :param stereo_baseline: Distance of the cameras [m]; 0 asks TF.
        """
        self._node, self._log = node, log
        self._stereo_baseline = stereo_baseline
        self._buffer: Any = None
        self._listener: Any = None
        self._jumps: Any = None
        self._tried = False

    def baseline(self, left_frame: str, right_frame: str) -> float | None:
        """
        Return x of the right camera in the left optical frame [m]; None while it is not known.

        Never waits: TF that is on its way serves a later frame.
        """
        if self._stereo_baseline > 0:
            return self._stereo_baseline
        T_left_right = self._look_up(left_frame, right_frame, 'stereo_baseline')
        return None if T_left_right is None else float(T_left_right[0, 3])

    def find(self, target: str, source: str, given: Sequence[float],
             parameter: str) -> np.ndarray | None:
        """
        Return T_target_source (4, 4) [m]; None while it is not known.

        Never waits, and never takes the identity unless both are one frame.

        :param given: x y z qx qy qz qw of the parameter; zeros ask TF.
        :param parameter: Its name, for who has no TF.
        """
        if tuple(given) != NO_POSE:
            return transform_from_pose(given)
        if target == source:
            return np.eye(4)
        return self._look_up(target, source, parameter)

    def close(self) -> None:
        """Stop listening."""
        if self._listener is not None:
            self._listener.unregister()
            self._jumps.unregister()
            self._listener = self._jumps = None

    def _look_up(self, target: str, source: str, parameter: str) -> np.ndarray | None:
        if not self._tried:
            self._listen()
        # tf2 knows no leading slash, messages of ROS 1 do
        target, source = target.lstrip('/'), source.lstrip('/')
        if self._buffer is None:
            self._log.warning_once(f'no tf {parameter}', (
                f"tf2_ros is not installed, so the transform from '{source}' to '{target}' cannot "
                f'be looked up in TF; install ros-<distro>-tf2-ros-py, or set the parameter '
                f'{parameter}'))
            return None
        if not (target and source and self._buffer.can_transform(target, source, Time())):
            return None
        transform = self._buffer.lookup_transform(target, source, Time()).transform
        at = transform.translation
        return read_pose(Pose(position=Point(x=at.x, y=at.y, z=at.z),
                              orientation=transform.rotation))

    def _listen(self) -> None:
        self._tried = True
        try:
            import tf2_ros
        except ImportError:
            return
        self._buffer = tf2_ros.Buffer()
        self._listener = tf2_ros.TransformListener(self._buffer, self._node)
        self._jumps = self._node.get_clock().create_jump_callback(
            RESTART, post_callback=lambda _: self._buffer.clear())   # fixed transforms stay
