# SPDX-License-Identifier: Apache-2.0
"""The verbs pretrain and finetune: one loop, each its own tasks."""
import json
import os
import re
import signal

from crossview_ros.cli.main import main
from crossview_ros.data.synthetic import dataset
from crossview_ros.model_store import WEIGHTS
from crossview_ros.networks import presets
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.training.loop import Trainer
from crossview_ros.training.setup import load_run
import pytest
from safetensors.torch import load_file
import torch
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
    # width 16 and patches of 8 px (3 * 64 = 192 numbers); encoder: embedding 192 * 16 + 16, block
    # 2 * 32 + (48 + 16) * 16 + 64 + 2 * 64 * 16 + 80, norm 32; decoder: embedding 16 * 16 + 16,
    # a block with cross-attention, norms of which there are four, mask token 16; head 192 * 17
    block = 2 * 32 + 16 * 64 + 64 + 2 * 64 * 16 + 80
    decoder = block + 2 * 32 + 4 * 16 * 17
    total = 192 * 16 + 16 + block + 32 + 16 * 17 + decoder + 32 + 16 + 192 * 17
    assert f'# parameters: {total:,}\n' in out
    assert '# data: 32 samples an epoch (rendered), 32 held out; 0.9 epochs of 8 steps' in out
    assert re.search(r'# memory: about \d+\.\d\d GB', out)
    assert re.search(r'# time: about \d+:\d\d:\d\d for 7 steps on one cpu\n', out)
    assert [path.name for path in config.parent.iterdir()] == [config.name]
    assert main(arguments(config, '--dry-run', '--set', 'step=7')) == 1
    assert "did you mean 'steps'?" in capsys.readouterr().err


def test_a_bar_shows_loss_rate_throughput_waiting_and_the_end(config, capsys):
    assert main(arguments(config)) == 0
    error = capsys.readouterr().err
    assert re.search(r'step 4/4 .*loss [\d.]+, lr [\d.e-]+, [\d.]+ pairs/s, '
                     r'data wait \d+ %, ETA 0:00:00', error)


def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(config, capsys, monkeypatch):
    own = Trainer._optimize

    def interrupted(trainer, batch, lr):
        if trainer.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return own(trainer, batch, lr)
    monkeypatch.setattr(Trainer, '_optimize', interrupted)
    before = signal.getsignal(signal.SIGTERM)
    assert main(arguments(config)) == 130
    assert signal.getsignal(signal.SIGTERM) == before
    assert 'stopped at step 2; go on with --resume' in capsys.readouterr().err
    monkeypatch.setattr(Trainer, '_optimize', own)
    assert main(arguments(config, '--resume')) == 0
    assert 'steps     4' in capsys.readouterr().out


def test_a_run_folder_says_what_made_it_and_exports_its_best_and_last_weights(config, capsys):
    # the first step has rate 0, the others far too much: the best validation is the first
    assert main(arguments(config, '--set', 'validate_every=1', '--set', 'optimizer.lr=4.0',
                          '--set', 'optimizer.warmup_steps=4', '--set',
                          'optimizer.ema_decay=0')) == 0
    run = config.parent / 'run'
    assert {path.name for path in run.iterdir()} == {
        'config.yaml', 'environment.json', 'metrics.jsonl', 'last.pt', 'best.pt', 'tensorboard'}
    facts = json.loads((run / 'environment.json').read_text())[-1]
    assert set(facts) >= {'command', 'commit', 'device', 'python', 'torch', 'numpy'}
    lines = [json.loads(line) for line in (run / 'metrics.jsonl').read_text().splitlines()]
    scores = {line['step']: line['val_loss'] for line in lines if 'val_loss' in line}
    best, last = (load_run(run, best) for best in (True, False))
    assert best[3]['step'] == 1
    assert scores[1] == min(scores.values()) == last[3]['best_score']
    assert last[3]['step'] == 4
    for flags, weights in ((['--best'], best[2]), ([], last[2])):
        out = config.parent / f'model{len(flags)}'
        assert main(['export', str(run), '--format', 'model', '--out', str(out), *flags]) == 0
        exported = load_file(out / WEIGHTS)
        name = 'decoder.mask_token'
        torch.testing.assert_close(exported[name].float(), weights[name], rtol=1e-3, atol=1e-4)
