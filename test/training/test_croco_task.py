# SPDX-License-Identifier: Apache-2.0
"""Promises of pre-training: the batches, what validation measures, and what fine-tuning gets."""
from types import SimpleNamespace

from crossview_ros.config import from_dict
from crossview_ros.errors import ConfigError
from crossview_ros.networks.croco import CompletionOutput, CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.networks.patches import patchify
from crossview_ros.networks.presets import COMPLETION_PRESETS, MODEL_PRESETS
from crossview_ros.training.pixel_loss import patch_statistics, pixel_loss
from crossview_ros.training.records import indices_of_step, OnlineBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.setup import load_run, start_from
from crossview_ros.training.tasks import TASKS
import pytest
import torch


@pytest.fixture
def trainer(make_completion_trainer, tmp_path):
    return make_completion_trainer(tmp_path / 'run', [])


def run_config(**values):
    return from_dict(RunConfig, {'task': 'croco', 'steps': 1, 'data': {'crop_hw': (32, 48)},
                                 'model': {'preset': 'crossview_tiny_croco'}, **values}, 'test')


def test_a_batch_is_a_function_of_the_step(trainer):
    batch, again, other = (trainer.training.training_batch(step) for step in (3, 3, 4))
    assert batch['target'].shape == batch['reference'].shape == (2, 3, 32, 48)
    assert batch['mask'].sum(1).tolist() == [4, 4]   # int(0.75 * 2 * 3)
    for name, value in batch.items():
        assert torch.equal(value, again[name]), name
    assert not torch.equal(batch['target'], other['target'])


def test_an_epoch_shows_every_pair_once():
    epochs = [sum((indices_of_step(7, epoch * 16 + step, 2, 32) for step in range(16)), [])
              for epoch in (0, 1)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(32))
    assert epochs[0] != epochs[1]


def test_validation_never_changes_and_its_wrong_reference_is_another_pairs(trainer):
    first, second = (list(trainer.validation.validation_batches(size)) for size in (32, 5))
    assert len(first) == 1 and [len(batch['mask']) for batch in second] == [5] * 6 + [2]
    for name, value in first[0].items():
        assert torch.equal(value, torch.cat([batch[name] for batch in second])), name
    batch = first[0]
    assert torch.equal(batch['wrong_reference'], batch['reference'].roll(-1, 0))
    assert len({tuple(row.tolist()) for row in batch['mask']}) > 5


def test_a_model_that_copies_the_true_reference_gains_all(trainer):
    batches = list(trainer.validation.validation_batches(8))
    pairs = [pair for batch in batches for pair in zip(batch['target'], batch['reference'])]

    def model(target, reference, mask):
        right = torch.tensor([any(torch.equal(t, a) and torch.equal(r, b) for a, b in pairs)
                              for t, r in zip(target, reference)])
        patches = patchify(target, 16)
        mean, std = patch_statistics(patches)
        copied = torch.where(right[:, None, None], (patches - mean) / std, 0.0)
        return CompletionOutput(copied, mask)
    model.config = SimpleNamespace(patch_size=16)
    metrics = trainer.task.validate(model, batches)
    assert metrics['loss'] < 1e-10
    # zeros against unit variance with n - 1 in the denominator: mean square (n - 1) / n
    assert metrics['wrong_reference_loss'] == pytest.approx(767 / 768, rel=1e-3)
    assert metrics['reference_gain_percent'] == pytest.approx(100)
    assert trainer.task.score(metrics) == metrics['loss']


def test_a_model_that_never_looks_at_the_reference_gains_nothing(trainer):
    trainer.model.decoder.blocks[0].cross_attn.proj.weight.data.zero_()
    metrics = trainer.validate()
    assert metrics['loss'] > 0.5
    assert metrics['reference_gain_percent'] == pytest.approx(0, abs=1e-5)


