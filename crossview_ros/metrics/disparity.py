# SPDX-License-Identifier: Apache-2.0
"""Errors of a disparity image against the true one."""
from crossview_ros.errors import DatasetError
from crossview_ros.metrics import Metric
import numpy as np

MISSING_PX = 20.0   # error that a true pixel without a disparity counts as


def disparity_metrics(disparity: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
    """
    Compare a disparity image with the truth over all true pixels.

    :param disparity: (H, W) float32 [px]; not finite is missing and counts as 20 px and as bad.
    :param truth: (H, W) float32 [px]; not finite is unknown.
    :return: epe [px], bad_1, bad_2, bad_3 (share of errors above 1, 2, 3 px), d1 (share above
        3 px and above 5 % of the truth), coverage (share found). All NaN without a true pixel.
    :raises DatasetError: If the shapes differ.

    Source: d1: Menze and Geiger, Object Scene Flow for Autonomous Vehicles, CVPR 2015, 5.1.
    """
    disparity, truth = np.asarray(disparity), np.asarray(truth)
    if disparity.shape != truth.shape:
        raise DatasetError(f'disparity is {disparity.shape} but its truth is {truth.shape}')
    known = np.isfinite(truth)
    if not known.any():
        return {name: Metric(float('nan'), unit) for name, unit in _UNITS.items()}
    target = truth[known].astype(np.float64)
    found = np.isfinite(disparity[known])
    error = np.abs(np.where(found, disparity[known], 0.0) - target)
    error = np.where(found, error, MISSING_PX)
    outlier = (error > 3) & (error > 0.05 * np.abs(target))
    figures = {
        'epe': error.mean(),
        **{f'bad_{n}': ((error > n) | ~found).mean() for n in (1, 2, 3)},
        'd1': (outlier | ~found).mean(),
        'coverage': found.mean(),
    }
    return {name: Metric(float(figure), _UNITS[name]) for name, figure in figures.items()}


def best_constant_disparity(truth: np.ndarray) -> float:
    """
    Return the disparity [px] that, given to every pixel, has the least epe: the median.

    :param truth: (H, W) float32 [px]; not finite is unknown.
    :return: NaN without a true pixel.
    """
    known = np.asarray(truth)[np.isfinite(truth)]
    return float(np.median(known)) if known.size else float('nan')


_UNITS = {'epe': 'px', 'bad_1': '-', 'bad_2': '-', 'bad_3': '-', 'd1': '-', 'coverage': '-'}
