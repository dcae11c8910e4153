# SPDX-License-Identifier: Apache-2.0
"""Errors of optical flow against the true one."""
from crossview_ros.metrics import Metric
from crossview_ros.metrics.pixel_errors import flow_errors
import numpy as np


def flow_metrics(flow: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
    """
    Compare a flow field with the truth over all true pixels.

    :param flow: (H, W, 2) float32 [px]; not finite is missing and counts as 20 px and outlier.
    :param truth: (H, W, 2) float32 [px]; not finite is unknown.
    :return: epe [px], fl_all (share above 3 px and above 5 % of the true length), coverage
        (share found), zero_flow_epe [px] (what no motion would get). All NaN without a true
        pixel.
    :raises DatasetError: If the shapes differ or are not (H, W, 2).
    """
    errors = flow_errors(flow, truth)
    if not errors.found.size:
        return {name: Metric(float('nan'), unit) for name, unit in _UNITS.items()}
    figures = {'epe': errors.length.mean(), 'fl_all': errors.outlier.mean(),
               'coverage': errors.found.mean(), 'zero_flow_epe': errors.truth_px.mean()}
    return {name: Metric(float(figure), _UNITS[name]) for name, figure in figures.items()}


_UNITS = {'epe': 'px', 'fl_all': '-', 'coverage': '-', 'zero_flow_epe': 'px'}
