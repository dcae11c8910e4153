# SPDX-License-Identifier: Apache-2.0
"""Errors of a depth image against the true one."""
from crossview_ros.errors import DatasetError
from crossview_ros.metrics import Metric
import numpy as np

_SMALLEST_DEPTH_M = 1e-3   # a finite depth of zero or less has no logarithm


def depth_metrics(depth: np.ndarray, truth: np.ndarray, min_depth: float = 0.1,
                  max_depth: float = 80.0) -> dict[str, Metric]:
    """
    Compare a depth image with the truth, over the true pixels in a range of distances.

    A true pixel without a finite depth is missing: it counts as an error of 100 % of its true
    depth (abs_rel, sq_rel, rmse) and is never within a delta. rmse_log is over the pixels found,
    as nothing has a logarithm; read it beside coverage.

    :param depth: (H, W) float32 [m]; NaN and infinities are missing.
    :param truth: (H, W) float32 [m]; only finite values within [min_depth, max_depth] count.
    :return: abs_rel, sq_rel [m], rmse [m], rmse_log, delta_1, delta_2, delta_3 (share within a
        factor 1.25, 1.25^2, 1.25^3), coverage (share found). All NaN without a true pixel.
    :raises DatasetError: If the shapes differ.

    Source: Eigen et al., Depth Map Prediction from a Single Image, NeurIPS 2014, section 4.2.
    """
    depth, truth = np.asarray(depth), np.asarray(truth)
    if depth.shape != truth.shape:
        raise DatasetError(f'depth is {depth.shape} but its truth is {truth.shape}')
    with np.errstate(invalid='ignore'):
        counted = (truth >= max(min_depth, _SMALLEST_DEPTH_M)) & (truth <= max_depth)
    if not counted.any():
        return {name: Metric(float('nan'), unit) for name, unit in _UNITS.items()}
    target = truth[counted].astype(np.float64)
    found = np.isfinite(depth[counted])
    value = np.where(found, depth[counted], 0.0).astype(np.float64)   # missing: 100 % error
    error = np.abs(value - target)
    value = np.maximum(value, _SMALLEST_DEPTH_M)
    log_error = np.log(value[found]) - np.log(target[found])
    ratio = np.maximum(value / target, target / value)
    figures = {
        'abs_rel': (error / target).mean(),
        'sq_rel': (error ** 2 / target).mean(),
        'rmse': np.sqrt((error ** 2).mean()),
        'rmse_log': np.sqrt((log_error ** 2).mean()) if found.any() else np.nan,
        **{f'delta_{n}': (found & (ratio < 1.25 ** n)).mean() for n in (1, 2, 3)},
        'coverage': found.mean(),
    }
    return {name: Metric(float(figure), _UNITS[name]) for name, figure in figures.items()}


_UNITS = {'abs_rel': '-', 'sq_rel': 'm', 'rmse': 'm', 'rmse_log': '-', 'delta_1': '-',
          'delta_2': '-', 'delta_3': '-', 'coverage': '-'}
