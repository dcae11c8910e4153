# SPDX-License-Identifier: Apache-2.0
"""Promises of task depth on a ResNet: the published model, loss, figures, and where it starts."""
from dataclasses import replace
import math

from crossview_ros.config import dump_yaml, from_dict, to_dict
from crossview_ros.errors import ConfigError
from crossview_ros.networks.checkpoint import load_model, save_weights
from crossview_ros.networks.heads.dense_depth import full_size_depth, resize_map
from crossview_ros.networks.presets import simipu_resnet50_depth, simipu_resnet50_depth_matched
from crossview_ros.networks.resnet import ResNet, ResNetConfig
from crossview_ros.networks.resnet_depth import with_mirror
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.setup import build, load_run, open_run
from crossview_ros.training.tasks import TASKS
import numpy as np
import pytest
import torch

DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}
RESNET = {'width': 4, 'num_blocks': (1, 1, 1, 1)}
MODEL = {'preset': 'simipu_resnet50_depth', 'backbone': RESNET,
         'head': {'channels': (16, 12, 8, 8, 4), 'max_depth_m': 20.0}}


def run_config(model=None, **values):
    return from_dict(RunConfig, {'task': 'depth', 'steps': 1, 'batch_size': 4, 'data': DATA,
                                 'model': {**MODEL, **(model or {})}, **values}, 'test')


@pytest.fixture
def network():
    torch.manual_seed(0)
    return TASKS['depth'](run_config()).build()


def official(tmp_path, width=4, seed=3, name='SimIPU.pth'):
    """Write a file with the bare keys of a ResNet-50."""
    torch.manual_seed(seed)
    state = ResNet(ResNetConfig(width=width)).state_dict()
    torch.save({f'backbone.{key}': value for key, value in state.items()}, tmp_path / name)
    return tmp_path / name, state


def test_the_published_network_has_its_parameters():
    config = run_config({'backbone': {}, 'head': {}})
    with torch.device('meta'):
        model = TASKS['depth'](config).build()
    assert model.config == simipu_resnet50_depth()
    assert sum(p.numel() for p in model.head.parameters()) == 54_262_657      # simipu.md 11
    assert sum(p.numel() for p in model.encoder.parameters()) == 23_508_032   # simipu.md 3
    assert model.encoder.bn1.eps == 1e-5


def test_the_loss_sees_what_is_not_clamped_and_the_answer_what_is(network):
    with torch.no_grad():
        network.head.leave.weight *= 200   # saturates the sigmoid: 0 m and 20 m
    network.eval()
    image = torch.randn(2, 3, 64, 96)
    coarse = network.head(network.encoder(image)).detach()
    assert coarse.shape == (2, 1, 32, 48) and float(coarse.min()) < 1e-3
    out = network(image)
    torch.testing.assert_close(out.value, full_size_depth(coarse, (64, 96), 20.0))
    torch.testing.assert_close(network.unclamped(image, (64, 96)), resize_map(coarse, (64, 96)))
    assert out.log_scale is None and not torch.equal(out.value,
                                                     network.unclamped(image, (64, 96)))


def test_a_step_is_sigloss_over_the_pixels_with_truth(network):
    batch = {'left': torch.randn(2, 3, 32, 64), 'depth': 1 + 10 * torch.rand(2, 1, 32, 64)}
    batch['depth'][:, :, :20] = math.nan
    task = TASKS['depth'](run_config())
    output = task.step(network.eval(), batch)
    depth = network.unclamped(batch['left'], (32, 64))[:, :, 20:].detach()
    error = (depth + 1e-3).log() - (batch['depth'][:, :, 20:] + 1e-3).log()
    expected = math.sqrt(float(error.var()) + 0.15 * float(error.mean()) ** 2)
    assert float(output.loss.detach()) == pytest.approx(expected, rel=1e-5)
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters())


def test_validation_means_figures_over_images_of_the_flipped_average(network):
    class Ramp(torch.nn.Module):
        """Answer the first channel: the truth, but for what is not symmetric."""

        def forward(self, image):
            return type('Answer', (), {'value': image[:, :1].clamp(min=0.1)})

    image = torch.full((2, 3, 4, 6), 2.0)
    image[1, :, :, :3] = 4.0
    truth = torch.full((2, 1, 4, 6), 2.0)
    truth[1, 0, :2] = math.nan
    metrics = TASKS['depth'](run_config()).validate(Ramp(), [{'left': image, 'depth': truth}])
    # image 1 is right; image 2 answers 4 and 2 m, which turned back and averaged is 4 and 2 again
    assert metrics['abs_rel'] == pytest.approx((0 + 0.5) / 2)
    assert metrics['d1'] == pytest.approx((1 + 0.5) / 2) and metrics['coverage'] == 1


def test_the_mirrored_answer_is_turned_back(network):
    image = torch.randn(1, 3, 32, 64)
    network.eval()
    with torch.no_grad():
        expected = (network(image).value + network(image.flip(-1)).value.flip(-1)) / 2
        torch.testing.assert_close(with_mirror(network, image), expected)
        assert not torch.allclose(expected, network(image).value)


