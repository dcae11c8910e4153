# SPDX-License-Identifier: Apache-2.0
"""Compare one flow field with the truth and with the images; every figure has a unit."""
from crossview_ros.metrics import Metric
from crossview_ros.metrics.flow import flow_metrics
from crossview_ros.replay.scores import Truth
from crossview_ros.replay.truth import flow_photometric_error
import numpy as np


def score_flow(flow: np.ndarray, confidence: np.ndarray | None, previous: np.ndarray,
               current: np.ndarray, truth: Truth) -> dict[str, Metric]:
    """
    Return every figure that one flow field allows.

    :param flow: (H, W, 2) float32 [px] on the grid of the previous image; NaN is missing.
    :param confidence: (H, W) float32 in [0, 1], or None.
    :param previous: (H, W, 3) uint8.
    :param current: (H, W, 3) uint8.
    """
    found = np.isfinite(flow).all(axis=2)
    figures = {'flow.valid_share': Metric(float(found.mean()), '-')}
    if found.any():
        length = np.linalg.norm(flow[found], axis=1)
        figures['flow.median'] = Metric(float(np.median(length)), 'px')
    if confidence is not None and np.isfinite(confidence).any():
        figures['flow.confidence'] = Metric(float(np.nanmean(confidence)), '-')
    if truth.flow is not None:
        figures.update(_against_truth(flow, truth))
    moved, unmoved = flow_photometric_error(previous, current, flow)
    figures['flow.photo'] = Metric(moved, 'grey levels')
    figures['flow.photo_unmoved'] = Metric(unmoved, 'grey levels')
    return figures


def _against_truth(flow: np.ndarray, truth: Truth) -> dict[str, Metric]:
    scores = flow_metrics(flow, truth.flow)
    figures = {f'flow.{name}': scores[name] for name in ('epe', 'fl_all', 'coverage')}
    figures['flow.epe_zero'] = scores['zero_flow_epe']
    if truth.flow_hidden is not None:
        visible = np.where(truth.flow_hidden[..., None], np.float32(np.nan), truth.flow)
        figures['flow.epe_visible'] = flow_metrics(flow, visible)['epe']
    return figures
