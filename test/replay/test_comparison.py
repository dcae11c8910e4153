# SPDX-License-Identifier: Apache-2.0
"""Two reports compared: paired by stamp, beyond chance or not, as table, JSON and page."""
import json

from crossview_ros.cli.main import main
from crossview_ros.errors import DatasetError
from crossview_ros.replay.comparison import BETTER, CHANCE, compare, DIFFERENT, UNKNOWN, WORSE
import numpy as np
import pytest


def report(columns, first_stamp=0, metrics=None):
    """Return a metrics.json with figures per frame."""
    count = len(next(iter(columns.values())))
    rows = [{'index': k, 'stamp_ns': first_stamp + 10 * k, 'latency_ms': 5.0,
             'figures': {name: values[k] for name, values in columns.items()}}
            for k in range(count)]
    return {'title': 'a <run>', 'per_frame': rows, 'metrics': metrics or {}}


def verdicts(first, second):
    return {entry.name: entry.verdict for entry in compare(first, second).differences}


def test_a_difference_beyond_chance_is_named_in_the_direction_of_its_figure(rng):
    noise = rng.normal(0, 0.01, 40)
    error = rng.random(40)
    first = report({'depth.abs_rel': error, 'depth.coverage': error, 'depth.median': error,
                    'flow.epe': error})
    second = report({'depth.abs_rel': error + 0.1 + noise, 'depth.coverage': error + 0.1 + noise,
                     'depth.median': error + 0.1 + noise, 'flow.epe': error + noise})
    assert verdicts(first, second) == {'depth.abs_rel': WORSE, 'depth.coverage': BETTER,
                                       'depth.median': DIFFERENT, 'flow.epe': CHANCE,
                                       'latency_ms': CHANCE}
    assert verdicts(second, first)['depth.abs_rel'] == BETTER


def test_frames_are_paired_by_stamp_and_missing_ones_left_out():
    first = report({'flow.epe': [1.0, 2.0, None, 4.0, 5.0, 6.0]})
    second = report({'flow.epe': [2.5, 3.5, 4.5, 5.5, 6.5, 7.5]}, first_stamp=10)
    result = compare(first, second)
    assert result.num_common == 5 and result.num_frames == (6, 6)
    entry = next(entry for entry in result.differences if entry.name == 'flow.epe')
    assert entry.num_frames == 4   # stamps 10, 30, 40, 50
    assert (entry.first, entry.second) == pytest.approx((17 / 4, (2.5 + 4.5 + 5.5 + 6.5) / 4))
    assert entry.interval.mean == pytest.approx(entry.second - entry.first)


def test_figures_of_the_run_have_no_interval():
    drift = {'odometry.drift_percent': {'value': 1.0, 'unit': '%'},
             'flow.epe': {'value': None, 'unit': 'px'}}
    later = {**drift, 'odometry.drift_percent': {'value': 3.0, 'unit': '%'}}
    entries = {entry.name: entry for entry in compare(
        report({'x': [1.0] * 9}, metrics=drift), report({'x': [1.0] * 9}, metrics=later)
    ).differences}
    entry = entries['odometry.drift_percent']
    assert (entry.interval.mean, entry.verdict, entry.num_frames) == (2.0, UNKNOWN, 0)
    assert np.isnan(entry.interval.low) and 'flow.epe' not in entries


def test_reports_of_other_bags_cannot_be_compared():
    with pytest.raises(DatasetError, match='no frame in common'):
        compare(report({'x': [1.0]}), report({'x': [1.0]}, first_stamp=5))


def test_the_verb_prints_and_writes_table_json_and_page(tmp_path, capsys):
    for name, offset in (('a', 0.0), ('b', 1.0)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'metrics.json').write_text(json.dumps(report(
            {'flow.epe': [1.0 + offset + k / 100 * offset for k in range(10)]},
            metrics={'flow.epe': {'value': 1.0 + offset, 'unit': 'px'}})))
    out = tmp_path / 'out'
    arguments = ['compare', str(tmp_path / 'a'), str(tmp_path / 'b'), '--out', str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert 'B is worse in flow error' in printed and '10 frames in common' in printed
    page = (out / 'compare.html').read_text()
    assert 'a &lt;run&gt;' in page and '<run>' not in page and 'tr class="loss"' in page
    assert main([*arguments, '--json']) == 0
    stored = json.loads(capsys.readouterr().out)
    assert stored == {**json.loads((out / 'compare.json').read_text()),
                      'command': stored['command']}
    entry = next(entry for entry in stored['differences'] if entry['name'] == 'flow.epe')
    assert entry['verdict'] == WORSE and entry['interval']['low'] > 0.9


def test_what_is_no_report_is_told(tmp_path, capsys):
    (tmp_path / 'metrics.json').write_text('[]')
    assert main(['compare', str(tmp_path), str(tmp_path)]) == 1
    assert 'is no metrics.json of a report' in capsys.readouterr().err