def test_pretraining_learns_logs_and_resumes_the_same(make_completion_trainer, tmp_path):
    settings = {'steps': 8, 'optimizer': {'lr': 2e-3, 'warmup_steps': 1}}
    reports = []
    whole = make_completion_trainer(tmp_path / 'whole', reports, **settings)
    batch = whole.training.training_batch(0)
    before = whole.task.step(whole.model, batch).loss.item()
    whole.fit()
    assert whole.task.step(whole.model, batch).loss.item() < before
    assert {'step', 'val_loss', 'val_wrong_reference_loss',
            'val_reference_gain_percent'} == set(reports[-1])
    for _ in range(8):   # a leg that is over at once does one step
        leg = make_completion_trainer(tmp_path / 'legs', [], **settings)
        if leg.folder.path.joinpath('last.pt').exists():
            leg.resume()
        leg.fit(leg_s=0)
    for name, value in whole.average.weights.items():
        assert torch.equal(leg.average.weights[name], value), name


def test_pairs_rendered_while_training_differ_by_step_and_repeat(trainer, monkeypatch):
    monkeypatch.setattr('crossview_ros.training.records.ATLAS_SIZE', 8)
    online = OnlineBatches(trainer.training, torch.device('cpu'))
    batch, again, other = (online.training_batch(step) for step in (0, 0, 1))
    assert batch['target'].shape == (2, 3, 32, 48)
    assert torch.equal(batch['reference'], again['reference'])
    assert not torch.equal(batch['reference'], other['reference'])


@pytest.mark.parametrize('options', [{}, {'normalised': False}, {'masked_only': False}])
def test_the_loss_follows_the_options_of_the_run(make_completion_trainer, tmp_path, options):
    trainer = make_completion_trainer(tmp_path, [], pixel_loss=options)
    batch = trainer.training.training_batch(0)
    patches = trainer.model(**batch).patches
    mask = batch['mask'] if options.get('masked_only', True) else None
    expected = pixel_loss(patches, patchify(batch['target'], 16), mask,
                          options.get('normalised', True))
    torch.testing.assert_close(trainer.task.step(trainer.model, batch).loss, expected)


def test_a_run_gives_its_encoder_and_decoder_to_a_task(make_completion_trainer, tmp_path):
    trainer = make_completion_trainer(tmp_path / 'run', [], steps=2)
    trainer.fit()
    _, architecture, weights, history = load_run(tmp_path / 'run')
    assert architecture == trainer.model.config and isinstance(architecture, CroCoConfig)
    assert history['step'] == 2
    sizes = {'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}
    model = MultiTaskModel(ModelConfig(architecture, {
        'stereo': MatchingHeadConfig('row', fine_radius=2, **sizes)}))
    start_from(model, str(tmp_path / 'run'))
    own = model.state_dict()
    shared = [name for name in weights if name.startswith(('encoder.', 'decoder.'))
              and name != 'decoder.mask_token']
    assert all(torch.equal(own[name], weights[name]) for name in shared)
    assert {name for name in own if not name.startswith('heads.')} == set(shared)


def test_the_tiny_preset_pretrains_the_tiny_model():
    task = TASKS['croco'](run_config(model={'preset': 'crossview_tiny_croco', 'mask_ratio': 0.8}))
    with torch.device('meta'):
        own = task.build().state_dict()
        deployed = MultiTaskModel(MODEL_PRESETS['crossview_tiny']()).state_dict()
    backbone = {k: v.shape for k, v in deployed.items() if not k.startswith('heads.')}
    assert backbone.items() <= {k: v.shape for k, v in own.items()}.items()
    assert task.build().config.mask_ratio == 0.8
    assert task.build().config.img_size == (32, 48)


@pytest.mark.parametrize('values, message', [
    ({'model': {'preset': 'crossview_tiny'}}, "preset 'crossview_tiny' for task croco; known: "),
    ({'data': {'crop_hw': (32, 40)}}, r'\(32, 40\) must be multiples of the patch size 16'),
    ({'model': {'preset': 'crossview_tiny_croco', 'mask_ratio': 0.1}}, 'hides none of the 6')])
def test_runs_that_cannot_be_built_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TASKS['croco'](run_config(**values)).build()


@pytest.mark.parametrize('preset', COMPLETION_PRESETS)
def test_every_preset_is_an_architecture(preset):
    assert isinstance(COMPLETION_PRESETS[preset](), CroCoConfig)
