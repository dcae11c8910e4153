# SPDX-License-Identifier: Apache-2.0
"""From the stereo head's disparity to metric depth, with limits, invalid pixels, confidence."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.stereo import apply_depth_limits, disparity_to_depth
from crossview_ros.runtime.confidence import laplace_confidence
from crossview_ros.runtime.options import PerceptionOptions
import numpy as np

FAR_SHIFT_PX = 1e-3     # stands for "infinitely far", where the disparity gives no more
FAR_TOLERANCE_PX = 1.0  # a match that lies this far behind infinity still means "far"


@dataclass(frozen=True)
class DepthResult:
    """Dense depth of the left image; each (H, W) float32."""

    depth: np.ndarray               # [m]; NaN invalid, +Inf beyond the range, -Inf too near
    disparity: np.ndarray           # [px] x_left - x_right; NaN invalid
    confidence: np.ndarray | None   # [0, 1], not masked; None if the head gives no doubt


def align_right(right: np.ndarray, rig: StereoRig) -> tuple[np.ndarray, int]:
    """
    Move the right image as if both principal points were in the same column.

    Heads look for matches at disparity >= 0. With doffs > 0 (converging columns) far points lie
    at negative disparity; moved by doffs they do not.

    :param right: (H, W, 3) uint8.
    :return: The image moved left by n px (the border repeated; the image itself for n = 0), and
        n, the whole part of doffs: x_left - x_right = disparity in the moved pair - n.
    """
    shift = int(np.clip(round(rig.doffs), 1 - right.shape[1], right.shape[1] - 1))
    if shift == 0:
        return right, 0
    columns = np.clip(np.arange(right.shape[1]) + shift, 0, right.shape[1] - 1)
    return right[:, columns], shift


def views_to_match(left: np.ndarray, right: np.ndarray | None,
                   rig: StereoRig | PinholeCamera) -> tuple[list[np.ndarray], int]:
    """Return the images, the right one as `align_right` moves it, and by how many pixels."""
    if right is None:
        return [left], 0
    right, shift_px = align_right(right, rig)
    return [left, right], shift_px


def stereo_depth(disparity: np.ndarray, log_scale: np.ndarray | None, rig: StereoRig,
                 options: PerceptionOptions) -> DepthResult:
    """
    Turn the prediction of a stereo head into depth.

    Zero of disparity + doffs is infinity. Predictions that miss it by no more than 1 px or their
    own Laplace scale b, whichever is more, are far away (+Inf, if that is beyond ``max_depth``);
    those that miss it by more match nothing (NaN).

    :param disparity: (H, W) float32 [px] at the input's resolution, x_left - x_right.
    :param log_scale: (H, W) float32, log b [log px] at the same resolution, or None.
    :param options: Depth limits [m] and the confidence below which depth and disparity are NaN.
    """
    doffs = np.float32(rig.doffs)
    shift = disparity + doffs
    confidence = None if log_scale is None else laplace_confidence(log_scale)
    found = np.isfinite(shift) & (shift >= -_far_tolerance(log_scale))
    shift = np.where(found, np.maximum(shift, np.float32(FAR_SHIFT_PX)), np.float32(np.nan))
    if confidence is not None and options.min_confidence > 0:
        shift[confidence < options.min_confidence] = np.nan
    disparity = shift - doffs
    depth = apply_depth_limits(disparity_to_depth(disparity, rig), options.min_depth,
                               options.max_depth)
    return DepthResult(depth, disparity, confidence)


def _far_tolerance(log_scale: np.ndarray | None) -> np.ndarray | float:
    if log_scale is None:
        return FAR_TOLERANCE_PX
    with np.errstate(over='ignore'):
        return np.fmax(np.exp(log_scale), FAR_TOLERANCE_PX)
