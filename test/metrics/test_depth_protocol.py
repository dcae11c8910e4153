# SPDX-License-Identifier: Apache-2.0
"""The figures of monocular depth are those of the reference, of a slow loop, of hand counts."""
import math

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.depth_protocol import (
    DepthProtocol, evaluated_window, image_means, protocol_metrics, UNITS)
import numpy as np
import pytest
import simipu_golden as golden

OFFICIAL = {'a1': 'd1', 'a2': 'd2', 'a3': 'd3', 'log_10': 'log10'}   # its names -> ours


def values_of(figures):
    return {name: metric.value for name, metric in figures.items()}


def expected(data, key):
    return {OFFICIAL.get(str(name), str(name)): value
            for name, value in zip(data['metric_names'], data[key])}


def shown(figures):
    """Return the figures that the reference has."""
    return {name: value for name, value in values_of(figures).items() if name != 'coverage'}


@pytest.mark.parametrize('key, suffix, greatest', [
    ('metrics_kitti', '', 80.0), ('metrics_kitti64', '', 80.0), ('metrics_nyu', '_nyu', 10.0)])
def test_figures_are_those_of_the_reference(shared_dir, key, suffix, greatest):
    data = golden.load(shared_dir, 'f_sigloss_metrics')
    # the pixels of both images, as one
    depth, truth = (data[name + suffix].reshape(-1, 40) for name in ('pred', 'gt'))
    figures = protocol_metrics(depth, truth, DepthProtocol(max_depth=greatest))
    assert shown(figures) == pytest.approx(expected(data, key), abs=1e-4)
    assert figures['coverage'].value == 1


def test_means_over_images_leave_those_without_truth_out(shared_dir):
    data = golden.load(shared_dir, 'f_sigloss_metrics')
    depths, truths = (list(data[name][:, 0]) for name in ('pred', 'gt'))
    images = [protocol_metrics(depth, truth) for depth, truth in
              zip([*depths, depths[0]], [*truths, 0 * truths[0]])]
    assert all(math.isnan(value) for value in values_of(images[2]).values())
    assert shown(image_means(images)) == pytest.approx(
        expected(data, 'metrics_dataset_mean_with_empty'), abs=1e-4)


@pytest.mark.parametrize('crop', ['garg', 'eigen'])
def test_masks_on_the_kitti_window_are_those_of_the_reference(shared_dir, crop):
    data = golden.load(shared_dir, 'f2_kitti_eval_crop')
    top, left = data['kb_top_left']
    truth = data['gt_u16_div256'][top:top + 352, left:left + 1216] / 256
    depth = data['pred_u16_div256'] / 256
    figures = protocol_metrics(depth, truth, DepthProtocol(crop))
    assert shown(figures) == pytest.approx(expected(data, f'metrics_{crop}'), abs=1e-4)
    kept = truth[evaluated_window(truth.shape, crop)]
    assert ((kept > 1e-3) & (kept < 80)).sum() == data[f'nvalid_{crop}']


def test_windows_are_those_of_the_specification():
    # simipu.md 11
    rows, cols = evaluated_window((352, 1216), 'garg')
    assert (rows.start, rows.stop, cols.start, cols.stop) == (143, 349, 43, 1172)
    rows, cols = evaluated_window((352, 1216), 'eigen')
    assert (rows.start, rows.stop, cols.start, cols.stop) == (117, 321, 43, 1172)
    rows, cols = evaluated_window((480, 640), 'nyu')
    assert (rows.start, rows.stop, cols.start, cols.stop) == (45, 471, 41, 601)
    with pytest.raises(DatasetError, match='crop nyu is for images of'):
        evaluated_window((352, 1216), 'nyu')


def slow_figures(depth, truth, low, high):
    """Go through the pixels one by one: simipu.md 11 as it stands."""
    pairs = [(p, g) for p, g in zip(depth.ravel().tolist(), truth.ravel().tolist())
             if low < g < high]
    n = len(pairs)
    e = [math.log(p) - math.log(g) for p, g in pairs]
    mean, square = sum(e) / n, sum(x * x for x in e) / n
    return {
        **{f'd{k}': sum(max(g / p, p / g) < 1.25 ** k for p, g in pairs) / n for k in (1, 2, 3)},
        'abs_rel': sum(abs(g - p) / g for p, g in pairs) / n,
        'sq_rel': sum((g - p) ** 2 / g for p, g in pairs) / n,
        'rmse': math.sqrt(sum((g - p) ** 2 for p, g in pairs) / n),
        'rmse_log': math.sqrt(square), 'silog': 100 * math.sqrt(square - mean ** 2),
        'log10': sum(abs(math.log10(g) - math.log10(p)) for p, g in pairs) / n, 'coverage': 1.0}


def test_figures_equal_those_summed_pixel_by_pixel(rng):
    truth = rng.uniform(0.5, 20, (12, 15))
    depth = truth * rng.uniform(0.5, 2, truth.shape)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    figures = protocol_metrics(depth, truth, DepthProtocol(min_depth=1, max_depth=15))
    assert values_of(figures) == pytest.approx(slow_figures(depth, truth, 1, 15), rel=1e-9)
    assert {name: metric.unit for name, metric in figures.items()} == UNITS


def test_truth_at_the_bounds_does_not_count():
    truth = np.array([[1.0, 2.0, 5.0, 10.0]])
    figures = values_of(protocol_metrics(2 * truth, truth, DepthProtocol(min_depth=1,
                                                                         max_depth=10)))
    assert figures['rmse'] == pytest.approx(math.sqrt((2 ** 2 + 5 ** 2) / 2))


def test_a_missing_depth_is_an_error_of_its_whole_truth():
    truth = np.full((1, 4), 4.0)
    for missing in (math.nan, math.inf, 0.0, -1.0):
        figures = values_of(protocol_metrics(np.array([[4, 4, 4, missing]]), truth))
        assert figures == pytest.approx({
            'd1': 0.75, 'd2': 0.75, 'd3': 0.75, 'abs_rel': 0.25, 'sq_rel': 1.0, 'rmse': 2.0,
            'rmse_log': 0.0, 'log10': 0.0, 'silog': 0.0, 'coverage': 0.75})
    nothing = values_of(protocol_metrics(np.full((1, 4), math.nan), truth))
    assert nothing['abs_rel'] == 1 and math.isnan(nothing['silog'])


def test_a_wrong_scale_alone_has_no_scale_invariant_error():
    truth = np.array([[1.0, 2.0, 5.0, 10.0]])
    figures = values_of(protocol_metrics(1.5 * truth, truth))
    assert figures['silog'] == pytest.approx(0, abs=1e-5)
    assert figures['rmse_log'] == pytest.approx(math.log(1.5))


def test_what_makes_no_sense_is_refused():
    with pytest.raises(DatasetError, match='depth is .* but its truth is'):
        protocol_metrics(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(ValueError, match='min_depth < max_depth'):
        DepthProtocol(min_depth=10, max_depth=10)
