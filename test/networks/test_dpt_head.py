# SPDX-License-Identifier: Apache-2.0
"""Promises of the DPT head: the numbers of the reference, for two views and for one."""
import argparse
from dataclasses import replace
import json
import lzma

from crossview_ros.config import from_dict, to_dict
from crossview_ros.networks.croco import CroCoConfig, CroCoDecoder, CroCoEncoder
from crossview_ros.networks.downstream import (
    encode_views, ModelConfig, MultiTaskModel, Normalisation, OneViewModel, TwoViewModel)
from crossview_ros.networks.heads import DptHead, DptHeadConfig, HEADS, MatchingHeadConfig
from crossview_ros.networks.official_keys import config_from_official, from_official_key
import numpy as np
import pytest
import torch

GOLDEN = 'reference/golden/croco'
SMALL = CroCoConfig(enc_embed_dim=16, enc_num_layers=2, enc_num_heads=2, dec_embed_dim=24,
                    dec_num_layers=2, dec_num_heads=2, position='rope')
HEAD = DptHeadConfig(1, hooks=(0, 1, 2, 3), layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4)


def head_config(meta, scale='exp'):
    head = meta['head']
    return DptHeadConfig(head['num_channels'] - (scale != 'none'), scale, head['hooks_idx'],
                         head['layer_dims'], head['feature_dim'], head['last_dim'])


def two_views(backbone, head):
    return TwoViewModel(CroCoEncoder(backbone), CroCoDecoder(backbone), DptHead(head, backbone),
                        Normalisation()).eval()


def load_golden(path):
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    meta = json.loads(str(data.pop('meta_json')))
    return meta, {key: torch.from_numpy(value) for key, value in data.items()}


def official_weights(tensors, prefix=''):
    return {from_official_key(key[len(prefix):]): value for key, value in tensors.items()
            if key.startswith(prefix)}


@pytest.mark.parametrize('name', ['binocular_stereo_dpt', 'binocular_flow_dpt'])
def test_two_views_give_the_numbers_of_the_reference(shared_dir, name):
    meta, data = load_golden(shared_dir / GOLDEN / f'{name}.npz')
    model = two_views(config_from_official(meta['kwargs']), head_config(meta))
    model.load_state_dict(official_weights(data, 'sd/'))   # strict: each key has its place
    maps = {}
    for i in range(4):
        model.head.reassemble[i].register_forward_hook(_keep(maps, f'act_{i + 1}_postprocess'))
        model.head.fuse[i].register_forward_hook(_keep(maps, f'refinenet{i + 1}'))
    with torch.no_grad():
        out = model(data['in/img1'], data['in/img2'])
    # f32_vs_f64_maxabs of the files: 0.8e-5 and 1.5e-5 is what float32 rounding alone does,
    # and both sides are rounded
    assert _distance(out.value, data['out/pred']) < 3e-5
    assert _distance(out.log_scale, data['out/conf']) < 3e-5
    for key, value in maps.items():
        assert _distance(value, data[f'mid/dpt/{key}']) < 3e-5


def test_one_view_gives_the_numbers_of_the_reference(shared_dir):
    meta, data = load_golden(shared_dir / GOLDEN / 'monocular_dpt.npz')
    backbone = config_from_official(meta['kwargs'])
    model = OneViewModel(CroCoEncoder(backbone), DptHead(head_config(meta, 'none'), backbone,
                                                         decoder=False), Normalisation()).eval()
    model.load_state_dict(official_weights(data, 'sd/'))
    with torch.no_grad():
        out = model(data['in/img'])
    assert out.log_scale is None
    assert _distance(out.value, data['out/raw']) < 2e-5


def test_a_head_of_official_width_gives_the_numbers_of_the_reference(shared_dir, tmp_path):
    folder = shared_dir / GOLDEN
    meta, data = load_golden(folder / 'ckpt_stereo_fullhead_expected.npz')
    path = tmp_path / 'checkpoint.pth'
    path.write_bytes(lzma.decompress((folder / 'ckpt_stereo_fullhead.pth.xz').read_bytes()))
    model = two_views(config_from_official(meta['croco_args']), DptHeadConfig(1))
    with torch.serialization.safe_globals([argparse.Namespace]):
        state = torch.load(path, weights_only=True)['model']
    model.load_state_dict(official_weights(state))
    rows, cols = meta['crop']
    with torch.no_grad():
        out = model(*(data[f'in/img{i}'][..., :rows, :cols] for i in (1, 2)))
    raw = torch.cat((out.value, out.log_scale), 1)
    assert _distance(raw, data['out/raw_topleft_tile']) < 5e-4   # the README's, for full widths


@pytest.mark.parametrize('backbone, hooks, num_values, parameters', [
    ({}, (10, 13, 16, 19), 1, 19_721_890),
    ({}, (10, 13, 16, 19), 2, 19_721_923),
    ({'dec_embed_dim': 768, 'dec_num_layers': 12, 'dec_num_heads': 12}, (11, 15, 19, 23), 1,
     20_065_954),
    ({'enc_embed_dim': 1024, 'enc_num_layers': 24, 'enc_num_heads': 16, 'dec_embed_dim': 768,
      'dec_num_layers': 12, 'dec_num_heads': 12}, (23, 27, 31, 35), 1, 20_090_530)])
def test_released_sizes_have_their_published_hooks_and_counts(backbone, hooks, num_values,
                                                              parameters):
    with torch.device('meta'):
        head = DptHead(DptHeadConfig(num_values), CroCoConfig(**backbone))
    assert head.hooks == hooks
    assert sum(p.numel() for p in head.parameters()) == parameters
    assert len(head.state_dict()) == 82 - 18   # official entries without the 18 aliases


