# SPDX-License-Identifier: Apache-2.0
"""Disparity to depth and back, the uncertainty of depth, and the limits of a published depth."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import StereoRig
import numpy as np


def disparity_to_depth(disparity: np.ndarray, rig: StereoRig) -> np.ndarray:
    """
    Convert rectified disparity to depth along the optical axis.

    :param disparity: (H, W) float32 [px], x_left - x_right; NaN marks no match. Values with
        disparity + doffs <= 0 (with equal principal points: <= 0) have no depth either.
    :param rig: Rectified pair; fx [px], doffs [px] and baseline [m] are used.
    :return: (H, W) float32 [m]; NaN where there is no depth.

    Source: sensor_msgs/CameraInfo, P[3] = -fx * baseline of the right camera.
    """
    shift = _shift_px(disparity, rig)
    return np.float32(rig.left.fx * rig.baseline) / shift


def depth_to_disparity(depth: np.ndarray, rig: StereoRig) -> np.ndarray:
    """
    Convert depth along the optical axis to rectified disparity.

    :param depth: (H, W) float32 [m]; values that are not finite or <= 0 mark no depth.
    :return: (H, W) float32 [px], x_left - x_right; NaN where there is no depth.
    """
    depth = np.asarray(depth, np.float32)
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return np.float32(rig.left.fx * rig.baseline) / depth - np.float32(rig.doffs)


def depth_sigma(disparity: np.ndarray, disparity_sigma: np.ndarray,
                rig: StereoRig) -> np.ndarray:
    """
    Propagate the uncertainty of a disparity to its depth, to first order.

    :param disparity: (H, W) float32 [px]; NaN marks no match.
    :param disparity_sigma: (H, W) float32 [px], standard deviation.
    :return: (H, W) float32 [m]: fx * B / (d + doffs)^2 * sigma; NaN where there is no depth.
    """
    shift = _shift_px(disparity, rig)
    focal_baseline = np.float32(rig.left.fx * rig.baseline)
    return focal_baseline / shift ** 2 * np.asarray(disparity_sigma, np.float32)


def apply_depth_limits(depth: np.ndarray, min_depth: float, max_depth: float) -> np.ndarray:
    """
    Mark depths out of a sensor's range as REP 117 asks.

    :param depth: (H, W) float32 [m]; not changed.
    :param min_depth: Nearer ones become -Inf [m].
    :param max_depth: Farther ones become +Inf [m].
    :return: (H, W) float32 [m]; NaN stays NaN (invalid).
    :raises CalibrationError: Unless 0 <= min_depth < max_depth.
    """
    if not 0 <= min_depth < max_depth:
        raise CalibrationError(f'depth limits must be 0 <= min < max [m], got min_depth '
                               f'{min_depth:g} and max_depth {max_depth:g}')
    limited = np.array(depth, np.float32)
    with np.errstate(invalid='ignore'):   # NaN compares false and stays
        limited[limited > max_depth] = np.inf
        limited[limited < min_depth] = -np.inf
    return limited


def _shift_px(disparity: np.ndarray, rig: StereoRig) -> np.ndarray:
    """Return fx * B / Z: the disparity of cameras with equal principal points; NaN invalid."""
    shift = np.asarray(disparity, np.float32) + np.float32(rig.doffs)
    return np.where(np.isfinite(shift) & (shift > 0), shift, np.float32(np.nan))