def test_it_learns_four_records_by_heart(records):
    config = run_config()
    task = TASKS['depth'](config)
    torch.manual_seed(0)
    model = task.build()
    batch = next(task.batches(records[0], config, model.config).validation_batches(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        output = task.step(model, batch)
        losses.append(output.loss.item())
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    assert losses[-1] < 0.5 * losses[0]


def test_the_matched_preset_feeds_the_encoder_what_its_pretraining_did(records):
    plain, norm = simipu_resnet50_depth(), simipu_resnet50_depth_matched().normalisation
    assert plain.normalisation.channels == 'rgb' and norm.channels == 'bgr'
    assert replace(simipu_resnet50_depth_matched(), normalisation=plain.normalisation) == plain
    rgb, bgr = (next(TASKS['depth'](config).batches(
        records[0], config, TASKS['depth'](config).build().config).validation_batches(4))['left']
        for config in (run_config(), run_config({'preset': 'simipu_resnet50_depth_matched'})))
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (plain.normalisation.mean,
                                                         plain.normalisation.std))
    colours = 255 * (rgb * std + mean)
    expected = colours.flip(1) - torch.tensor((103.53, 116.28, 123.675)).view(3, 1, 1)
    torch.testing.assert_close(bgr, expected, atol=1e-3, rtol=0)


def test_an_official_file_fills_the_whole_encoder(tmp_path):
    path, state = official(tmp_path)
    config = run_config({'start_from': str(path), 'backbone': {'width': 4}})
    _, model = build('finetune', config)
    own = model.encoder.state_dict()
    assert own.keys() == state.keys()
    assert all(torch.equal(own[key], value) for key, value in state.items())


def test_a_pretraining_run_fills_it_too(tmp_path):
    torch.manual_seed(5)
    encoder = ResNet(ResNetConfig(**RESNET))
    weights = {f'image_branch.{key}': value for key, value in encoder.state_dict().items()}
    (tmp_path / 'config.yaml').write_text('task: simipu\n')
    RunFolder(tmp_path).save({'average': weights, 'step': 1})
    _, model = build('finetune', run_config({'start_from': str(tmp_path)}))
    own = model.encoder.state_dict()
    assert all(torch.equal(own[key], value) for key, value in encoder.state_dict().items())


def test_an_encoder_that_would_stay_random_is_refused(tmp_path):
    path, _ = official(tmp_path, width=8)
    config = run_config({'start_from': str(path), 'backbone': {'width': 4}})
    with pytest.raises(ConfigError, match='shares no encoder weights|lacks .* of the preset'):
        build('finetune', config)
    path, _ = official(tmp_path)
    deeper = run_config({'start_from': str(path),
                         'backbone': {'width': 4, 'num_blocks': (3, 4, 7, 3)}})
    with pytest.raises(ConfigError, match='lacks 18 weights .*: encoder.layer3.6.conv1.weight'):
        build('finetune', deeper)


def test_without_a_start_the_blocks_begin_as_their_shortcuts():
    model = TASKS['depth'](run_config()).build()
    assert not model.encoder.layer1[0].bn3.weight.any()
    conv = model.encoder.layer4[0].conv2.weight   # (32, 32, 3, 3): fan out 288
    assert float(conv.detach().std()) == pytest.approx(math.sqrt(2 / 288), rel=0.1)


@pytest.mark.parametrize('model, message', [
    ({'head': {'in_channels': (1, 2, 3, 4, 5)}}, 'the head reads maps of'),
    ({'head': {'channels': (8, 8)}}, 'model.head'),
    ({'backbone': {'width': 0}}, 'model.backbone')])
def test_impossible_changes_are_refused(model, message):
    with pytest.raises(ConfigError, match=message):
        TASKS['depth'](run_config(model)).build()


def test_a_run_ends_in_a_model_that_loads(records, tmp_path):
    config = run_config(steps=2, validate_every=2, checkpoint_every=2,
                        optimizer={'schedule': 'onecycle', 'clip_norm': 35.0, 'ema_decay': 0.0},
                        engine={'tensorboard': False})
    (tmp_path / 'run.yaml').write_text(dump_yaml(to_dict(config)))
    trainer = open_run('finetune', tmp_path / 'run.yaml', [], tmp_path / 'run',
                       records[0].parent, False, 'cpu', 0, lambda record: None)
    trainer.fit()
    _, architecture, weights, _ = load_run(tmp_path / 'run')
    save_weights(tmp_path / 'depth.safetensors', architecture, weights, torch.float32)
    model = load_model(tmp_path / 'depth.safetensors', 'depth')
    trainer.model.load_state_dict(weights)
    image = torch.randn(1, 3, 40, 72)   # of any size
    with torch.no_grad():
        out = model(image)
        np.testing.assert_allclose(out.value, trainer.model.eval()(image).value, atol=1e-5)
    assert out.value.shape == (1, 1, 40, 72)
