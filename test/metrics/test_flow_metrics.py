# SPDX-License-Identifier: Apache-2.0
"""Flow figures against hand counts."""
import math

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.flow import flow_metrics
import numpy as np
import pytest


def field(*vectors):
    return np.array([vectors], np.float32)


def test_figures_are_those_counted_by_hand():
    # errors: 0, 5 of 3 px, 4 of 100 px (under 5 %), missing, half missing, truth unknown
    flow = field((3, 4), (6, 4), (104, 0), (np.nan, np.nan), (1, np.nan), (0, 0))
    truth = field((3, 4), (3, 0), (100, 0), (0, 12), (0, 0), (np.nan, 1))
    figures = flow_metrics(flow, truth)
    assert {name: metric.value for name, metric in figures.items()} == pytest.approx({
        'epe': (0 + 5 + 4 + 20 + 20) / 5, 'fl_all': 3 / 5, 'coverage': 3 / 5,
        'zero_flow_epe': (5 + 3 + 100 + 12 + 0) / 5})
    assert [metric.unit for metric in figures.values()] == ['px', '-', '-', 'px']


def test_zero_flow_has_the_epe_of_zero_flow(rng):
    truth = rng.normal(size=(6, 8, 2)).astype(np.float32)
    truth[0] = np.nan
    figures = flow_metrics(np.zeros_like(truth), truth)
    assert figures['epe'] == figures['zero_flow_epe']


def test_without_a_true_pixel_every_figure_is_nan():
    figures = flow_metrics(field((1, 1)), field((np.nan, np.nan)))
    assert all(math.isnan(metric.value) for metric in figures.values())


def test_other_shapes_are_refused():
    with pytest.raises(DatasetError, match=r'flow is \(1, 2, 2\) and its truth \(1, 1, 2\)'):
        flow_metrics(field((1, 1), (1, 1)), field((1, 1)))
    with pytest.raises(DatasetError, match='both must be'):
        flow_metrics(np.zeros((4, 4)), np.zeros((4, 4)))
