# SPDX-License-Identifier: Apache-2.0
"""Promises of --against: what of a table comes out again, and what cannot be compared."""
from dataclasses import replace
import json
from pathlib import Path

from crossview_ros.config import load_config
from crossview_ros.errors import ConfigError
from crossview_ros.experiments.plan import ExperimentConfig, legs_of
from crossview_ros.experiments.reproduction import (
    read_results, reproduction, settings_digests)
from crossview_ros.experiments.tables import section
import pytest

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'experiments' / 'pretraining_cpu.yaml'
CLAIM = {'text': 'a helps', 'better': 'a', 'than': 'b', 'cells': ['cell'], 'if_not': ''}


def record(row, seed, value, settings='same'):
    return {'name': f'cell/100_percent/{row}_{seed}', 'cell': 'cell', 'row': row, 'fraction': 1.0,
            'seed': seed, 'task': 'flow', 'figures': {'flow_epe_px': value}, 'settings': settings}


def rows(shift_a=0.0, shift_b=0.0):
    # each row has a standard deviation of 0.1
    return [record(row, seed, value + 0.1 * seed)
            for row, value in (('a', 1.0 + shift_a), ('b', 3.0 + shift_b)) for seed in (1, 2, 3)]


def test_a_mean_comes_out_again_within_the_spread_and_not_beyond():
    again = reproduction([CLAIM], rows(0.09, -0.11), rows())
    assert again['num_runs'] == 6 and again['num_others'] == 0
    assert [entry['within'] for entry in again['figures']] == [True, False]
    near = again['figures'][0]
    assert near['row'] == 'a' and near['now'] - near['earlier'] == pytest.approx(0.09)
    assert near['spread'] == pytest.approx(0.1)
    assert [(verdict['earlier'], verdict['now']) for verdict in again['verdicts']] == [
        ('holds', 'holds')]


def test_a_verdict_that_turns_is_told():
    again = reproduction([CLAIM], rows(shift_a=4.0), rows())
    assert [(verdict['earlier'], verdict['now']) for verdict in again['verdicts']] == [
        ('holds', 'the reverse')]


def test_one_seed_has_no_spread_and_only_the_same_value_comes_out_again():
    one = [record('a', 1, 1.0)]
    for value, within in ((1.0, True), (1.001, False)):
        entry, = reproduction([], [record('a', 1, value)], one)['figures']
        assert entry['within'] is within and entry['spread'] is None


def test_only_runs_of_the_same_name_and_settings_are_compared():
    now = rows()
    now[0]['settings'] = 'other'
    again = reproduction([CLAIM], now, [*rows()[:3], record('c', 1, 0.0)])
    assert again['num_runs'] == 2 and again['num_others'] == 4   # a_2 and a_3 are left
    older = [{key: value for key, value in entry.items() if key != 'settings'} for entry in rows()]
    assert reproduction([CLAIM], rows(), older)['num_runs'] == 0


def test_a_digest_follows_what_changes_figures_and_nothing_else():
    legs = legs_of(load_config(ExperimentConfig, CONFIG))
    digests = settings_digests(legs)
    assert len(digests) == len(set(digests.values())) == len(legs)

    def changed(name, **changes):
        others = settings_digests([
            replace(leg, config=replace(leg.config, **changes)) if leg.name == name else leg
            for leg in legs])
        return {leg for leg in digests if digests[leg] != others[leg]}
    name = 'depth/100_percent/scratch_1'
    config = next(leg.config for leg in legs if leg.name == name)
    assert changed(name, optimizer=replace(config.optimizer, lr=2e-3)) == {name}
    assert changed(name, engine=replace(config.engine, batches_ahead=4), log_every=7) == set()
    # what starts from a run depends on its settings
    after = changed('pretrain/simipu', batch_size=4)
    assert after == {'pretrain/simipu', *(leg.name for leg in legs if leg.row == 'simipu')}


@pytest.mark.parametrize('text, culprit', [
    (None, 'No such file'), ('{', 'JSONDecodeError'), ('[]', 'TypeError'),
    ('{"name": "table"}', "'legs'"), ('{"name": "table", "legs": [{}]}', "'name'"),
    ('{"name": "other", "legs": []}', "'other', not of 'table'")])
def test_what_is_not_the_results_of_this_experiment_is_refused(tmp_path, text, culprit):
    path = tmp_path / 'results.json'
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=culprit) as caught:
        read_results(path, 'table')
    assert str(path) in str(caught.value)


def test_the_page_tells_each_mean_and_the_verdicts_that_differ():
    results = {'title': 'Title', 'about': '', 'command': 'do', 'jobs': 1, 'num_legs': 0,
               'rows': {'a': 'row a', 'b': 'row b'}, 'cells': {'cell': 'the cell'}, 'summary': [],
               'claims': [], 'legs': [],
               'reproduction': reproduction([CLAIM], rows(4.0), rows())}
    text = section(json.loads(json.dumps(results)), {})
    assert '### Made again' in text
    assert '6 runs had been made before with the same settings' in text
    assert 'Of 2 means over seeds, 1 differ by no more' in text
    assert 'of 1 verdicts on claims, 0 are the same' in text and 'left out' not in text
    assert '| 1.200   | 5.200 | 0.100  | no ' in text
    assert '| holds   | the reverse |' in text
