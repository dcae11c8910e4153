# SPDX-License-Identifier: Apache-2.0
"""Promises of the CroCo encoder, decoder and pre-training model."""
import json

from crossview_ros.networks.croco import (
    CroCo, CroCoConfig, CroCoDecoder, CroCoEncoder, patchify, random_mask, unpatchify)
from crossview_ros.networks.official_keys import config_from_official, from_official_key
import numpy as np
import pytest
import torch

SMALL = {'enc_embed_dim': 16, 'enc_num_layers': 2, 'enc_num_heads': 2, 'dec_embed_dim': 24,
         'dec_num_layers': 2, 'dec_num_heads': 2, 'patch_size': 8}


def load_golden(path):
    with np.load(path, allow_pickle=False) as file:
        data = {key: file[key] for key in file.files}
    config = config_from_official(json.loads(str(data['meta_json']))['kwargs'])
    model = CroCo(config).eval()
    weights = {from_official_key(key[3:]): torch.from_numpy(value)
               for key, value in data.items() if key.startswith('sd/')}
    model.load_state_dict(weights)   # strict: every official key has its place and shape
    return model, {k: torch.from_numpy(v) for k, v in data.items() if v.dtype.kind in 'fib'}


@pytest.mark.parametrize('name', ['pretrain_v1_cosine', 'pretrain_v2_rope100'])
def test_same_numbers_as_the_reference(shared_dir, name):
    model, data = load_golden(shared_dir / 'reference' / 'golden' / 'croco' / f'{name}.npz')
    mask = next(v for k, v in data.items() if k.endswith('mask') and v.dtype == torch.bool)
    with torch.no_grad():
        out = model(data['in/img1'], data['in/img2'], mask)
    # 2e-5 is the tolerance of the golden README: float32 rounding in another order
    torch.testing.assert_close(out.patches, data['out/pred'], atol=2e-5, rtol=0)


@pytest.mark.parametrize('arguments, parameters', [
    ({}, 120_076_288),
    ({'pos_embed': 'RoPE100'}, 120_076_288),
    ({'dec_embed_dim': 768, 'dec_num_heads': 12, 'dec_depth': 12, 'pos_embed': 'RoPE100'},
     200_269_824),
    ({'enc_embed_dim': 1024, 'enc_depth': 24, 'enc_num_heads': 16, 'dec_embed_dim': 768,
      'dec_num_heads': 12, 'dec_depth': 12, 'pos_embed': 'RoPE100'}, 417_918_720)])
def test_released_sizes_have_their_published_parameter_count(arguments, parameters):
    with torch.device('meta'):
        model = CroCo(config_from_official(arguments))
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize('ratio, patches', [(0.9, 196), (0.75, 48), (0.5, 7)])
def test_mask_hides_exactly_the_truncated_share(ratio, patches):
    mask = random_mask(5, patches, ratio, generator=torch.Generator().manual_seed(0))
    assert mask.dtype == torch.bool
    assert mask.sum(1).tolist() == [int(ratio * patches)] * 5
    assert not (mask[0] == mask[1]).all()


def test_patches_are_ordered_row_column_channel_and_go_back():
    image = torch.arange(2 * 3 * 16 * 24.0).view(2, 3, 16, 24)
    patches = patchify(image, 8)
    assert patches.shape == (2, 6, 192)
    # patch 4 = second row, second column; its value (row 2, column 5, channel 1)
    assert patches[1, 4, (2 * 8 + 5) * 3 + 1] == image[1, 1, 8 + 2, 8 + 5]
    assert torch.equal(unpatchify(patches, 8, (2, 3)), image)


@pytest.mark.parametrize('stem', ['patch', 'conv'])
@pytest.mark.parametrize('position', ['cosine', 'rope'])
def test_hidden_pixels_do_not_leak_into_the_completion(stem, position):
    model = CroCo(CroCoConfig(img_size=(32, 48), stem=stem, position=position, **SMALL)).eval()
    target, reference = torch.randn(2, 2, 3, 32, 48)
    mask = random_mask(2, 24, 0.75)
    hidden = mask.view(2, 1, 4, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    other = torch.where(hidden, torch.randn_like(target), target)
    torch.testing.assert_close(model(target, reference, mask).patches,
                               model(other, reference, mask).patches)


def test_reference_view_matters_and_every_weight_learns():
    torch.manual_seed(0)
    model = CroCo(CroCoConfig(img_size=(32, 48), position='rope', **SMALL))
    target, reference = torch.randn(2, 2, 3, 32, 48)
    mask = random_mask(2, 24, 0.75)
    patches = model(target, reference, mask).patches
    assert (patches - model(target, reference.flip(0), mask).patches).abs().max() > 1e-4
    patches.square().mean().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None]


def test_zero_residuals_start_from_the_stem():
    config = CroCoConfig(position='rope', stem='conv', residual_init='zero', **SMALL)
    encoder = CroCoEncoder(config).eval()
    image = torch.randn(1, 3, 32, 48)
    expected = encoder.norm(encoder.patch_embed(image)[0].flatten(2).transpose(1, 2))
    torch.testing.assert_close(encoder(image).tokens[-1], expected)


def test_rope_follows_the_image_size_and_cosine_refuses_another():
    rope = CroCoEncoder(CroCoConfig(position='rope', **SMALL))
    assert rope(torch.randn(1, 3, 24, 40)).grid_hw == (3, 5)
    cosine = CroCoEncoder(CroCoConfig(img_size=(32, 48), **SMALL))
    with pytest.raises(ValueError, match=r'\(32, 48\).*got \(24, 40\)'):
        cosine(torch.randn(1, 3, 24, 40))
    with pytest.raises(ValueError, match='multiples of 8'):
        rope(torch.randn(1, 3, 25, 40))


def test_decoder_never_updates_the_memory():
    config = CroCoConfig(position='rope', **SMALL)
    decoder = CroCoDecoder(config).eval()
    seen = []
    for block in decoder.blocks:
        block.register_forward_hook(lambda module, inputs, output: seen.append(inputs[1]))
    decoder(torch.randn(1, 6, 16), torch.randn(1, 6, 16), (2, 3))
    assert len(seen) == 2 and torch.equal(seen[0], seen[1])
