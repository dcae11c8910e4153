# SPDX-License-Identifier: Apache-2.0
"""nav_msgs/Odometry and geometry_msgs poses and transforms to and from (4, 4) matrices."""
from collections.abc import Sequence
from typing import Any

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.se3 import (
    make_transform, quat_xyzw_from_rotation, rotation_from_quat_xyzw)
from crossview_ros.messages.header import set_header
import numpy as np

LOST_VARIANCE = 9999.0   # what consumers (rtabmap) read as lost


def read_pose(pose: Any) -> np.ndarray:
    """
    Read a geometry_msgs/Pose, such as ``odometry.pose.pose``.

    :return: (4, 4) float64: T_odom_base for the pose of an Odometry.
    :raises MessageError: If it is not finite, or the quaternion is zero, which means lost.
    """
    position, orientation = pose.position, pose.orientation
    translation = np.array([position.x, position.y, position.z], np.float64)
    if not np.isfinite(translation).all():
        raise MessageError(f'the position {translation.tolist()} of the pose is not finite')
    quat_xyzw = np.array([orientation.x, orientation.y, orientation.z, orientation.w])
    try:
        return make_transform(rotation_from_quat_xyzw(quat_xyzw), translation)
    except CalibrationError as error:
        raise MessageError(f'the pose has no orientation: {error}') from error


def write_odometry(message: Any, T_odom_base: np.ndarray, covariance: np.ndarray,
                   twist: np.ndarray, twist_covariance: np.ndarray, stamp_ns: int,
                   odom_frame: str, base_frame: str) -> Any:
    """
    Fill an Odometry.

    :param message: A fresh nav_msgs/Odometry.
    :param T_odom_base: (4, 4), pose of the base in the odom frame.
    :param covariance: (6, 6) of the pose, order x, y, z, rx, ry, rz, fixed axes [m, rad].
    :param twist: (6,) vx, vy, vz [m/s], wx, wy, wz [rad/s] in the base frame.
    :param twist_covariance: (6, 6) of the twist, base frame.
    :return: The message.
    :raises MessageError: If a number is not finite, or a covariance is not symmetric with a
        positive diagonal and no negative eigenvalue.
    """
    T_odom_base = np.asarray(T_odom_base, np.float64)
    twist = np.asarray(twist, np.float64).reshape(-1)
    if T_odom_base.shape != (4, 4) or twist.shape != (6,):
        raise MessageError(f'odometry needs a (4, 4) pose and a (6,) twist, got '
                           f'{T_odom_base.shape} and {twist.shape}')
    if not (np.isfinite(T_odom_base).all() and np.isfinite(twist).all()):
        raise MessageError('pose and twist of odometry must be finite')
    set_header(message, stamp_ns, odom_frame)
    message.child_frame_id = str(base_frame)
    _fill_pose(message.pose.pose, T_odom_base)
    message.pose.covariance = _covariance(covariance, 'pose')
    for vector, values in ((message.twist.twist.linear, twist[:3]),
                           (message.twist.twist.angular, twist[3:])):
        _fill_vector(vector, values)
    message.twist.covariance = _covariance(twist_covariance, 'twist')
    return message


def write_lost_odometry(message: Any, T_odom_base: np.ndarray | None, stamp_ns: int,
                        odom_frame: str, base_frame: str) -> Any:
    """
    Fill an Odometry that says that the pose is not known.

    :param message: A fresh nav_msgs/Odometry.
    :param T_odom_base: (4, 4), the last pose; None: a quaternion of zeros, which is no rotation.
    :return: The message, with all variances `LOST_VARIANCE` and no velocity.
    """
    set_header(message, stamp_ns, odom_frame)
    message.child_frame_id = str(base_frame)
    if T_odom_base is None:
        message.pose.pose.orientation.w = 0.0   # 1 in a fresh message
    else:
        _fill_pose(message.pose.pose, np.asarray(T_odom_base, np.float64))
    for part in (message.pose, message.twist):
        part.covariance = (LOST_VARIANCE * np.eye(6)).reshape(36)
    return message


def write_transform(message: Any, T_parent_child: np.ndarray, stamp_ns: int, parent: str,
                    child: str) -> Any:
    """
    Fill a transform.

    :param message: A fresh geometry_msgs/TransformStamped.
    :param T_parent_child: (4, 4), pose of the child frame in the parent frame.
    :return: The message.
    """
    T = np.asarray(T_parent_child, np.float64)
    set_header(message, stamp_ns, parent)
    message.child_frame_id = str(child)
    transform = message.transform
    _fill_vector(transform.translation, T[:3, 3])
    _fill_quaternion(transform.rotation, T[:3, :3])
    return message


def transform_from_pose(pose: Sequence[float]) -> np.ndarray:
    """
    Return the (4, 4) matrix of a pose x, y, z [m], qx, qy, qz, qw.

    :raises CalibrationError: If the quaternion is zero.
    """
    return make_transform(rotation_from_quat_xyzw(np.array(pose[3:])), np.array(pose[:3]))


def _fill_pose(pose: Any, T: np.ndarray) -> None:
    _fill_vector(pose.position, T[:3, 3])
    _fill_quaternion(pose.orientation, T[:3, :3])


def _fill_vector(vector: Any, values: np.ndarray) -> None:
    vector.x, vector.y, vector.z = values.tolist()


def _fill_quaternion(quaternion: Any, rotation: np.ndarray) -> None:
    quaternion.x, quaternion.y, quaternion.z, quaternion.w = quat_xyzw_from_rotation(
        rotation).tolist()


def _covariance(covariance: np.ndarray, name: str) -> np.ndarray:
    """Check a covariance and return it as 36 numbers, row by row."""
    covariance = np.array(covariance, np.float64)
    if covariance.shape != (6, 6) or not np.isfinite(covariance).all():
        raise MessageError(f'{name} covariance must be (6, 6) and finite, got shape '
                           f'{covariance.shape}')
    scale = np.abs(covariance).max()
    if np.abs(covariance - covariance.T).max() > 1e-9 * scale:
        raise MessageError(f'{name} covariance is not symmetric')
    if np.diagonal(covariance).min() <= 0:
        raise MessageError(f'{name} covariance must have a positive diagonal, got '
                           f'{np.diagonal(covariance).tolist()}; zero would claim certainty')
    if np.linalg.eigvalsh(covariance).min() < -1e-9 * scale:
        raise MessageError(f'{name} covariance has a negative eigenvalue')
    if covariance[0, 0] == 1.0:   # consumers (rtabmap) take exactly 1 for not given
        covariance[0, 0] = np.nextafter(1.0, 2.0)
    return covariance.reshape(36)
