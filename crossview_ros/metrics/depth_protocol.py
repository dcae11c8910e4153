# SPDX-License-Identifier: Apache-2.0
"""The figures of monocular depth as its tables report them (simipu.md 11)."""
from collections.abc import Iterable
from dataclasses import dataclass
import math
from typing import Literal

from crossview_ros.errors import DatasetError
from crossview_ros.metrics import Metric
import numpy as np

UNITS = {'d1': '-', 'd2': '-', 'd3': '-', 'abs_rel': '-', 'sq_rel': 'm', 'rmse': 'm',
         'rmse_log': '-', 'log10': '-', 'silog': '-', 'coverage': '-'}
# shares of height and width: rows from, to, columns from, to
SHARES = {'garg': (0.40810811, 0.99189189, 0.03594771, 0.96405229),
          'eigen': (0.3324324, 0.91351351, 0.03594771, 0.96405229)}
NYU_HW, NYU_PX = (480, 640), (45, 471, 41, 601)   # [px] within the white border


@dataclass(frozen=True)
class DepthProtocol:
    """Which pixels count."""

    crop: Literal['none', 'garg', 'eigen', 'nyu'] = 'none'
    min_depth: float = 1e-3   # [m]; truth must be above it
    max_depth: float = 80.0   # [m]; truth must be below it: KITTI 80, NYU 10

    def __post_init__(self):
        if not 0 <= self.min_depth < self.max_depth:
            raise ValueError(f'expected 0 <= min_depth < max_depth, got {self.min_depth} and '
                             f'{self.max_depth} m')


def evaluated_window(size_hw: tuple[int, int], crop: str) -> tuple[slice, slice]:
    """
    Return the rows and columns that count.

    :param crop: As in `DepthProtocol`; the shares of Garg and Eigen are of any size.
    :raises DatasetError: If 'nyu' meets images of another data set.

    Source: Garg et al., ECCV 2016; Eigen et al., NeurIPS 2014; edges are truncated.
    """
    if crop == 'none':
        return slice(None), slice(None)
    if crop == 'nyu':
        if tuple(size_hw) != NYU_HW:
            raise DatasetError(f'crop nyu is for images of {NYU_HW} px (h x w), got {size_hw}')
        top, bottom, left, right = NYU_PX
    else:
        sides = (size_hw[0], size_hw[0], size_hw[1], size_hw[1])
        top, bottom, left, right = (int(share * side)
                                    for share, side in zip(SHARES[crop], sides))
    return slice(top, bottom), slice(left, right)


def protocol_metrics(depth: np.ndarray, truth: np.ndarray,
                     protocol: DepthProtocol = DepthProtocol()) -> dict[str, Metric]:
    """
    Compare the depth of one image with its truth; no scale is fitted.

    A true pixel without a finite depth above 0 is missing: an error of 100 %, within no factor,
    and not in the logarithmic figures.

    :param depth: (H, W) [m].
    :param truth: (H, W) [m]; NaN or 0 unknown.
    :return: d1, d2, d3 (share within 1.25, 1.25^2, 1.25^3), abs_rel, sq_rel [m], rmse [m],
        rmse_log, log10, silog (times 100), coverage. All NaN without a true pixel.
    :raises DatasetError: If the shapes differ.
    """
    depth, truth = np.asarray(depth), np.asarray(truth)
    if depth.shape != truth.shape:
        raise DatasetError(f'depth is {depth.shape} but its truth is {truth.shape}')
    window = evaluated_window(truth.shape, protocol.crop)
    depth, truth = depth[window].astype(np.float64), truth[window].astype(np.float64)
    with np.errstate(invalid='ignore'):
        counted = (truth > protocol.min_depth) & (truth < protocol.max_depth)
        found = np.isfinite(depth) & (depth > 0)
    truth, found = truth[counted], found[counted]
    if not truth.size:
        return {name: Metric(math.nan, unit) for name, unit in UNITS.items()}
    depth = np.where(found, depth[counted], 0.0)
    figures = {**_linear(depth, truth, found), **_logarithmic(depth[found], truth[found]),
               'coverage': found.mean()}
    return {name: Metric(float(figures[name]), unit) for name, unit in UNITS.items()}


def image_means(images: Iterable[dict[str, Metric]]) -> dict[str, Metric]:
    """Average the figures of images, every image with truth counting the same."""
    images = list(images)
    return {name: Metric(_mean([image[name].value for image in images]), unit)
            for name, unit in UNITS.items()}


def _linear(depth: np.ndarray, truth: np.ndarray, found: np.ndarray) -> dict[str, float]:
    error = np.abs(truth - depth)
    with np.errstate(divide='ignore'):
        ratio = np.maximum(truth / depth, depth / truth)
    return {**{f'd{k}': (found & (ratio < 1.25 ** k)).mean() for k in (1, 2, 3)},
            'abs_rel': (error / truth).mean(), 'sq_rel': (error ** 2 / truth).mean(),
            'rmse': np.sqrt((error ** 2).mean())}


def _logarithmic(depth: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    if not depth.size:
        return dict.fromkeys(('rmse_log', 'log10', 'silog'), math.nan)
    error = np.log(depth) - np.log(truth)
    variance = (error ** 2).mean() - error.mean() ** 2   # below 0 by rounding only
    return {'rmse_log': np.sqrt((error ** 2).mean()),
            'log10': np.abs(error).mean() / math.log(10),
            'silog': 100 * np.sqrt(max(variance, 0.0))}


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
