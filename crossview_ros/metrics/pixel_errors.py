# SPDX-License-Identifier: Apache-2.0
"""Errors of a disparity image or a flow field, pixel by pixel, where the truth is known."""
from dataclasses import dataclass

from crossview_ros.errors import DatasetError
import numpy as np

MISSING_PX = 20.0   # error that a true pixel without an answer counts as


@dataclass(frozen=True)
class PixelErrors:
    """
    The N pixels of one image with truth.

    Where the truth has twice the size, a pixel is compared with the nearest of its four.
    """

    l1: np.ndarray          # (N,) float64 [px], sum over the components of |error|
    length: np.ndarray      # (N,) float64 [px], Euclidean; equal to l1 for a disparity
    truth_px: np.ndarray    # (N,) float64 [px], |disparity| or length of the flow; mean of four
    found: np.ndarray       # (N,) bool; a missing answer counts as MISSING_PX
    whole: np.ndarray       # (N,) bool; False where some of the four are unknown

    @property
    def outlier(self) -> np.ndarray:
        """
        Tell which errors are above 3 px and above 5 % of the truth, or missing.

        Source: Menze and Geiger, Object Scene Flow for Autonomous Vehicles, CVPR 2015, 5.1.
        """
        return (self.length > 3) & (self.length > 0.05 * self.truth_px) | ~self.found


def disparity_errors(disparity: np.ndarray, truth: np.ndarray) -> PixelErrors:
    """
    Compare a disparity image with the truth.

    :param disparity: (H, W) float32 [px]; not finite is missing.
    :param truth: (H, W) or (2 H, 2 W) float32 [px], in pixels of the answer's grid; not finite
        is unknown.
    :raises DatasetError: If the shapes do not fit.
    """
    disparity, truth = np.asarray(disparity), np.asarray(truth)
    if truth.ndim != 2 or disparity.shape not in (truth.shape, _half(truth.shape)):
        raise DatasetError(f'disparity is {disparity.shape} but its truth is {truth.shape}')
    return _errors(disparity[..., None], truth[..., None])


def flow_errors(flow: np.ndarray, truth: np.ndarray) -> PixelErrors:
    """
    Compare a flow field with the truth.

    :param flow: (H, W, 2) float32 [px]; not finite is missing.
    :param truth: (H, W, 2) or (2 H, 2 W, 2) float32 [px], in pixels of the answer's grid; not
        finite is unknown.
    :raises DatasetError: If the shapes do not fit or are not of a flow.
    """
    flow, truth = np.asarray(flow), np.asarray(truth)
    if truth.ndim != 3 or truth.shape[2] != 2 \
            or flow.shape not in (truth.shape, _half(truth.shape)):
        raise DatasetError(f'flow is {flow.shape} and its truth {truth.shape}; both must be '
                           '(height, width, 2)')
    return _errors(flow, truth)


def _half(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return the size whose double the truth has (croco.md 6.3, Spring)."""
    if shape[0] % 2 or shape[1] % 2:
        return None
    return (shape[0] // 2, shape[1] // 2, *shape[2:])


def _errors(answer: np.ndarray, truth: np.ndarray) -> PixelErrors:
    """Compare (H, W, C) with (H, W, C) or (2 H, 2 W, C)."""
    rows, cols, channels = answer.shape
    step = truth.shape[0] // rows
    cells = truth.reshape(rows, step, cols, step, channels).swapaxes(1, 2)
    cells = cells.reshape(rows, cols, step * step, channels)
    known = np.isfinite(cells).all(axis=-1)   # (H, W, 1 or 4)
    valid = known.any(axis=-1)
    cells, known = cells[valid].astype(np.float64), known[valid]   # (N, 1 or 4, C)
    answer = answer[valid].astype(np.float64)
    found = np.isfinite(answer).all(axis=-1)
    target = np.where(known[..., None], cells, np.inf)   # never the nearest
    difference = target - np.where(found[:, None], answer, 0.0)[:, None]
    l1 = np.abs(difference).sum(axis=-1).min(axis=-1)
    length = np.linalg.norm(difference, axis=-1).min(axis=-1)
    truth_px = np.linalg.norm(np.where(known[..., None], cells, 0.0), axis=-1)
    return PixelErrors(np.where(found, l1, MISSING_PX), np.where(found, length, MISSING_PX),
                       truth_px.sum(axis=-1) / known.sum(axis=-1), found, known.all(axis=-1))
