# SPDX-License-Identifier: Apache-2.0
"""Errors of optical flow against the true one."""
from crossview_ros.errors import DatasetError
from crossview_ros.metrics import Metric
import numpy as np

MISSING_PX = 20.0   # error that a true pixel without a flow counts as


def flow_metrics(flow: np.ndarray, truth: np.ndarray) -> dict[str, Metric]:
    """
    Compare a flow field with the truth over all true pixels.

    :param flow: (H, W, 2) float32 [px]; not finite is missing and counts as 20 px and outlier.
    :param truth: (H, W, 2) float32 [px]; not finite is unknown.
    :return: epe [px], fl_all (share above 3 px and above 5 % of the true length), coverage
        (share found), zero_flow_epe [px] (what no motion would get). All NaN without a true
        pixel.
    :raises DatasetError: If the shapes differ or are not (H, W, 2).

    Source: fl_all: Menze and Geiger, Object Scene Flow for Autonomous Vehicles, CVPR 2015, 5.1.
    """
    flow, truth = np.asarray(flow), np.asarray(truth)
    if flow.shape != truth.shape or truth.ndim != 3 or truth.shape[2] != 2:
        raise DatasetError(f'flow is {flow.shape} and its truth {truth.shape}; both must be '
                           '(height, width, 2)')
    known = np.isfinite(truth).all(axis=2)
    if not known.any():
        return {name: Metric(float('nan'), unit) for name, unit in _UNITS.items()}
    target = truth[known].astype(np.float64)   # (N, 2)
    found = np.isfinite(flow[known]).all(axis=1)
    error = np.linalg.norm(np.where(found[:, None], flow[known], 0.0) - target, axis=1)
    error = np.where(found, error, MISSING_PX)
    length = np.linalg.norm(target, axis=1)
    outlier = (error > 3) & (error > 0.05 * length)
    figures = {'epe': error.mean(), 'fl_all': (outlier | ~found).mean(),
               'coverage': found.mean(), 'zero_flow_epe': length.mean()}
    return {name: Metric(float(figure), _UNITS[name]) for name, figure in figures.items()}


_UNITS = {'epe': 'px', 'fl_all': '-', 'coverage': '-', 'zero_flow_epe': 'px'}
