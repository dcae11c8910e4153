# SPDX-License-Identifier: Apache-2.0
"""stereo_msgs/DisparityImage to and from disparity arrays."""
from typing import Any

from crossview_ros.errors import MessageError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import read_float_image, write_image
import numpy as np

INVALID_DISPARITY = -1.0   # below any min_disparity; 0 would be infinitely far, NaN crashes views
_DELTA_D = 1 / 16          # [px], smallest step that the message promises


def write_disparity_image(message: Any, disparity: np.ndarray, rig: StereoRig, min_depth: float,
                          max_depth: float, stamp_ns: int, frame_id: str) -> Any:
    """
    Fill a DisparityImage under the left header.

    :param message: A fresh stereo_msgs/DisparityImage.
    :param disparity: (H, W) float32 [px], x_left - x_right; NaN invalid. The message subtracts
        the difference of the principal points, so doffs is added.
    :param min_depth: Sets max_disparity [m].
    :param max_depth: Sets min_disparity [m].
    :return: The message: Z = f * t / d, invalid = -1.
    :raises MessageError: If the size is not the rig's, or not 0 < min_depth < max_depth.

    Source: stereo_msgs/DisparityImage, d = x_l - x_r - (cx_l - cx_r).
    """
    disparity = np.asarray(disparity)
    if disparity.shape != rig.left.size_hw:
        raise MessageError(f'disparity is {disparity.shape} but the rig is {rig.left.size_hw} '
                           '(height, width)')
    if not 0 < min_depth < max_depth < np.inf:
        raise MessageError(f'depth limits must be 0 < min < max [m], got {min_depth:g} and '
                           f'{max_depth:g}')
    shift = disparity.astype(np.float32) + np.float32(rig.doffs)
    valid = np.isfinite(shift) & (shift > 0)
    shift = np.where(valid, shift, np.float32(INVALID_DISPARITY))
    set_header(message, stamp_ns, frame_id)
    write_image(message.image, shift, '32FC1', stamp_ns, frame_id)
    message.f, message.t = rig.right.fx, rig.baseline
    message.min_disparity = rig.right.fx * rig.baseline / max_depth
    message.max_disparity = rig.right.fx * rig.baseline / min_depth
    message.delta_d = _DELTA_D
    window = message.valid_window
    window.x_offset = window.y_offset = 0
    window.height, window.width = disparity.shape
    window.do_rectify = False
    return message


def read_disparity_image(message: Any, topic: str = 'disparity') -> np.ndarray:
    """
    Read a DisparityImage.

    :param message: stereo_msgs/DisparityImage with a 32FC1 image.
    :return: (H, W) float32 [px], as the message defines it: x_left - x_right + doffs, so that
        Z = f * t / d. NaN where invalid: not finite, <= 0 or below min_disparity.
    :raises MessageError: If the image is broken or has another encoding.
    """
    disparity = read_float_image(message.image, topic)
    if disparity.ndim != 2:
        raise MessageError(f'{topic}: expected encoding 32FC1, got {message.image.encoding}')
    lowest = float(message.min_disparity)
    with np.errstate(invalid='ignore', over='ignore'):
        valid = np.isfinite(disparity) & (disparity > 0)
        if np.isfinite(lowest):
            valid &= disparity >= np.float32(lowest)
    return np.where(valid, disparity, np.float32(np.nan))
