# SPDX-License-Identifier: Apache-2.0
"""A head is trained and measured by the loss that gives its scale a meaning."""
import math

from crossview_ros.config import from_dict
from crossview_ros.errors import ConfigError
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.heads import DptHeadConfig, MatchingHeadConfig, Prediction
from crossview_ros.networks.pretrained import resample_cosine
from crossview_ros.training.losses import matching_loss
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.setup import start_from
from crossview_ros.training.tasks import TASKS
from crossview_ros.training.tasks.matching import head_loss, log_scale
import pytest
import torch

SIZE = (2, 1, 3, 4)
BACKBONE = {'enc_embed_dim': 32, 'enc_num_layers': 2, 'enc_num_heads': 2, 'dec_embed_dim': 32,
            'dec_num_layers': 2, 'dec_num_heads': 2}
HEAD = {'hooks': (0, 1, 2, 3), 'layer_dims': (8, 8, 8, 8), 'feature_dim': 16, 'last_dim': 8}


def log_b(head, c):
    """Return croco.md 6.2 for one raw value."""
    sigmoid = 1 / (1 + math.exp(-c))
    return {'exp': lambda: c, 'bounded': lambda: math.log(0.25 + 3.75 * sigmoid),
            'symmetric': lambda: 6 * (1 / (1 + math.exp(-c / 3)) - 0.5)}[head.scale]()


@pytest.mark.parametrize('scale', ['exp', 'bounded', 'symmetric'])
@pytest.mark.parametrize('channels', [1, 2])
def test_a_dpt_head_has_the_official_loss_of_its_scale(scale, channels):
    head = DptHeadConfig(channels, scale)
    value = torch.zeros(1, channels, 2, 2)
    truth = torch.full((1, channels, 2, 2), 1.5)
    truth[..., 0] = math.nan
    prediction = Prediction(value, torch.full((1, 1, 2, 2), 0.7))
    expected = 1.5 * channels / math.exp(log_b(head, 0.7)) + log_b(head, 0.7)
    terms = head_loss(head, prediction, truth)
    assert terms['loss'].item() == terms['nll'].item() == pytest.approx(expected, rel=1e-5)
    assert terms['epe_px'].item() == pytest.approx(1.5 * channels ** 0.5, rel=1e-5)
    assert log_scale(head, prediction)[0, 0, 0, 0].item() == pytest.approx(log_b(head, 0.7))


def test_a_dpt_head_without_a_scale_has_the_l1_loss():
    head = DptHeadConfig(1, 'none')
    prediction = Prediction(torch.zeros(SIZE), None)
    terms = head_loss(head, prediction, torch.full(SIZE, 2.0))
    assert terms['loss'].item() == 2 and 'nll' not in terms
    assert log_scale(head, prediction) is None


def test_ranges_of_a_head_other_than_the_official_ones_count():
    head = DptHeadConfig(1, 'bounded', scale_range=(1.0, 3.0))
    terms = head_loss(head, Prediction(torch.zeros(SIZE), torch.zeros(SIZE)),
                      torch.full(SIZE, 4.0))
    assert terms['loss'].item() == pytest.approx(4 / 2 + math.log(2), rel=1e-6)


def test_a_matching_head_keeps_its_loss_and_its_log_b():
    head = MatchingHeadConfig('row')
    prediction = Prediction(torch.rand(SIZE), torch.rand(SIZE), (torch.rand(SIZE),))
    truth, occluded = torch.rand(SIZE), torch.rand(SIZE) < 0.5
    weight = torch.where(occluded, 0.3, 1.0)
    expected = matching_loss(prediction, truth, weight)
    terms = head_loss(head, prediction, truth, occluded)
    assert torch.equal(terms['loss'], expected['loss'])
    assert torch.equal(terms['epe_px'], expected['epe'])
    assert log_scale(head, prediction) is prediction.log_scale


def dpt_task(**values):
    config = from_dict(RunConfig, {
        'task': 'stereo', 'steps': 1, 'data': {'crop_hw': (32, 64)},
        'model': {'preset': 'crocostereo', 'backbone': BACKBONE, 'head': HEAD}, **values}, 'test')
    return TASKS['stereo'](config)


def test_validation_measures_a_dpt_head_by_its_own_scale():
    task = dpt_task()
    model = task.build()
    assert model.config.backbone.img_size == (32, 64)
    batch = {'left': torch.randn(1, 3, 32, 64), 'right': torch.randn(1, 3, 32, 64),
             'disparity': torch.full((1, 1, 32, 64), 5.0)}
    torch.nn.init.zeros_(model.heads['stereo'].leave.weight)
    model.heads['stereo'].leave.bias.data = torch.tensor([4.0, 2.0])   # disparity, c
    metrics = task.validate(model, [batch])
    scale = log_b(DptHeadConfig(1, 'symmetric'), 2.0)
    assert metrics == pytest.approx({'stereo_epe_px': 1, 'stereo_bad_2': 0,
                                     'stereo_nll': scale + math.exp(-scale)}, rel=1e-4)
    step = task.step(model, batch)
    assert step.loss.item() == pytest.approx(scale + math.exp(-scale), rel=1e-4)


@pytest.mark.parametrize('values, message', [
    ({'model': {'preset': 'crocoflow'}}, r"'crocoflow' has no head for \['stereo'\]"),
    ({'data': {'crop_hw': (48, 64)}}, 'must be multiples of twice the patch size 16'),
    ({'model': {'preset': 'crocostereo', 'backbone': {'enc_num_layer': 2}}},
     "unknown key 'enc_num_layer'; did you mean 'enc_num_layers'"),
    ({'model': {'preset': 'crocostereo', 'backbone': {'enc_num_heads': 7}}}, 'not divisible')])
def test_runs_that_cannot_be_built_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        dpt_task(**values).build()


@pytest.mark.parametrize('side', [64, 96])
def test_pretrained_positions_are_resampled_to_the_grid_of_the_crop(tmp_path, side):
    pretrained = CroCo(CroCoConfig(img_size=(side, side), **BACKBONE))
    path = tmp_path / 'pretrained.safetensors'
    save_weights(path, pretrained.config, pretrained.state_dict(), torch.float32)
    model = dpt_task(model={'preset': 'crocostereo', 'head': HEAD,
                            'backbone': {**BACKBONE, 'position': 'cosine'}}).build()
    start_from(model, str(path))
    own, given = model.state_dict(), pretrained.state_dict()
    for part in ('encoder', 'decoder'):
        expected = resample_cosine(given[f'{part}.pos_embed'], (2, 4))
        assert torch.equal(own[f'{part}.pos_embed'], expected)
        weight = f'{part}.blocks.0.attn.qkv.weight'
        assert torch.equal(own[weight], given[weight])
