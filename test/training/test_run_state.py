# SPDX-License-Identifier: Apache-2.0
"""Run folders survive kills, truncation and hostile files."""
import pickle

from crossview_ros.config import from_dict
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
import pytest
import torch

CONFIG = from_dict(RunConfig, {'task': 'stereo', 'steps': 3}, 'test')


@pytest.fixture
def folder(tmp_path):
    run = RunFolder(tmp_path / 'run')
    run.create(CONFIG)
    for step in (1, 2):
        run.save({'step': step, 'model': {'w': torch.full((4,), float(step))}})
    return run


def test_newest_checkpoint_comes_back(folder):
    state, name = folder.load()
    assert (state['step'], name) == (2, 'last.pt')
    assert torch.equal(state['model']['w'], torch.full((4,), 2.0))
    assert folder.config() == CONFIG


@pytest.mark.parametrize('keep', [0, 1, 100, -1])
def test_truncated_newest_falls_back_to_the_one_before(folder, keep):
    last = folder.path / 'last.pt'
    last.write_bytes(last.read_bytes()[:keep])
    state, name = folder.load()
    assert state['step'] == 1
    assert name.startswith('previous.pt, since last.pt is damaged')


def test_a_kill_between_the_two_renames_loses_nothing(folder):
    (folder.path / 'last.pt').rename(folder.path / 'previous.pt')
    assert folder.load()[0]['step'] == 2


def test_nothing_readable_is_one_clear_error(folder):
    for name in ('last.pt', 'previous.pt'):
        (folder.path / name).write_bytes(b'rubbish')
    with pytest.raises(CheckpointError, match='last.pt is damaged.*previous.pt is damaged.*anew'):
        folder.load()


def test_code_in_a_checkpoint_is_never_run(folder, tmp_path):
    trap = tmp_path / 'trap'

    class Hostile:

        def __reduce__(self):
            return trap.write_text, ('run',)
    (folder.path / 'last.pt').write_bytes(pickle.dumps(Hostile()))
    assert folder.load()[1].startswith('previous.pt, since last.pt is damaged')
    assert not trap.exists()


def test_another_kind_of_file_is_told(tmp_path):
    run = RunFolder(tmp_path)
    torch.save({'weights': torch.zeros(1)}, tmp_path / 'last.pt')
    with pytest.raises(CheckpointError, match='last.pt is no run checkpoint; previous.pt is mis'):
        run.load()


def test_a_folder_with_a_run_is_not_overwritten(folder):
    with pytest.raises(ConfigError, match='already holds a run.*--resume'):
        folder.create(CONFIG)
