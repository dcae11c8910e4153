# SPDX-License-Identifier: Apache-2.0
"""Odometry of the base and its transform, under the stamp of the newest image."""
from collections import Counter
from typing import Any

from crossview_ros.geometry.base_motion import base_motion, BaseMotion
from crossview_ros.messages.odometry import write_lost_odometry, write_odometry
from crossview_ros.ros import qos
from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.output_group import OutputGroup
from crossview_ros.ros.synchronizer import RESTART_NS
from crossview_ros.ros.task_health import TrackingFacts
from crossview_ros.ros.throttled_log import ThrottledLog
from crossview_ros.ros.transform_output import TransformOutput
from crossview_ros.runtime.results import TrackingStatus
from nav_msgs.msg import Odometry
import numpy as np
from rclpy.lifecycle import LifecycleNode

ODOM, BASE_CAMERA = 'odom', 'extrinsics.base_camera'


class OdometryOutputs(OutputGroup):
    """
    Publishes the pose of the base while tracking holds; what to say when it is lost is a setting.

    Keeps the last pose and its stamp.
    """

    task = 'odometry'

    def __init__(self, node: LifecycleNode, settings: PerceptionNodeParameters,
                 transforms: CameraTransforms, log: ThrottledLog) -> None:
        """
        Advertise.

        :param transforms: Knows where the camera sits on the base.
        """
        self._transforms, self._log = transforms, log
        self._status, self._reason = TrackingStatus.INITIALISING, ''
        self._missing = ''   # what is needed to place the camera on the base
        self._num_inliers: int | None = None
        self._counts: Counter[TrackingStatus] = Counter()
        self._num_gaps = 0
        self._last_ns = 0
        self._T_odom_base: np.ndarray | None = None
        self._tf: TransformOutput | None = None
        super().__init__(node, {ODOM: Odometry}, qos.status_output())
        if settings.publish_tf:
            self._tf = TransformOutput(node, log)

    def destroy(self) -> None:
        """Leave the topics."""
        super().destroy()
        if self._tf is not None:
            self._tf.destroy()

    def tracking(self) -> TrackingFacts:
        """Return what is known about the tracking."""
        return TrackingFacts(self._status.value, self._reason, self._missing, self._num_inliers,
                             {status.value: count for status, count in self._counts.items()},
                             self._num_gaps)

    def _publish(self, result: Any, data: FrameInput,
                 settings: PerceptionNodeParameters) -> bool:
        self._status = TrackingStatus(result.status)
        self._reason = getattr(result, 'lost_reason', '')
        self._num_inliers = getattr(result, 'num_inliers', None)
        self._counts[self._status] += 1
        self._num_gaps += getattr(result, 'gap_s', 0.0) > 0
        if not data.stamp_ns or 0 <= self._last_ns - data.stamp_ns < RESTART_NS:
            return False   # without a time, or not newer than what went out
        if self._status is TrackingStatus.LOST:
            return self._publish_lost(data.stamp_ns, settings)
        motion = self._motion(result, data, settings)
        if motion is None:
            return False
        self._T_odom_base, self._last_ns = motion.T_odom_base, data.stamp_ns
        frames = settings.odom_frame, settings.base_frame
        self._send(ODOM, write_odometry(
            Odometry(), motion.T_odom_base, motion.covariance, motion.twist,
            motion.twist_covariance, data.stamp_ns, *frames))
        if self._tf is not None:
            self._tf.send(motion.T_odom_base, data.stamp_ns, *frames)
        return True

    def _forget(self) -> None:
        self._T_odom_base, self._last_ns = None, 0

    def _publish_lost(self, stamp_ns: int, settings: PerceptionNodeParameters) -> bool:
        """Say that the pose is lost, in the way that is asked for; never on /tf."""
        pose = None if settings.lost_policy == 'null' else self._T_odom_base
        if settings.lost_policy == 'silent' \
                or settings.lost_policy == 'inflate' and pose is None:
            return False
        self._last_ns = stamp_ns
        self._send(ODOM, write_lost_odometry(Odometry(), pose, stamp_ns, settings.odom_frame,
                                             settings.base_frame))
        return True

    def _motion(self, result: Any, data: FrameInput,
                settings: PerceptionNodeParameters) -> BaseMotion | None:
        """Return pose and velocity of the base; None where they cannot be known."""
        T_base_camera = self._find_base(data.frame_id, settings)
        if self._status is not TrackingStatus.OK or T_base_camera is None \
                or not result.previous_stamp_ns or result.previous_stamp_ns >= data.stamp_ns:
            return None
        return base_motion(result.T_odom_camera, result.covariance, result.T_prev_cur,
                           result.covariance_rel,
                           (data.stamp_ns - result.previous_stamp_ns) * 1e-9, T_base_camera)

    def _find_base(self, camera_frame: str,
                   settings: PerceptionNodeParameters) -> np.ndarray | None:
        T_base_camera = self._transforms.find(settings.base_frame, camera_frame,
                                              settings.base_camera, BASE_CAMERA)
        self._missing = '' if T_base_camera is not None else (
            f"no transform from '{camera_frame}' to '{settings.base_frame}': publish it on "
            f'/tf_static, or set {BASE_CAMERA} (and base_frame)')
        if self._missing:
            self._log.warning_once(
                f'base {camera_frame}', f'no odometry is published: {self._missing}')
        return T_base_camera
