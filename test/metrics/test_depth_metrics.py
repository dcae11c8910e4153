# SPDX-License-Identifier: Apache-2.0
"""Depth figures against hand counts and against a slow loop."""
import math

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.depth import depth_metrics
import numpy as np
import pytest

UNITS = {'abs_rel': '-', 'sq_rel': 'm', 'rmse': 'm', 'rmse_log': '-', 'delta_1': '-',
         'delta_2': '-', 'delta_3': '-', 'coverage': '-'}


def values_of(figures):
    return {name: metric.value for name, metric in figures.items()}


def image(*values):
    return np.array([values], np.float32)


def metrics_slowly(depth, truth, min_depth, max_depth):
    """Sum pixel by pixel: the oracle."""
    pairs = [(float(d), float(t)) for d, t in zip(depth.ravel(), truth.ravel())
             if min_depth <= t <= max_depth]
    sums = dict.fromkeys(UNITS, 0.0)
    found = 0
    for d, t in pairs:
        error = abs(d - t) if math.isfinite(d) else t
        sums['abs_rel'] += error / t
        sums['sq_rel'] += error ** 2 / t
        sums['rmse'] += error ** 2
        if math.isfinite(d):
            found += 1
            sums['rmse_log'] += math.log(d / t) ** 2
            for n in (1, 2, 3):
                sums[f'delta_{n}'] += max(d / t, t / d) < 1.25 ** n
    result = {name: total / len(pairs) for name, total in sums.items()}
    result['rmse'] = math.sqrt(result['rmse'])
    result['rmse_log'] = math.sqrt(sums['rmse_log'] / found)
    result['coverage'] = found / len(pairs)
    return result


def test_figures_equal_those_summed_pixel_by_pixel(rng):
    truth = rng.uniform(0.05, 100, (20, 30)).astype(np.float32)
    depth = (truth * rng.uniform(0.5, 2, truth.shape)).astype(np.float32)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    depth[rng.random(truth.shape) < 0.1] = np.nan
    depth[rng.random(truth.shape) < 0.05] = np.inf
    figures = values_of(depth_metrics(depth, truth, 0.5, 50))
    assert figures == pytest.approx(metrics_slowly(depth, truth, 0.5, 50), rel=1e-9)


def test_every_figure_has_its_unit():
    figures = depth_metrics(image(1), image(1))
    assert {name: metric.unit for name, metric in figures.items()} == UNITS


def test_the_truth_has_no_error():
    figures = values_of(depth_metrics(image(1, 2, np.nan), image(1, 2, np.nan)))
    assert figures == {'abs_rel': 0, 'sq_rel': 0, 'rmse': 0, 'rmse_log': 0, 'delta_1': 1,
                       'delta_2': 1, 'delta_3': 1, 'coverage': 1}


@pytest.mark.parametrize('missing', [np.nan, np.inf, -np.inf])
def test_a_missing_pixel_counts_as_an_error_of_100_percent(missing):
    figures = values_of(depth_metrics(image(4, missing), image(4, 10)))
    assert figures['abs_rel'] == 0.5 and figures['coverage'] == 0.5
    assert figures['rmse'] == pytest.approx(math.sqrt(50)) and figures['delta_3'] == 0.5
    assert figures['rmse_log'] == 0


def test_truth_out_of_range_does_not_count():
    figures = values_of(depth_metrics(image(1, 1, 1, 1), image(1, 0.05, 100, np.inf)))
    assert figures['abs_rel'] == 0 and figures['coverage'] == 1


def test_a_depth_of_zero_or_less_is_an_error_but_no_crash():
    figures = values_of(depth_metrics(image(0, -2), image(4, 4)))
    assert figures['abs_rel'] == pytest.approx(1.25) and figures['delta_3'] == 0
    assert math.isfinite(figures['rmse_log'])


@pytest.mark.parametrize('truth', [image(np.nan, np.nan), image(100, 0)])
def test_without_a_true_pixel_every_figure_is_nan(truth):
    assert all(math.isnan(v) for v in values_of(depth_metrics(image(1, 2), truth)).values())


def test_sizes_that_differ_are_refused():
    with pytest.raises(DatasetError, match=r'depth is \(1, 2\) but its truth is \(1, 3\)'):
        depth_metrics(image(1, 2), image(1, 2, 3))
