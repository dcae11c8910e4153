# SPDX-License-Identifier: Apache-2.0
"""The verbs pretrain and finetune: one loop, each its own tasks."""
import json

from crossview_ros.cli.main import main
from crossview_ros.data.synthetic import dataset
from crossview_ros.networks import presets
from crossview_ros.networks.croco import CroCoConfig
import pytest
import yaml

CONFIG = """
task: croco
steps: 4
batch_size: 4
log_every: 1
validate_every: 4
model: {preset: narrow}
data: {num_records: 32, size_hw: [32, 32], crop_hw: [16, 32], scale_range: [1, 1], \
num_validation: 32}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    """Write a run description of a narrow network on few textures."""
    monkeypatch.setattr(dataset, 'ATLAS_SIZE', 8)
    monkeypatch.setitem(presets.COMPLETION_PRESETS, 'narrow', lambda: CroCoConfig(
        patch_size=8, enc_embed_dim=16, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=16,
        dec_num_layers=1, dec_num_heads=2, position='rope'))
    path = tmp_path / 'croco_narrow.yaml'
    path.write_text(CONFIG)
    return path


def arguments(config, *more, verb='pretrain'):
    folder = config.parent
    return [verb, str(config), '--run-dir', str(folder / 'run'), '--cache-dir',
            str(folder / 'cache'), '--device', 'cpu', '--threads', '1', *more]


def test_pretraining_logs_the_gain_of_the_reference_and_says_what_is_best(config, capsys):
    assert main(arguments(config)) == 0
    out = capsys.readouterr().out
    assert 'steps     4' in out and '(loss of hidden patches)' in out
    lines = (config.parent / 'run' / 'metrics.jsonl').read_text().splitlines()
    last = json.loads(lines[-1])
    assert last['step'] == 4
    # zero knowledge gives about 1; 100 (1 - true / wrong) by definition
    assert last['val_reference_gain_percent'] == pytest.approx(
        100 * (1 - last['val_loss'] / last['val_wrong_reference_loss']))


def test_a_stopped_run_is_resumed(config, capsys):
    assert main(arguments(config, '--stop-after', '0.00001', '--set', 'steps=3')) == 0
    assert 'steps     1' in capsys.readouterr().out
    assert main(arguments(config, '--resume')) == 0
    captured = capsys.readouterr()
    assert 'resumed_from last.pt' in captured.err and 'steps     3' in captured.out


@pytest.mark.parametrize('verb, task, right', [
    ('finetune', 'croco', 'pretrain'), ('pretrain', 'multi', 'finetune')])
def test_each_verb_refuses_the_tasks_of_the_other(config, capsys, verb, task, right):
    assert main(arguments(config, '--set', f'task={task}', verb=verb)) == 1
    error = capsys.readouterr().err
    assert f"asks for task '{task}'; use 'crossview {right}'" in error
    assert not (config.parent / 'run').exists()


def test_a_preset_of_another_kind_is_told(config, capsys):
    assert main(arguments(config, '--set', 'model.preset=crossview_tiny')) == 1
    assert "preset 'crossview_tiny' for task croco; known: " in capsys.readouterr().err


def test_a_dry_run_prints_the_whole_config_and_touches_nothing(config, capsys):
    assert main(arguments(config, '--dry-run', '--set', 'steps=7')) == 0
    out = capsys.readouterr().out
    printed = yaml.safe_load(out)
    assert printed['steps'] == 7 and printed['optimizer']['betas'] == [0.9, 0.98]
    assert '# parameters: ' in out
    assert [path.name for path in config.parent.iterdir()] == [config.name]
    assert main(arguments(config, '--dry-run', '--set', 'step=7')) == 1
    assert "did you mean 'steps'?" in capsys.readouterr().err
