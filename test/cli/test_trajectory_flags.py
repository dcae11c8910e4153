# SPDX-License-Identifier: Apache-2.0
"""Flags of `evaluate trajectory`: offset, association, steps in metres; all of it in the JSON."""
import json

from crossview_ros.cli.main import main
import numpy as np
import pytest


@pytest.fixture
def files(tmp_path):
    """Write a reference at 20 Hz with a speed that changes, and its copy 0.3 s early."""
    rng = np.random.default_rng(0)
    times_s = 100 + 0.05 * np.arange(400)
    way_m = np.cumsum(0.05 * (2 + np.interp(times_s, 100 + np.arange(21), rng.normal(size=21))))
    paths = []
    for name, shift_s in (('estimate', -0.3), ('reference', 0.0)):
        paths.append(tmp_path / f'{name}.tum')
        paths[-1].write_text(''.join(
            f'{time_s + shift_s:.6f} {x:.9f} 0 0 0 0 0 1\n' for time_s, x in zip(times_s, way_m)))
    return [str(path) for path in paths]


def evaluate(capsys, *arguments):
    assert main(['evaluate', 'trajectory', *arguments, '--align', 'none', '--json']) == 0
    return json.loads(capsys.readouterr().out)


def test_the_offset_is_found_added_and_reported(files, capsys):
    before = evaluate(capsys, *files)['metrics']
    after = evaluate(capsys, *files, '--find-offset')['metrics']
    assert after['time_offset']['value'] == pytest.approx(0.3, abs=0.005)
    assert after['time_offset']['unit'] == 's' and 'time_offset' not in before
    assert before['ape']['rmse'] > 0.3 and after['ape']['rmse'] < 0.01


def test_steps_and_association_are_those_asked_for(files, capsys):
    data = evaluate(capsys, files[1], files[1], '--delta', '2.5', '--delta-unit', 'metres',
                    '--all-pairs', '--association', 'nearest')
    assert (data['delta'], data['delta_unit'], data['all_pairs'], data['association']) == (
        2.5, 'metres', True, 'nearest')
    assert data['metrics']['rpe']['max'] == pytest.approx(0, abs=1e-9)
    assert data['segments'].endswith('% of the path')
    assert {'rmse', 'mean', 'median', 'min', 'max', 'std', 'sse'} <= data['metrics']['ape'].keys()


def test_half_a_frame_is_no_step(files, capsys):
    assert main(['evaluate', 'trajectory', *files, '--delta', '0.5']) == 1
    assert 'a whole number of frames' in capsys.readouterr().err
