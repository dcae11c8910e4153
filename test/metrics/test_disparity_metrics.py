# SPDX-License-Identifier: Apache-2.0
"""Disparity figures against hand counts."""
import math

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.disparity import best_constant_disparity, disparity_metrics
import numpy as np
import pytest


def image(*values):
    return np.array([values], np.float32)


def values_of(figures):
    return {name: metric.value for name, metric in figures.items()}


def test_figures_are_those_counted_by_hand():
    # errors: 0.5, 1.5, 2.5, 4 (of 100: under 5 %), 4 (of 20), missing, truth unknown
    disparity = image(10.5, 8.5, 12.5, 104, 24, np.nan, 7)
    truth = image(10, 10, 10, 100, 20, 30, np.nan)
    figures = disparity_metrics(disparity, truth)
    assert values_of(figures) == pytest.approx({
        'epe': (0.5 + 1.5 + 2.5 + 4 + 4 + 20) / 6, 'bad_1': 5 / 6, 'bad_2': 4 / 6,
        'bad_3': 3 / 6, 'd1': 2 / 6, 'coverage': 5 / 6})
    assert figures['epe'].unit == 'px' and figures['d1'].unit == '-'


def test_an_error_of_exactly_the_limit_is_not_bad():
    figures = values_of(disparity_metrics(image(11, 12, 13), image(10, 10, 10)))
    assert (figures['bad_1'], figures['bad_2'], figures['bad_3'], figures['d1']) == pytest.approx(
        (2 / 3, 1 / 3, 0, 0))


@pytest.mark.parametrize('missing', [np.nan, np.inf, -np.inf])
def test_a_missing_pixel_counts_as_20_px_and_bad_even_of_a_huge_truth(missing):
    figures = values_of(disparity_metrics(image(missing), image(1000)))
    assert figures == {'epe': 20, 'bad_1': 1, 'bad_2': 1, 'bad_3': 1, 'd1': 1, 'coverage': 0}


def test_without_a_true_pixel_every_figure_is_nan():
    figures = values_of(disparity_metrics(image(1), image(np.nan)))
    assert all(math.isnan(value) for value in figures.values())
    assert math.isnan(best_constant_disparity(image(np.nan)))


def test_no_other_constant_has_a_smaller_epe(rng):
    truth = rng.gamma(2, 10, (20, 30)).astype(np.float32)
    truth[:3] = np.nan
    best = best_constant_disparity(truth)
    epes = [disparity_metrics(np.full_like(truth, value), truth)['epe'].value
            for value in (best, *np.linspace(0, 80, 161))]
    assert epes[0] == min(epes)


def test_sizes_that_differ_are_refused():
    with pytest.raises(DatasetError, match=r'disparity is \(1, 1\) but its truth is \(1, 2\)'):
        disparity_metrics(image(1), image(1, 2))