@pytest.mark.parametrize('layers, hooks', [(12, (2, 5, 8, 11)), (24, (5, 11, 17, 23))])
def test_without_decoder_the_hooks_quarter_the_encoder(layers, hooks):
    with torch.device('meta'):
        head = DptHead(DptHeadConfig(1), CroCoConfig(enc_num_layers=layers), decoder=False)
    assert head.hooks == hooks


@pytest.mark.parametrize('scale', ['exp', 'bounded', 'symmetric'])
def test_the_last_channel_comes_out_as_it_is_whatever_it_means(scale):
    torch.manual_seed(0)
    model = two_views(SMALL, replace(HEAD, scale=scale)).eval()
    views = torch.randn(2, 1, 3, 32, 64)
    with torch.no_grad():
        features = encode_views(model.encoder, list(views))
        decoded = model.decoder(features[0].tokens[-1], features[1].tokens[-1], (2, 4))
        raw = model.head.raw(features[0].tokens + decoded, (2, 4))
        out = model(*views)
    assert torch.equal(torch.cat((out.value, out.log_scale), 1), raw)


def test_the_range_of_a_scale_is_that_of_the_official_loss_unless_it_is_named():
    # croco.md 6.2
    assert DptHeadConfig(1, 'bounded').scale_range == (0.25, 4.0)
    assert DptHeadConfig(1, 'symmetric').scale_range == (3.0, 3.0)
    assert DptHeadConfig(1, 'bounded', scale_range=(0.5, 3.0)).scale_range == (0.5, 3.0)
    assert DptHeadConfig(1).scale_range is None


@pytest.mark.parametrize('config, backbone, message', [
    (DptHeadConfig(1), SMALL, 'default for 8, 12, 24 decoder blocks only'),
    (DptHeadConfig(1, hooks=(0, 1, 2, 4)), SMALL, r'hooks must lie in \[0, 4\)'),
    (HEAD, CroCoConfig(patch_size=14), 'needs patches of 8 or 16 px, got 14')])
def test_heads_that_do_not_fit_the_backbone_are_refused(config, backbone, message):
    with pytest.raises(ValueError, match=message):
        DptHead(config, backbone)


@pytest.mark.parametrize('values, message', [
    ({'num_values': 0}, 'num_values must be at least 1'),
    ({'num_values': 1, 'feature_dim': 7}, 'feature_dim must be even, got 7'),
    ({'num_values': 1, 'scale_range': (1.0, 2.0)}, "scale 'exp' has no scale_range"),
    ({'num_values': 1, 'scale': 'symmetric', 'scale_range': (0.0, 1.0)}, 'above 0.*got .0.0, 1'),
    ({'num_values': 1, 'scale': 'bounded', 'scale_range': (4.0, 0.25)}, 'rising for bounded')])
def test_impossible_sizes_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        DptHeadConfig(**values)


@pytest.mark.parametrize('patch_size, multiple', [(16, 32), (8, 16)])
def test_sides_that_are_no_multiple_of_two_patches_are_refused(patch_size, multiple):
    model = two_views(replace(SMALL, patch_size=patch_size), HEAD)
    height = multiple + patch_size
    with pytest.raises(ValueError, match=f'multiples of {multiple} px, got {height} x 64'):
        model(*torch.zeros(2, 1, 3, height, 64))


@pytest.mark.parametrize('patch_size', [16, 8])
def test_the_output_has_the_size_of_the_image_and_every_used_weight_learns(patch_size):
    model = two_views(replace(SMALL, patch_size=patch_size), HEAD)
    out = model(*torch.randn(2, 2, 3, 32, 64))
    assert out.value.shape == out.log_scale.shape == (2, 1, 32, 64)
    (out.value.sum() + out.log_scale.sum()).backward()
    unused = {name.rsplit('.', 2)[0] for name, p in model.head.named_parameters()
              if p.grad is None}
    assert unused == {'fuse.3.residual1'}   # croco.md 3.4: it never runs


def test_the_second_view_matters():
    model = two_views(SMALL, HEAD)
    image1, image2, other = torch.randn(3, 1, 3, 32, 32)
    with torch.no_grad():
        assert not torch.allclose(model(image1, image2).value, model(image1, other).value)


def test_one_model_mixes_kinds_of_heads_and_its_architecture_is_read_back():
    backbone = CroCoConfig(enc_embed_dim=16, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=16,
                           dec_num_layers=2, dec_num_heads=2, position='rope', stem='conv',
                           stem_dims=(8, 8, 8))
    config = ModelConfig(backbone, {
        'stereo': DptHeadConfig(1, 'none', (0, 0, 1, 2), (4, 4, 4, 4), 8, 4),
        'flow': MatchingHeadConfig('plane', feature_dim=8, hidden_dim=8, fine_hidden_dim=8,
                                   fine_dim=8, fine_radius=1)})
    model = MultiTaskModel(from_dict(ModelConfig, json.loads(json.dumps(to_dict(config)))))
    assert model.config == config
    assert [type(model.heads[name]) for name in ('stereo', 'flow')] == \
        [HEADS['dpt'], HEADS['matching']]
    views = model.encode_views(list(torch.randn(2, 1, 3, 64, 64)))
    for task, channels in (('stereo', 1), ('flow', 2)):
        assert model.predict(task, *views).value.shape == (1, channels, 64, 64)


def _keep(maps, name):
    return lambda module, inputs, output: maps.update({name: output})


def _distance(actual, expected):
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()
