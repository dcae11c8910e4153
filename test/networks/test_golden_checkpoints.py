# SPDX-License-Identifier: Apache-2.0
"""Golden models, read as official files: their outputs, and what conversion leaves of them."""
import argparse

from crossview_ros.export.convert import convert_official
from crossview_ros.export.official import write_official
from crossview_ros.networks.checkpoint import load_model, load_network
from crossview_ros.networks.croco import CroCo
from crossview_ros.networks.downstream import MultiTaskModel, OneViewModel, TwoViewModel
from crossview_ros.networks.official_keys import from_official_key
from crossview_ros.networks.presets import croco_stereo, croco_v2_vitb_small
from official_models import (
    backbone_of, distance, GOLDEN, golden_checkpoint, load_golden, load_pth, normalised,
    official_state, recipe_tensor, recipe_weights, state_of, training_args)
import pytest
import torch

PRETRAINING = ('ckpt_pretrain_trainloop', 'ckpt_pretrain_released_v2')
TOLERANCE = {'ckpt_stereo': 1e-4, 'ckpt_flow': 1e-4, 'ckpt_stereo_fullhead': 5e-4}   # README


def complete(model, data):
    with torch.no_grad():
        return model(data['in/img1'], data['in/img2'], data['in/mask']).patches


def top_left(model, meta, data):
    rows, cols = meta['crop']
    with torch.no_grad():
        return model(*(data[f'in/img{i}'][..., :rows, :cols] for i in (1, 2)))


def raw(prediction):
    return torch.cat((prediction.value, prediction.log_scale), 1)


@pytest.mark.parametrize('name', PRETRAINING)
def test_a_pretraining_checkpoint_completes_as_the_reference(shared_dir, name, tmp_path):
    _, data = load_golden(shared_dir / GOLDEN / 'ckpt_pretrain_trainloop_expected.npz')
    source = golden_checkpoint(shared_dir, name, tmp_path)
    model = load_model(source)
    assert isinstance(model, CroCo) and not model.training
    assert model.normalisation.mean == (0.485, 0.456, 0.406)
    assert distance(complete(model, data), data['out/pred']) < 2e-5
    convert_official([source], tmp_path / 'ours')
    converted = load_model(tmp_path / 'ours')
    assert torch.equal(complete(converted, data), complete(model, data))
    check_round_trip(source, [source, tmp_path / 'ours'], tmp_path / 'back.pth')


@pytest.mark.parametrize('name', TOLERANCE)
def test_a_dense_checkpoint_gives_the_raw_output_of_the_reference(shared_dir, name, tmp_path):
    meta, data = load_golden(shared_dir / GOLDEN / f'{name}_expected.npz')
    source = golden_checkpoint(shared_dir, name, tmp_path)
    model = load_model(source)
    assert isinstance(model, TwoViewModel) and not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    prediction = top_left(model, meta, data)
    assert distance(raw(prediction), data['out/raw_topleft_tile']) < TOLERANCE[name]
    convert_official([source], tmp_path / 'ours')
    converted = load_model(tmp_path / 'ours', meta['task'])
    assert torch.equal(raw(top_left(converted, meta, data)), raw(prediction))
    check_round_trip(source, [source, tmp_path / 'ours'], tmp_path / 'back.pth')


def test_half_precision_storage_is_for_those_who_ask_for_it(shared_dir, tmp_path):
    source = golden_checkpoint(shared_dir, 'ckpt_flow', tmp_path)
    files = [convert_official([source], tmp_path / str(dtype), dtype)[0]
             for dtype in (torch.float32, torch.float16)]
    assert files[1].stat().st_size < 0.65 * files[0].stat().st_size


@pytest.mark.parametrize('name', ['pretrain_v1_cosine', 'pretrain_v2_rope100'])
def test_golden_pretraining_models_pass_through_files(shared_dir, name, tmp_path):
    meta, data = load_golden(shared_dir / GOLDEN / f'{name}.npz')
    source = tmp_path / 'model.pth'
    torch.save({'model': state_of(data), 'croco_kwargs': meta['kwargs']}, source)
    assert distance(complete(load_model(source), data), data['out/pred']) < 2e-5
    convert_official([source], tmp_path / 'ours')
    assert distance(complete(load_model(tmp_path / 'ours'), data), data['out/pred']) < 2e-5
    check_round_trip(source, [tmp_path / 'ours'], tmp_path / 'back.pth')


