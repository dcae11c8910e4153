# SPDX-License-Identifier: Apache-2.0
"""Motion of a robot's base from that of its camera, as nav_msgs/Odometry wants it."""
from dataclasses import dataclass

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.se3 import adjoint, compose, invert, log_se3
import numpy as np


@dataclass(frozen=True)
class BaseMotion:
    """Pose and velocity of the base; rows and columns are x, y, z, rx, ry, rz."""

    T_odom_base: np.ndarray        # (4, 4) [m]; the identity where the tracking began
    covariance: np.ndarray         # (6, 6) of the pose, along and about the axes of odom
    twist: np.ndarray              # (6,) velocity in the base frame [m/s, rad/s]
    twist_covariance: np.ndarray   # (6, 6) in the base frame


def base_pose(T_start_camera: np.ndarray, T_base_camera: np.ndarray) -> np.ndarray:
    """
    Return T_odom_base (4, 4): the odom frame is the base's where the tracking began.

    :param T_start_camera: (4, 4) pose of the camera in the camera's frame at that moment.
    :param T_base_camera: (4, 4) where the camera sits on the base.
    """
    return compose(T_base_camera, T_start_camera, invert(T_base_camera))


def base_motion(T_start_camera: np.ndarray, covariance: np.ndarray, T_prev_cur: np.ndarray,
                covariance_rel: np.ndarray, dt_s: float, T_base_camera: np.ndarray) -> BaseMotion:
    """
    Move pose, step and their covariances from the camera to the base.

    :param T_start_camera: (4, 4) pose of the camera in the camera's frame where it began.
    :param covariance: (6, 6) of it, in the moving camera frame.
    :param T_prev_cur: (4, 4) step of the camera since the frame before.
    :param covariance_rel: (6, 6) of it, in the current camera frame.
    :param dt_s: Duration of the step [s].
    :raises CalibrationError: If the duration is not positive.

    Source: Barfoot, State Estimation for Robotics, section 7.3: covariances move by the adjoint.
    """
    if not dt_s > 0:
        raise CalibrationError(f'a step needs a duration greater than 0 s, got {dt_s:g} s')
    to_base = adjoint(T_base_camera)
    T_odom_base = base_pose(T_start_camera, T_base_camera)
    turned = np.kron(np.eye(2), T_odom_base[:3, :3])   # moving axes -> fixed axes
    return BaseMotion(
        T_odom_base, _propagated(turned @ to_base, covariance),
        to_base @ log_se3(T_prev_cur) / dt_s, _propagated(to_base / dt_s, covariance_rel))


def _propagated(matrix: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    covariance = matrix @ np.asarray(covariance, np.float64) @ matrix.T
    return (covariance + covariance.T) / 2   # symmetric to the last bit
