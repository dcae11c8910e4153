# SPDX-License-Identifier: Apache-2.0
"""A further head on a model that is there: what is frozen stays as it was, to the bit."""
from crossview_ros.config import from_dict
from crossview_ros.errors import ConfigError
from crossview_ros.export.model_folder import TrainedModel, write_model_folder
from crossview_ros.networks.checkpoint import load_multi_task, save_weights
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.networks.presets import crossview_tiny
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.training.loop import Trainer
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.setup import build
import pytest
import torch

BACKBONE = {'enc_embed_dim': 32, 'enc_num_layers': 2, 'enc_num_heads': 2, 'stem_dims': (8, 8, 16),
            'dec_embed_dim': 32, 'dec_num_layers': 1, 'dec_num_heads': 2}
DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}
FROZEN = ('encoder', 'decoder', 'heads.stereo', 'heads.flow')


def run_config(source, **model):
    return from_dict(RunConfig, {
        'task': 'depth', 'steps': 3, 'batch_size': 2, 'log_every': 1, 'validate_every': 3,
        'data': DATA, 'model': {'preset': 'crossview_tiny', 'start_from': str(source),
                                'freeze': FROZEN, 'backbone': BACKBONE,
                                'head': {'depth_dims': (8, 8, 8)}, **model}}, 'test')


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    """Return a model of stereo and flow that is not trained, in fp16, and its file."""
    torch.manual_seed(0)
    preset = crossview_tiny()
    backbone = type(preset.backbone)(**{**vars(preset.backbone), **BACKBONE})
    heads = {task: preset.heads[task] for task in ('stereo', 'flow')}
    assert all(isinstance(head, MatchingHeadConfig) for head in heads.values())
    model = MultiTaskModel(ModelConfig(backbone, heads))
    path = tmp_path_factory.mktemp('base') / 'base.safetensors'
    save_weights(path, model.config, model.state_dict())
    return load_multi_task(path), path


def test_a_new_head_leaves_the_answers_of_the_others_as_they_are_to_the_bit(
        base, records, tmp_path):
    before, path = base
    config = run_config(path)
    task, model = build('finetune', config)
    fresh = {name: value.clone() for name, value in model.heads['depth'].state_dict().items()}
    folder = RunFolder(tmp_path / 'run')
    folder.create(config)
    train, validation = (task.batches(path, config, model.config) for path in records)
    trainer = Trainer(config, model, task, train, validation, folder, lambda record: None)
    trainer.fit()
    out = tmp_path / 'model'
    trained = TrainedModel(model.config, trainer.average.weights, 'crossview_tiny', {}, None)
    write_model_folder(trained, out, (64, 96))
    manifest = load_manifest(out)
    assert manifest.tasks == ['depth', 'flow', 'stereo']
    assert manifest.outputs['depth'].focal_px == model.config.heads['depth'].focal_px == 256.0
    assert manifest.outputs['depth'].unit == 'm'
    after = load_multi_task(out)
    views = torch.randn(2, 1, 3, 64, 96)
    for name in ('stereo', 'flow'):
        expected, got = (network.task(name)(*views) for network in (before, after))
        assert torch.equal(expected.value, got.value)
        assert torch.equal(expected.log_scale, got.log_scale)
    assert any(not torch.equal(value, fresh[name])
               for name, value in model.heads['depth'].state_dict().items())


def test_no_gradient_is_kept_of_what_is_frozen(base):
    _, model = build('finetune', run_config(base[1]))
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained and all(name.startswith('heads.depth.') for name in trained)
    features = model.encode(torch.randn(1, 3, 32, 32))
    assert not any(tensor.requires_grad for tensor in (*features.tokens, *features.stem))


def test_heads_that_are_not_frozen_are_left_out(base):
    _, model = build('finetune', run_config(base[1], freeze=('encoder', 'heads.flow')))
    assert model.tasks == ['flow', 'depth']
    assert any(parameter.requires_grad for parameter in model.decoder.parameters())


@pytest.mark.parametrize('freeze, message', [
    (('encoder', 'head.flow'), r"'head.flow': the network has no such part; it has encoder, dec"),
    (('heads.depth',), "'heads.depth': model.start_from does not have its weights heads.depth"),
    (('heads',), "'heads': model.start_from does not have its weights")])
def test_what_cannot_be_frozen_is_refused(base, freeze, message):
    with pytest.raises(ConfigError, match=message):
        build('finetune', run_config(base[1], freeze=freeze))


def test_parts_without_weights_of_their_own_are_refused(base):
    with pytest.raises(ConfigError, match="'encoder': model.start_from does not have"):
        build('finetune', run_config(base[1], start_from=None))
