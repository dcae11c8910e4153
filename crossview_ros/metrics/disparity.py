# SPDX-License-Identifier: Apache-2.0
"""Errors of a disparity image against the true one."""
from crossview_ros.metrics import Metric
from crossview_ros.metrics.pixel_errors import disparity_errors
import numpy as np


def disparity_metrics(disparity: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
    """
    Compare a disparity image with the truth over all true pixels.

    :param disparity: (H, W) float32 [px]; not finite is missing and counts as 20 px and as bad.
    :param truth: (H, W) float32 [px]; not finite is unknown.
    :return: epe [px], bad_1, bad_2, bad_3 (share of errors above 1, 2, 3 px), d1 (share above
        3 px and above 5 % of the truth), coverage (share found). All NaN without a true pixel.
    :raises DatasetError: If the shapes differ.
    """
    errors = disparity_errors(disparity, truth)
    if not errors.found.size:
        return {name: Metric(float('nan'), unit) for name, unit in _UNITS.items()}
    figures = {
        'epe': errors.length.mean(),
        **{f'bad_{n}': ((errors.length > n) | ~errors.found).mean() for n in (1, 2, 3)},
        'd1': errors.outlier.mean(),
        'coverage': errors.found.mean(),
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
