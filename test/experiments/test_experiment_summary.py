# SPDX-License-Identifier: Apache-2.0
"""Promises of the statistics of an experiment: spreads, paired leads, verdicts."""
import math

from crossview_ros.experiments.summary import (
    Figure, FIGURES, judge, paired_lead, Spread, spread, summarise, verdict)
from crossview_ros.experiments.tables import table
import pytest


def record(row, seed, value, fraction=1.0, task='flow', cell='cell', **more):
    return {'cell': cell, 'row': row, 'fraction': fraction, 'seed': seed, 'task': task,
            'figures': {'flow_epe_px': value, **more}}


def test_the_spread_is_the_standard_deviation_of_a_sample():
    mean, deviation, count = spread([1.0, 2.0, 6.0])
    # deviations -2, -1, 3: squares 14 over n - 1 = 2
    assert (mean, count) == (3.0, 3) and deviation == pytest.approx(math.sqrt(7))
    assert spread([4.0]) == Spread(4.0, None, 1)
    with pytest.raises(ValueError, match='needs a value'):
        spread([])


def test_a_lead_is_paired_by_seed_and_positive_for_what_is_better():
    better, than = {1: 1.0, 2: 11.0, 3: 5.0}, {2: 13.0, 1: 2.0, 4: 0.0}
    # seeds 1 and 2: 1 and 2 px less; what seeds have in common cancels
    assert paired_lead(better, than) == Spread(1.5, pytest.approx(math.sqrt(0.5)), 2)
    assert paired_lead(better, than, more_is_better=True).mean == -1.5
    assert paired_lead({1: 0.0}, {2: 0.0}) is None


@pytest.mark.parametrize('lead, better, than, expected', [
    ((2.0, 0.5), 1.0, 1.9, 'holds'),
    ((2.0, 0.5), 1.0, 2.1, 'within the spread'),     # of one row
    ((2.0, 2.5), 1.0, 1.0, 'within the spread'),     # of the differences
    ((-2.0, 0.5), 1.0, 1.0, 'the reverse'),
    ((2.0, None), None, None, 'one seed only')])
def test_a_claim_holds_beyond_all_three_spreads(lead, better, than, expected):
    sides = [Spread(5.0, deviation, 3) for deviation in (better, than)]
    assert verdict(Spread(*lead, 3), *sides) == expected


def test_a_summary_has_each_figure_in_its_unit():
    records = [record('a', seed, 4.0 + seed, task='multi', stereo_epe_px=1.0, stereo_bad_2=0.25)
               for seed in (1, 2)]
    records.append({**records[0], 'cell': None})   # a pre-training
    entries = {entry['figure']['key']: entry for entry in summarise(records)}
    assert set(entries) == {figure.key for figure in FIGURES['multi']}
    assert entries['stereo_bad_2']['mean'] == 25.0   # [%]
    assert entries['flow_epe_px']['mean'] == 5.5 and entries['flow_epe_px']['seeds'] == [1, 2]
    assert entries['flow_epe_px']['deviation'] == pytest.approx(math.sqrt(0.5))


def test_a_claim_is_judged_where_both_rows_are_known_and_in_its_cells_only():
    records = [record(row, seed, value + 0.1 * seed, fraction)
               for row, value in (('a', 1.0), ('b', 3.0)) for seed in (1, 2)
               for fraction in (0.1, 1.0)]
    records.append(record('a', 1, 0.0, 0.5))
    claim = {'better': 'a', 'than': 'b', 'cells': ['cell']}
    found = judge(claim, records)
    assert [lead['fraction'] for lead in found] == [0.1, 1.0]
    assert all(lead['mean'] == pytest.approx(2.0) and lead['verdict'] == 'holds'
               for lead in found)
    assert judge({**claim, 'better': 'b', 'than': 'a'}, records)[0]['verdict'] == 'the reverse'
    assert judge({**claim, 'cells': ['other']}, records) == []


def test_every_figure_is_one_that_its_task_measures():
    for task, figures in FIGURES.items():
        assert all(isinstance(figure, Figure) for figure in figures), task
    assert [figure.key for figure in FIGURES['depth'] if figure.more_is_better] == ['delta_1']


def test_a_table_is_aligned_markdown():
    assert table(['a', 'long'], [['xyz', '1']]) == \
        '| a   | long |\n|-----|------|\n| xyz | 1    |'
