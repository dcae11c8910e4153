# SPDX-License-Identifier: Apache-2.0
"""Scale of a dense depth image of unsure scale, from points that measure it."""
from dataclasses import dataclass

import numpy as np

MIN_POINTS = 30
MAX_EXPONENT_CHANGE = 0.5   # far beyond what a network gets wrong; points on one wall say nothing
EXPONENT_SIGMA = 0.1        # of what is expected before the points are seen
NUM_INDEPENDENT = 100       # points beside each other err alike: all of them count as so many
_NUM_STEPS = 10
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class DepthScale:
    """True depth = factor * depth ** exponent, up to a doubt."""

    factor: float     # [m / m ** exponent]
    exponent: float   # 1: nothing but a scale; a shift of log depth grows with it
    sigma: float      # robust standard deviation of what is left, share of the depth

    def apply(self, depth: np.ndarray) -> np.ndarray:
        """Return the true depth of an image [m]; NaN and infinities stay."""
        depth = np.asarray(depth, np.float32)
        if abs(self.exponent - 1) < 1e-6:
            return np.float32(self.factor) * depth
        with np.errstate(invalid='ignore'):
            return np.float32(self.factor) * depth ** np.float32(self.exponent)


def fit_depth_scale(depth: np.ndarray, measured: np.ndarray) -> DepthScale | None:
    """
    Fit scale and shift in log depth, whatever a part of the points says.

    :param depth: (N,) [m] of the image at the points; what is not finite and positive is left
        out.
    :param measured: (N,) [m] of the points.
    :return: None where points are too few; a large sigma where the two have little in common.

    Source: iteratively reweighted least squares with Cauchy's loss, begun at the median ratio.
    """
    with np.errstate(invalid='ignore', divide='ignore'):
        x, y = np.log(np.asarray(depth, np.float64)), np.log(np.asarray(measured, np.float64))
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < MIN_POINTS:
        return None
    x, y = x[known], y[known]
    middle = np.median(x)
    x = x - middle
    shift, slope = np.median(y - x), 1.0
    for _ in range(_NUM_STEPS):
        residual = y - shift - slope * x
        sigma = max(_MAD_TO_SIGMA * np.median(np.abs(residual)), 1e-3)
        weight = 1 / (1 + (residual / (2 * sigma)) ** 2)
        shift, slope = _weighted_line(x, y, weight, sigma)
    sigma = max(_MAD_TO_SIGMA * float(np.median(np.abs(y - shift - slope * x))), 1e-3)
    return DepthScale(float(np.exp(shift - slope * middle)), float(slope), sigma)


def _weighted_line(x: np.ndarray, y: np.ndarray, weight: np.ndarray,
                   sigma: float) -> tuple[float, float]:
    """Return shift and slope, the slope drawn to 1 by what is expected."""
    mean_x, mean_y = np.average(x, weights=weight), np.average(y, weights=weight)
    belief = (sigma / EXPONENT_SIGMA) ** 2 * len(x) / NUM_INDEPENDENT
    moment = weight @ (x - mean_x) ** 2
    slope = (weight @ ((x - mean_x) * (y - mean_y)) + belief) / (moment + belief)
    slope = np.clip(slope, 1 - MAX_EXPONENT_CHANGE, 1 + MAX_EXPONENT_CHANGE)
    return mean_y - slope * mean_x, slope
