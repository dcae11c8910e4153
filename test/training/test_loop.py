# SPDX-License-Identifier: Apache-2.0
"""Promises of the one training loop."""
import json
import math

from crossview_ros.errors import CheckpointError
from crossview_ros.training.records import OnlineBatches
import pytest
import torch


class Killed(Exception):
    """Stands for a kill -9: nothing of the trainer runs afterwards."""


def losses(path):
    """Return {step: loss} of a run folder's log; a repeated step counts once, the last time."""
    lines = (path / 'metrics.jsonl').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    return {r['step']: r['loss'] for r in records if 'loss' in r}


def test_a_killed_run_resumes_to_the_same_losses_and_weights(make_trainer, tmp_path):
    whole = make_trainer(tmp_path / 'whole', [])
    whole.fit()

    def kill_at_step_5(record):
        if record.get('step') == 5:
            raise Killed
    broken = make_trainer(tmp_path / 'broken', [])
    broken.report = kill_at_step_5
    with pytest.raises(Killed):
        broken.fit()
    resumed = make_trainer(tmp_path / 'broken', [])
    assert resumed.resume() == 'last.pt'
    assert resumed.step == 4   # the newest checkpoint: every second step is kept
    resumed.fit()
    assert losses(tmp_path / 'broken') == losses(tmp_path / 'whole')
    for name, value in whole.average.weights.items():
        assert torch.equal(resumed.average.weights[name], value), name


def test_a_run_in_legs_is_the_same_run(make_trainer, tmp_path):
    whole = make_trainer(tmp_path / 'whole', [])
    whole.fit()
    make_trainer(tmp_path / 'legs', []).fit(leg_s=0)
    for step in range(1, 7):   # a leg that is over at once does one step
        leg = make_trainer(tmp_path / 'legs', [])
        leg.resume()
        assert leg.step == step
        leg.fit(leg_s=0)
    assert losses(tmp_path / 'legs') == losses(tmp_path / 'whole')


def test_a_run_of_other_parameter_groups_says_how_to_go_on(make_trainer, tmp_path):
    make_trainer(tmp_path, []).fit(leg_s=0)
    state = torch.load(tmp_path / 'last.pt', weights_only=True)
    for group in state['optimizer']['param_groups']:
        del group['lr_scale']   # as runs were before there was a layer decay
    torch.save(state, tmp_path / 'last.pt')
    with pytest.raises(CheckpointError, match=f'other groups .* model.start_from={tmp_path}'):
        make_trainer(tmp_path, []).resume()


def test_batches_rendered_while_training_resume_the_same(make_trainer, tmp_path, monkeypatch):
    monkeypatch.setattr('crossview_ros.training.records.ATLAS_SIZE', 8)   # quick to make
    runs = []
    for name, steps in (('whole', 3), ('broken', 1)):
        trainer = make_trainer(tmp_path / name, [], steps=3, checkpoint_every=1)
        trainer.training = OnlineBatches(trainer.training, torch.device('cpu'))
        trainer.fit(leg_s=math.inf if steps == 3 else 0)
        runs.append(trainer)
    resumed = make_trainer(tmp_path / 'broken', [], steps=3, checkpoint_every=1)
    resumed.training = runs[1].training
    resumed.resume()
    resumed.fit()
    assert losses(tmp_path / 'broken') == losses(tmp_path / 'whole')
    assert len(set(losses(tmp_path / 'whole').values())) == 3   # other scenes each step


@pytest.mark.parametrize('task', ['stereo', 'flow', 'multi'])
def test_every_task_trains_validates_and_learns(make_trainer, tmp_path, task):
    reports = []
    trainer = make_trainer(tmp_path / task, reports, task=task, steps=12, batch_size=4,
                           validate_every=6, optimizer={'lr': 2e-3, 'warmup_steps': 1})
    batch = trainer.training.training_batch(0)
    before = trainer.task.step(trainer.model, batch).loss.item()
    trainer.fit()
    after = trainer.task.step(trainer.model, batch).loss.item()
    assert after < before
    assert [r['step'] for r in reports if 'loss' in r] == list(range(1, 13))
    validated = [r for r in reports if 'val_stereo_epe_px' in r or 'val_flow_epe_px' in r]
    assert [r['step'] for r in validated] == [6, 12]
    assert trainer.best_score < float('inf')


def test_reduced_precision_trains_too(make_trainer, tmp_path):
    reports = []
    make_trainer(tmp_path / 'run', reports, precision='bf16', steps=3).fit()
    assert all(torch.isfinite(torch.tensor(r['loss'])) for r in reports if 'loss' in r)
    assert 'val_stereo_epe_px' in reports[-1]


def test_a_batch_without_finite_gradients_leaves_the_weights_alone(make_trainer, tmp_path):
    trainer = make_trainer(tmp_path / 'run', [])
    batch = trainer.training.training_batch(0)
    batch['left'][:] = torch.nan
    before = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    trainer._optimize(batch, 1e-3)
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_minutes_end_a_run_and_its_schedule(make_trainer, tmp_path):
    reports = []
    trainer = make_trainer(tmp_path / 'run', reports, steps=1000, max_minutes=1e-4)
    trainer.fit()
    assert trainer.step < 10
    assert reports[-1]['step'] == trainer.step   # validated at the end
    assert (tmp_path / 'run' / 'last.pt').exists()


def test_resume_refuses_other_settings(make_trainer, tmp_path):
    make_trainer(tmp_path / 'run', [], steps=2).fit()
    other = make_trainer(tmp_path / 'run', [], steps=2, batch_size=3)
    with pytest.raises(CheckpointError, match='batch_size'):
        other.resume()
