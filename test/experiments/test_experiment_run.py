# SPDX-License-Identifier: Apache-2.0
"""Promises of the verb experiment: the whole table in miniature, cut short, gone on with."""
import json
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import time

from crossview_ros.cli.main import main
from crossview_ros.config import dump_yaml, load_config, to_dict
from crossview_ros.data.synthetic import dataset
from crossview_ros.experiments.page import page_text
from crossview_ros.experiments.plan import ExperimentConfig, legs_of, smoke_experiment
from crossview_ros.training.loop import Trainer
from crossview_ros.training.run_state import RunFolder
import pytest

CONFIG = Path(__file__).resolve().parents[2] / 'config' / 'experiments' / 'pretraining_cpu.yaml'


SMALL_ATLAS = """
import sys
from crossview_ros.cli.main import main
from crossview_ros.data.synthetic import dataset
dataset.ATLAS_SIZE = 8
if __name__ == '__main__':
    sys.exit(main())
"""


class Killed(BaseException):
    """Ends a run without a checkpoint, as a kill does."""


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a folder with the description of a miniature of the CPU table, with its records."""
    base = tmp_path_factory.mktemp('experiment')
    small = to_dict(smoke_experiment(load_config(ExperimentConfig, CONFIG)))
    for cell, seeds in (('dense', [1]), ('matching', [1, 2]), ('depth', [1])):
        small['cells'][cell] |= {'seeds': seeds, 'fractions': [1.0]}
    (base / 'pretraining_cpu.yaml').write_text(dump_yaml(small))
    return base


@pytest.fixture(autouse=True)
def few_textures(monkeypatch):
    monkeypatch.setattr(dataset, 'ATLAS_SIZE', 8)


def experiment(folder, out, *more):
    return main(['experiment', 'pretraining', '--size', 'cpu', '--config-dir', str(folder),
                 '--out', str(out), '--cache-dir', str(folder / 'records'), '--device', 'cpu',
                 '--threads', '1', '--jobs', '1', *more])


@pytest.fixture(scope='module')
def whole(folder):
    """Return the folder of a table that was done in one go, with its page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'ATLAS_SIZE', 8)
        assert experiment(folder, folder / 'whole', '--page', str(folder / 'page.md')) == 0
    return folder / 'whole'


def figures(out):
    """Return what each finished run has measured."""
    return {leg['name']: leg['figures']
            for leg in json.loads((out / 'results.json').read_text())['legs']}


def test_the_whole_table_is_done_and_told(folder, whole):
    legs = legs_of(load_config(ExperimentConfig, folder / 'pretraining_cpu.yaml'))
    results = json.loads((whole / 'results.json').read_text())
    assert [leg['name'] for leg in results['legs']] == [leg.name for leg in legs]
    assert all(leg['steps'] == 2 and leg['curve'] for leg in results['legs'])
    text = (whole / 'results.md').read_text()
    entry = next(entry for entry in results['summary'] if len(entry['seeds']) > 1)
    assert f'{entry["mean"]:.3f} ± {entry["deviation"]:.3f}' in text
    for label in (*results['rows'].values(), *results['cells'].values()):
        assert label in text
    for cell in results['cells']:
        assert (whole / f'{cell}.png').read_bytes().startswith(b'\x89PNG')


def test_only_pretrainings_keep_their_weights(whole):
    kept = {path.parent.relative_to(whole).as_posix() for path in whole.rglob('*.pt')}
    assert kept == {'pretrain/croco', 'pretrain/masked', 'pretrain/simipu'}


def test_the_withheld_reference_gains_nothing_and_rows_start_apart(whole):
    measured = figures(whole)
    assert measured['pretrain/masked']['reference_gain_percent'] == 0
    assert measured['pretrain/croco']['reference_gain_percent'] != 0
    rows = [measured[f'matching/100_percent/{row}_1'] for row in ('croco', 'masked', 'scratch')]
    assert len({row['flow_epe_px'] for row in rows}) == 3


def test_a_killed_table_goes_on_and_ends_the_same(folder, whole, tmp_path, monkeypatch):
    steps, optimize = [], Trainer._optimize

    def killing(trainer, *args):
        steps.append(trainer.folder.path.relative_to(tmp_path).as_posix())
        if len(steps) in (2, 5):   # in the second step of the pre-training, and of what follows
            raise Killed
        return optimize(trainer, *args)
    monkeypatch.setattr(Trainer, '_optimize', killing)
    for _ in range(2):
        with pytest.raises(Killed):
            experiment(folder, tmp_path, '--only', 'masked')
    assert experiment(folder, tmp_path, '--only', 'masked') == 0
    expected = {name: values for name, values in figures(whole).items() if 'masked' in name}
    assert figures(tmp_path) == expected and len(expected) == 4
    # two steps each, with a checkpoint after each; the two that were cut short come again
    assert len(steps) == 2 * 4 + 2
    assert experiment(folder, tmp_path, '--only', 'masked') == 0
    assert len(steps) == 2 * 4 + 2   # finished runs are not repeated


def test_minutes_stop_the_table_and_the_same_command_goes_on(folder, whole, tmp_path, capsys):
    assert experiment(folder, tmp_path, '--only', 'scratch', '--minutes', '0.00001') == 0
    assert 'the same command goes on' in capsys.readouterr().err
    assert experiment(folder, tmp_path, '--only', 'scratch') == 0
    expected = {name: values for name, values in figures(whole).items() if 'scratch' in name}
    assert figures(tmp_path) == expected


