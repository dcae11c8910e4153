# SPDX-License-Identifier: Apache-2.0
"""The gate of `make bench-accuracy`: what fails it, and what it says without samples."""
import importlib.util
import json
import sys

import pytest


@pytest.fixture
def gate(root):
    """Import benchmarks/accuracy.py."""
    spec = importlib.util.spec_from_file_location('accuracy', root / 'benchmarks/accuracy.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figure(value, noise=0.1):
    return {'value': value, 'noise': noise, 'unit': 'px'}


def test_a_loss_beyond_the_noise_a_missing_and_an_undefined_figure_fail(gate):
    stated = {name: figure(1.0) for name in ('better', 'noise', 'worse', 'absent', 'nan')}
    measured = {'better': figure(0.5), 'noise': figure(1.09), 'worse': figure(1.11),
                'nan': figure(float('nan'))}
    assert gate.losses(measured, stated) == ['worse', 'absent', 'nan']


def test_every_measured_kind_is_stated_with_a_noise_in_the_committed_file(gate):
    stated = json.loads(gate.STATED.read_text())['figures']
    expected = {f'drive.{name}' for name in gate.DRIVE} | {f'still.{name}' for name in gate.STILL}
    assert expected <= stated.keys()
    assert {name.split('.')[0] for name in stated} == {'stereo', 'flow', 'drive', 'still'}
    assert all(entry['noise'] > 0 or name.endswith('.lost') for name, entry in stated.items())


def test_without_samples_it_says_so_and_does_not_pass(gate, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, 'argv', ['accuracy.py', '--data', str(tmp_path / 'absent')])
    assert gate.main() == 2
    assert 'is absent' in capsys.readouterr().err


@pytest.mark.parametrize('value, status', [(1.05, 0), (1.2, 1)])
def test_the_exit_status_says_whether_something_is_lost(gate, monkeypatch, tmp_path, capsys,
                                                        value, status):
    (tmp_path / 'stereo').mkdir()
    stated = tmp_path / 'stated.json'
    stated.write_text(json.dumps({'figures': {'stereo.a': figure(1.0)}}))
    monkeypatch.setattr(gate, 'measure_dense', lambda model, data: {'stereo.a': figure(value)})
    monkeypatch.setattr(gate, 'measure_replays', lambda model, data: {})
    monkeypatch.setattr(sys, 'argv', ['accuracy.py', '--data', str(tmp_path), '--stated',
                                      str(stated)])
    assert gate.main() == status
    assert ('LOST' in capsys.readouterr().out) == bool(status)