def test_golden_flow_of_default_hooks_passes_through_files(shared_dir, tmp_path):
    meta, data = load_golden(shared_dir / GOLDEN / 'binocular_flow_dpt.npz')
    source = tmp_path / 'model.pth'
    torch.save({'model': state_of(data), 'args': training_args(
        'flow', 'LaplacianLoss()', meta['kwargs'])}, source)
    with torch.no_grad():
        out = load_model(source, 'flow')(data['in/img1'], data['in/img2'])
    assert distance(out.value, data['out/pred']) < 3e-5
    assert distance(out.log_scale, data['out/conf']) < 3e-5
    check_round_trip(source, [source], tmp_path / 'back.pth')


def test_golden_monocular_model_passes_through_files(shared_dir, tmp_path):
    meta, data = load_golden(shared_dir / GOLDEN / 'monocular_dpt.npz')
    source = tmp_path / 'model.pth'
    torch.save({'model': state_of(data), 'croco_kwargs': meta['kwargs']}, source)
    convert_official([source], tmp_path / 'ours')
    for path in (source, tmp_path / 'ours'):
        model = load_model(path)
        assert isinstance(model, OneViewModel) and model.normalisation.channels == 'rgb'
        with torch.no_grad():
            out = model(data['in/img'])
        assert out.log_scale is None and distance(out.value, data['out/raw']) < 2e-5
    check_round_trip(source, [source, tmp_path / 'ours'], tmp_path / 'back.pth')


def test_the_recipe_makes_the_weights_of_the_golden_models(shared_dir):
    # the promise that the full-size tests below stand on
    meta, data = load_golden(shared_dir / GOLDEN / 'pretrain_v1_cosine.npz')
    network = CroCo(backbone_of(meta))
    state = state_of(data)
    for key in ('mask_token', 'enc_norm.weight', 'enc_blocks.0.attn.qkv.weight',
                'dec_blocks.1.cross_attn.projk.weight', 'dec_norm.bias'):
        made = recipe_tensor(key, tuple(state[key].shape), meta['weight_seed'])
        assert torch.equal(made, state[key])
    made = recipe_weights(network, meta['weight_seed'])
    assert torch.equal(made['encoder.pos_embed'], state['enc_pos_embed'])


def test_a_pretraining_model_of_released_size_completes_as_the_reference(shared_dir):
    meta, data = load_golden(shared_dir / GOLDEN / 'full_v2_vitb_smalldec_224.npz')
    assert croco_v2_vitb_small() == backbone_of(meta)
    with torch.device('meta'):
        model = CroCo(croco_v2_vitb_small())
    assert sum(p.numel() for p in model.parameters()) == meta['params']
    weights = recipe_weights(model, meta['recipe_seed'])
    for key, sums in meta['weight_check'].items():
        values = weights[from_official_key(key)].double()
        assert [values.sum().item(), values.abs().sum().item()] == pytest.approx(sums, rel=1e-5)
    model.load_state_dict(weights, assign=True)
    with torch.no_grad():
        out = model(normalised(data['in/img1_u8']), normalised(data['in/img2_u8']),
                    data['in/mask'])
    assert distance(out.patches, data['out/pred']) < 2e-5


def test_a_stereo_model_of_released_size_passes_through_files(shared_dir, tmp_path):
    meta, data = load_golden(shared_dir / GOLDEN / 'full_stereo_vitb_smalldec_64x96.npz')
    config = croco_stereo(croco_v2_vitb_small, (64, 96), 'exp')
    assert config.backbone == backbone_of(meta)
    with torch.device('meta'):
        model = MultiTaskModel(config)
    assert sum(p.numel() for p in model.parameters()) == meta['params']
    model.load_state_dict(recipe_weights(model, meta['recipe_seed']), assign=True)
    source = tmp_path / 'model.pth'
    torch.save({'model': official_state(model), 'args': training_args(
        'stereo', 'LaplacianLoss()', meta['kwargs'])}, source)
    loaded = load_network(source)
    assert loaded.config == config
    with torch.no_grad():
        out = loaded.task('stereo')(normalised(data['in/img1_u8']),
                                    normalised(data['in/img2_u8']))
    assert distance(raw(out), data['out/raw']) < 5e-4


def check_round_trip(original, sources, out):
    """Write each source as an official file: the weights of the original, key for key."""
    expected = load_pth(original)['model']
    for source in sources:
        write_official(source, out)
        content = load_pth(out)
        assert set(content['model']) == set(expected)
        for key, value in expected.items():
            assert torch.equal(content['model'][key], value), key
        args = content.get('args')
        assert 'croco_kwargs' in content or isinstance(args, argparse.Namespace)