def test_runs_at_once_end_the_same_and_wait_for_what_they_start_from(folder, whole, tmp_path,
                                                                     capfd):
    rows = ['--only', 'masked', '--only', 'scratch']
    assert experiment(folder, tmp_path, *rows, '--jobs', '2') == 0
    expected = {name: values for name, values in figures(whole).items()
                if name.endswith('masked') or '/masked_' in name or '/scratch_' in name}
    assert figures(tmp_path) == expected and len(expected) == 8
    told = [line.split(' ', 1)[1] for line in capfd.readouterr().err.splitlines()
            if re.match(r'\d+/8 ', line)]
    # the first two are at once, and neither starts from a run that is not done
    assert told[0] == 'pretrain/masked' and '/scratch_' in told[1] and len(told) == 8


def test_a_signal_stops_all_runs_with_a_checkpoint(folder, whole, tmp_path):
    text = (folder / 'pretraining_cpu.yaml').read_text()
    (tmp_path / 'pretraining_cpu.yaml').write_text(text.replace('steps: 2', 'steps: 100000'))
    command = [sys.executable, '-c', SMALL_ATLAS, 'experiment', 'pretraining', '--config-dir',
               str(tmp_path), '--out', str(tmp_path / 'out'), '--cache-dir',
               str(folder / 'records'), '--only', 'croco', '--only', 'masked', '--jobs', '2']
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    runs = [tmp_path / 'out' / 'pretrain' / row for row in ('croco', 'masked')]
    deadline = time.monotonic() + 120
    while not all((run / 'last.pt').exists() for run in runs):
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert 'stopped; the same command goes on' in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert all(RunFolder(run).load()[0]['step'] > 0 for run in runs)


def test_a_run_that_fails_at_once_with_others_is_named(folder, whole, tmp_path, capsys):
    text = (folder / 'pretraining_cpu.yaml').read_text()
    text = text.replace('crossview_tiny_croco', 'no_such')
    (tmp_path / 'pretraining_cpu.yaml').write_text(text)
    assert experiment(tmp_path, tmp_path / 'out', '--only', 'croco', '--jobs', '2') == 1
    error = capsys.readouterr().err
    assert 'pretrain/croco: ' in error and "'no_such'" in error


def test_a_dry_run_lists_minutes_and_flops_and_writes_nothing(folder, tmp_path, capsys):
    assert experiment(folder, tmp_path / 'new', '--only', 'scratch', '--dry-run') == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ['run', 'steps', 'batch', 'minutes', 'PFLOP', 'state']
    assert [line.split()[0] for line in lines[1:-1]] == [
        'dense/100_percent/scratch_1', 'matching/100_percent/scratch_1',
        'matching/100_percent/scratch_2', 'depth/100_percent/scratch_1']
    assert lines[-1].startswith('4 runs')
    assert not (tmp_path / 'new').exists()


def test_runs_of_other_settings_are_not_mixed(folder, whole, tmp_path, capsys):
    text = (folder / 'pretraining_cpu.yaml').read_text()
    (tmp_path / 'pretraining_cpu.yaml').write_text(text.replace('steps: 2', 'steps: 3'))
    assert experiment(tmp_path, whole) == 1
    assert 'holds a run of other settings (steps)' in capsys.readouterr().err


def test_finished_runs_stay_finished_when_a_new_setting_has_its_default(folder, whole, tmp_path):
    copy = shutil.copytree(whole, tmp_path / 'older')
    for path in copy.rglob('leg.json'):
        record = json.loads(path.read_text())
        del record['config']['head_share'], record['config']['data']['frames']['scene']
        path.write_text(json.dumps(record))
    assert experiment(folder, copy) == 1   # the scenes of this table are not the default ones
    for path in copy.rglob('leg.json'):
        record = json.loads((whole / path.relative_to(copy)).read_text())
        del record['config']['head_share']
        path.write_text(json.dumps(record))
    assert experiment(folder, copy) == 0 and figures(copy) == figures(whole)


def test_a_table_is_compared_with_the_one_made_before(folder, whole, tmp_path, capsys):
    earlier = json.loads((whole / 'results.json').read_text())
    run = next(leg for leg in earlier['legs'] if leg['name'].endswith('/scratch_2'))
    run['figures']['flow_epe_px'] += 100.0
    (tmp_path / 'earlier.json').write_text(json.dumps(earlier))
    copy = shutil.copytree(whole, tmp_path / 'copy')
    assert experiment(folder, copy, '--against', str(tmp_path / 'earlier.json')) == 0
    text = capsys.readouterr().out
    legs, means = len(earlier['legs']), len(earlier['summary'])
    # the spread of two seeds of which one is 100 px off is more than the shift of their mean
    assert f'{legs} runs had been made before' in text
    assert f'Of {means} means over seeds, {means} differ by no more' in text
    assert experiment(folder, tmp_path / 'new', '--against', str(folder / 'page.md')) == 1
    assert 'page.md: cannot be read as the results' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()


def test_the_page_is_made_from_the_results_beside_it(folder, whole):
    results, page = folder / 'page' / 'pretraining_cpu.json', folder / 'page.md'
    assert json.loads(results.read_text()) == json.loads((whole / 'results.json').read_text())
    assert page.read_text() == page_text(folder / 'page')
    assert '](page/pretraining_cpu_matching.png)' in page.read_text()
    assert (folder / 'page' / 'pretraining_cpu_matching.png').is_file()
    changed = results.read_text().replace('CroCo', 'Crocodile')
    other = folder / 'other'
    other.mkdir()
    (other / 'pretraining_cpu.json').write_text(changed)
    assert 'Crocodile' in page_text(other) and 'CroCo' not in page_text(other)
