# SPDX-License-Identifier: Apache-2.0
"""
Rigid transforms as (4, 4) float64 matrices, their logarithm, and quaternions.

``T_a_b`` maps points of frame b into frame a. A twist is (x, y, z, rx, ry, rz) [m, rad].
"""
from crossview_ros.errors import CalibrationError
import numpy as np

_SMALL_ANGLE = 1e-4   # rad; below it series replace quotients of vanishing numbers


def make_transform(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """
    Put a rotation (3, 3) and a translation (3,) [m] into one matrix.

    :return: (4, 4) float64.
    """
    T = np.eye(4)
    T[:3, :3] = rotation
    T[:3, 3] = np.asarray(translation, np.float64).reshape(3)
    return T


def compose(*transforms: np.ndarray) -> np.ndarray:
    """Return the product T_a_d of T_a_b, T_b_c, T_c_d ... as (4, 4) float64; none: identity."""
    product = np.eye(4)
    for T in transforms:
        product = product @ np.asarray(T, np.float64)
    return product


def invert(T: np.ndarray) -> np.ndarray:
    """
    Return T_b_a of T_a_b.

    :param T: (..., 4, 4), rigid.
    :return: (..., 4, 4) float64.
    """
    T = np.asarray(T, np.float64)
    inverse = np.zeros_like(T)
    inverse[..., :3, :3] = np.swapaxes(T[..., :3, :3], -1, -2)
    inverse[..., :3, 3] = -np.einsum('...ij,...j->...i', inverse[..., :3, :3], T[..., :3, 3])
    inverse[..., 3, 3] = 1.0
    return inverse


def transform_points(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """
    Map points of frame b into frame a.

    :param T: T_a_b (4, 4).
    :param points: (..., 3) [m]; rows that are not finite stay so.
    :return: (..., 3) float64 [m].
    """
    T = np.asarray(T, np.float64)
    with np.errstate(invalid='ignore'):   # inf - inf of a row without a position
        return np.asarray(points, np.float64) @ T[:3, :3].T + T[:3, 3]


def exp_se3(twist: np.ndarray) -> np.ndarray:
    """
    Return the transform that a twist generates.

    :param twist: (6,) x, y, z, rx, ry, rz [m, rad].
    :return: (4, 4) float64.

    Source: Barfoot, State Estimation for Robotics, eq. 7.85 (left Jacobian).
    """
    rho, phi = np.split(np.asarray(twist, np.float64).reshape(6), 2)
    angle = float(np.linalg.norm(phi))
    skew = _skew(phi)
    a, b, c = _series(angle)
    rotation = np.eye(3) + a * skew + b * skew @ skew
    jacobian = np.eye(3) + b * skew + c * skew @ skew
    return make_transform(rotation, jacobian @ rho)


def log_se3(T: np.ndarray) -> np.ndarray:
    """
    Return the twist that generates a transform; the rotation angle is in [0, pi].

    :param T: (4, 4), rigid.
    :return: (6,) float64 x, y, z, rx, ry, rz [m, rad].

    Source: Barfoot, State Estimation for Robotics, eq. 7.95.
    """
    T = np.asarray(T, np.float64)
    phi = _rotation_vector(T[:3, :3])
    angle = float(np.linalg.norm(phi))
    skew = _skew(phi)
    if angle < _SMALL_ANGLE:
        c = 1 / 12
    else:
        c = (1 - angle / 2 / np.tan(angle / 2)) / angle ** 2
    inverse_jacobian = np.eye(3) - skew / 2 + c * skew @ skew
    return np.concatenate((inverse_jacobian @ T[:3, 3], phi))


def adjoint(T: np.ndarray) -> np.ndarray:
    """
    Return the matrix that moves a twist or its covariance to another frame.

    With Ad = adjoint(T_a_b): twist_a = Ad @ twist_b and covariance_a = Ad @ covariance_b @ Ad.T.

    :return: (6, 6) float64, order x, y, z, rx, ry, rz.

    Source: Barfoot, State Estimation for Robotics, eq. 7.26.
    """
    T = np.asarray(T, np.float64)
    matrix = np.zeros((6, 6))
    matrix[:3, :3] = matrix[3:, 3:] = T[:3, :3]
    matrix[:3, 3:] = _skew(T[:3, 3]) @ T[:3, :3]
    return matrix


def rotation_from_quat_xyzw(quat_xyzw: np.ndarray) -> np.ndarray:
    """
    Turn a quaternion of any length into a rotation matrix (3, 3) float64.

    :param quat_xyzw: (4,) x, y, z, w.
    :raises CalibrationError: If it is zero or not finite and so has no direction.
    """
    quat_xyzw = np.asarray(quat_xyzw, np.float64).reshape(4)
    length = float(np.linalg.norm(quat_xyzw))
    if not np.isfinite(length) or length < 1e-9:
        raise CalibrationError(f'quaternion (x, y, z, w) = {quat_xyzw.tolist()} is no rotation; '
                               'it must have length 1')
    x, y, z, w = quat_xyzw / length
    return np.array([[1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                     [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                     [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)]])


def quat_xyzw_from_rotation(rotation: np.ndarray) -> np.ndarray:
    """
    Turn a rotation matrix (3, 3) into the quaternion x, y, z, w with w >= 0.

    :return: (4,) float64 of length 1.

    Source: Shepperd, Quaternion from rotation matrix, 1978: divide by the largest component.
    """
    r = np.asarray(rotation, np.float64)
    plus, minus = r + r.T, r.T - r
    signs = np.array([[1, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    # row k is the quaternion times 4 times its component k
    rows = np.array([[0.0, plus[0, 1], plus[0, 2], minus[1, 2]],
                     [plus[0, 1], 0.0, plus[1, 2], minus[2, 0]],
                     [plus[0, 2], plus[1, 2], 0.0, minus[0, 1]],
                     [minus[1, 2], minus[2, 0], minus[0, 1], 0.0]])
    rows[np.diag_indices(4)] = 1 + signs @ np.diagonal(r)
    quat_xyzw = rows[np.argmax(np.diagonal(rows))]
    quat_xyzw = quat_xyzw / np.linalg.norm(quat_xyzw)
    return -quat_xyzw if quat_xyzw[3] < 0 else quat_xyzw


def _series(angle: float) -> tuple[float, float, float]:
    """Return sin(a)/a, (1 - cos(a))/a^2, (a - sin(a))/a^3."""
    if angle < _SMALL_ANGLE:
        return 1 - angle ** 2 / 6, 0.5 - angle ** 2 / 24, 1 / 6 - angle ** 2 / 120
    return (np.sin(angle) / angle, (1 - np.cos(angle)) / angle ** 2,
            (angle - np.sin(angle)) / angle ** 3)


def _rotation_vector(rotation: np.ndarray) -> np.ndarray:
    quat_xyzw = quat_xyzw_from_rotation(rotation)   # stays exact near pi, unlike the trace
    sine = float(np.linalg.norm(quat_xyzw[:3]))
    if sine < _SMALL_ANGLE:
        return 2 * quat_xyzw[:3]
    return 2 * np.arctan2(sine, quat_xyzw[3]) / sine * quat_xyzw[:3]


def _skew(v: np.ndarray) -> np.ndarray:
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
