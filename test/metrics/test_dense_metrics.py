# SPDX-License-Identifier: Apache-2.0
"""Standard figures of stereo and flow: golden vectors, a slow loop, hand counts."""
import math

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.dense import (
    batch_metrics, PER_BATCH, POOLED, pooled_metrics, pooled_sums)
from crossview_ros.metrics.pixel_errors import disparity_errors, flow_errors
import numpy as np
import pytest

GOLDEN = 'reference/golden/croco/losses_metrics.npz'
KITTI = {'D1-all', 'Fl-all', 'coverage'}   # not of the reference


@pytest.fixture
def golden(shared_dir):
    with np.load(shared_dir / GOLDEN, allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def errors_of(golden, task, truth='gt'):
    answer, truth = golden[f'{task}/pred'], golden[f'{task}/{truth}']
    if task == 'stereo':
        return [disparity_errors(a[0], t[0]) for a, t in zip(answer, truth)]
    return [flow_errors(a.transpose(1, 2, 0), t.transpose(1, 2, 0))
            for a, t in zip(answer, truth)]


def expected_of(golden, prefix):
    return {key.removeprefix(prefix): float(value) for key, value in golden.items()
            if key.startswith(prefix)}


def values_of(figures):
    return {name: metric.value for name, metric in figures.items()}


def pooled(task, images, **options):
    return values_of(pooled_metrics([pooled_sums(task, image) for image in images], **options))


@pytest.mark.parametrize('task', ['stereo', 'flow'])
def test_batch_figures_are_those_of_the_reference(golden, task):
    expected = expected_of(golden, f'{task}/batch_metric/')
    assert values_of(batch_metrics(task, errors_of(golden, task))) == pytest.approx(
        expected, rel=1e-5)
    assert set(expected) == set(PER_BATCH[task])


@pytest.mark.parametrize('task', ['stereo', 'flow'])
@pytest.mark.parametrize('truth, prefix', [('gt', 'dataset_metric/'),
                                           ('gt2x', 'dataset_metric_2x/')])
def test_pooled_figures_are_those_of_the_reference(golden, task, truth, prefix):
    expected = expected_of(golden, f'{task}/{prefix}')
    figures = pooled(task, errors_of(golden, task, truth), empty=0.0)
    assert {name: value for name, value in figures.items() if name not in KITTI} == \
        pytest.approx(expected, rel=1e-5)
    assert set(expected) == set(POOLED[task]) - KITTI


def test_pooling_counts_pixels_and_a_batch_counts_images():
    images = [disparity_errors(np.float32([[1, 1, 1]]), np.float32([[0, 0, 0]])),
              disparity_errors(np.float32([[5]]), np.float32([[0]]))]
    assert pooled('stereo', images)['L1err'] == (3 * 1 + 5) / 4
    figures = values_of(batch_metrics('stereo', images))
    assert figures['avgerr'] == (1 + 5) / 2 and figures['rmse'] == (1 + 5) / 2
    assert figures['bad@3.0'] == 50 and pooled('stereo', images)['bad@3.0'] == 25


def test_d1_and_fl_need_3_px_and_5_percent():
    # errors 4 of 100 (4 %), 4 of 70 (5.7 %), 3 of 10, missing of 1000
    disparity, truth = np.float32([[104, 74, 13, np.nan]]), np.float32([[100, 70, 10, 1000]])
    figures = pooled('stereo', [disparity_errors(disparity, truth)])
    assert figures['D1-all'] == 50 and figures['coverage'] == 75
    zero = np.zeros((1, 4), np.float32)
    figures = pooled('flow', [flow_errors(np.stack((disparity, zero), -1),
                                          np.stack((truth, zero), -1))])
    assert figures['Fl-all'] == 50


def test_a_missing_answer_counts_as_20_px_and_bad():
    figures = pooled('flow', [flow_errors(np.float32([[[np.nan, 0], [0, 0]]]),
                                          np.float32([[[3, 4], [3, 4]]]))])
    assert figures['EPE'] == (20 + 5) / 2 and figures['L1err'] == (20 + 7) / 2
    assert figures['bad@5.0'] == 50


def slowly(answer, truth):
    """Go through the cells of a truth of twice the size one by one: the oracle."""
    l1, length, speeds = [], [], []
    for i, row in enumerate(answer):
        for j, vector in enumerate(row):
            four = [truth[2 * i + a, 2 * j + b] for a in (0, 1) for b in (0, 1)]
            known = [t for t in four if np.isfinite(t).all()]
            if known:
                l1.append(min(abs(t - vector).sum() for t in known))
                length.append(min(math.hypot(*(t - vector)) for t in known))
                speeds.append(sum(math.hypot(*t) for t in four) / 4 if len(known) == 4
                              else math.inf)
    length, speeds = np.array(length), np.array(speeds)
    return {'L1err': np.mean(l1), 'EPE': length.mean(), 'bad@3.0': 100 * (length > 3).mean(),
            's0-10': length[speeds < 10].mean(),
            's10-40': length[(speeds >= 10) & (speeds < 40)].mean()}


def test_a_truth_of_twice_the_size_counts_its_nearest_pixel(rng):
    answer = rng.normal(0, 12, (5, 7, 2))
    truth = answer.repeat(2, 0).repeat(2, 1) + rng.normal(0, 4, (10, 14, 2))
    truth[rng.random((10, 14)) < 0.2] = np.nan
    truth[:2, :4] = np.inf
    figures = pooled('flow', [flow_errors(answer, truth)])
    expected = slowly(answer, truth)
    assert {name: figures[name] for name in expected} == pytest.approx(expected, rel=1e-9)


def test_without_a_true_pixel_nothing_is_zero():
    nothing = flow_errors(np.zeros((2, 2, 2)), np.full((2, 2, 2), np.inf))
    assert all(math.isnan(value) for value in pooled('flow', [nothing]).values())
    assert all(math.isnan(v) for v in values_of(batch_metrics('flow', [nothing])).values())
    some = flow_errors(np.zeros((2, 2, 2)), np.zeros((2, 2, 2)))
    figures = pooled('flow', [some, nothing])
    assert figures['EPE'] == 0 and math.isnan(figures['s40+'])


@pytest.mark.parametrize('task, name, unit', [
    ('stereo', 'L1err', 'px'), ('stereo', 'bad@2.0', '%'), ('stereo', 'D1-all', '%'),
    ('flow', 's10-40', 'px'), ('flow', 'EPE', 'px'), ('flow', 'Fl-all', '%')])
def test_every_figure_has_its_unit(task, name, unit):
    errors = disparity_errors(np.zeros((1, 1)), np.zeros((1, 1)))
    assert pooled_metrics([pooled_sums(task, errors)])[name].unit == unit


@pytest.mark.parametrize('shape, truth', [((4, 6), (4, 5)), ((4, 6), (12, 18)), ((2, 3), (5, 6)),
                                          ((4, 6), (4, 6, 1))])
def test_other_sizes_are_refused(shape, truth):
    with pytest.raises(DatasetError, match='disparity is .* but its truth is'):
        disparity_errors(np.zeros(shape), np.zeros(truth))
    with pytest.raises(DatasetError, match='both must be'):
        flow_errors(np.zeros((*shape, 2)), np.zeros((*truth, 2)))
