# SPDX-License-Identifier: Apache-2.0
"""Promises of the CroCo encoder, decoder and pre-training model."""
import json

from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoDecoder, CroCoEncoder
from crossview_ros.networks.official_keys import config_from_official, from_official_key
from crossview_ros.networks.patches import patchify, random_mask, unpatchify
import numpy as np
import pytest
import torch

GOLDEN = 'reference/golden/croco'
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


def assert_same(actual, expected):
    # 2e-5 is the tolerance of the golden README: float32 rounding in another order
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize('name', ['pretrain_v1_cosine', 'pretrain_v2_rope100'])
def test_same_numbers_as_the_reference(shared_dir, name):
    model, data = load_golden(shared_dir / GOLDEN / f'{name}.npz')
    mask = data['in/mask']
    with torch.no_grad():
        out = model(data['in/img1'], data['in/img2'], mask)
        target, reference = model.encoder(data['in/img1'], mask), model.encoder(data['in/img2'])
        whole = model.encoder(data['in/img1'])
        decoded = model.decoder(target.tokens[-1], reference.tokens[-1], target.grid_hw, mask)
    assert_same(out.patches, data['out/pred'])
    assert torch.equal(out.mask, mask)
    for i, (tokens1, tokens2) in enumerate(zip(target.tokens[:-1], reference.tokens[:-1])):
        assert_same(tokens1, data[f'mid/img1/enc_blocks.{i}'])   # raw: only the last is normalised
        assert_same(tokens2, data[f'mid/img2/enc_blocks.{i}'])
    assert_same(target.tokens[-1], data['mid/feat1'])
    assert_same(reference.tokens[-1], data['mid/feat2'])
    assert_same(whole.tokens[-1], data['mid/feat1_nomask'])
    assert_same(decoded[0], data['mid/dec_blocks.0'])
    assert_same(decoded[-1], data['mid/dec'])


@pytest.mark.parametrize('name', ['binocular_stereo_dpt', 'binocular_flow_dpt'])
def test_backbone_without_mask_has_the_reference_numbers_on_a_wide_image(shared_dir, name):
    with np.load(shared_dir / GOLDEN / f'{name}.npz') as file:
        data = {key: torch.from_numpy(file[key]) for key in file.files if key != 'meta_json'}
        config = config_from_official(json.loads(str(file['meta_json']))['kwargs'])
    parts = torch.nn.ModuleDict({'encoder': CroCoEncoder(config), 'decoder': CroCoDecoder(config)})
    parts.load_state_dict({from_official_key(key[3:]): value for key, value in data.items()
                           if key.startswith('sd/') and not key.startswith('sd/head.')})
    with torch.no_grad():
        encoded1, encoded2 = (parts.encoder(data[f'in/img{i}']) for i in (1, 2))
        decoded = parts.decoder(encoded1.tokens[-1], encoded2.tokens[-1], encoded1.grid_hw)
    assert encoded1.grid_hw == (4, 6)
    assert_same(encoded1.tokens[0], data['mid/img1/enc_blocks.0'])
    assert_same(encoded1.tokens[-1], data['mid/enc_norm1'])
    assert_same(encoded2.tokens[-1], data['mid/enc_norm2'])
    for i, tokens in enumerate(decoded[:-1]):
        assert_same(tokens, data[f'mid/dec_blocks.{i}'])
    assert_same(decoded[-1], data['mid/dec_norm'])


@pytest.mark.parametrize('arguments, parameters, entries', [
    ({}, 120_076_288, 349),
    ({'pos_embed': 'RoPE100'}, 120_076_288, 347),
    ({'dec_embed_dim': 768, 'dec_num_heads': 12, 'dec_depth': 12, 'pos_embed': 'RoPE100'},
     200_269_824, 443),
    ({'enc_embed_dim': 1024, 'enc_depth': 24, 'enc_num_heads': 16, 'dec_embed_dim': 768,
      'dec_num_heads': 12, 'dec_depth': 12, 'pos_embed': 'RoPE100'}, 417_918_720, 587)])
def test_released_sizes_have_their_published_counts(arguments, parameters, entries):
    with torch.device('meta'):
        model = CroCo(config_from_official(arguments))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(model.state_dict()) == entries   # croco.md 2


@pytest.mark.parametrize('case', range(4))
def test_mask_follows_from_the_noise_as_in_the_reference(shared_dir, case, monkeypatch):
    with np.load(shared_dir / GOLDEN / 'misc.npz') as file:
        noise, expected = (torch.from_numpy(file[f'mask/{case}/{k}']) for k in ('noise', 'mask'))
        patches, ratio = json.loads(str(file['meta_json']))['mask'][case]
    monkeypatch.setattr(torch, 'rand', lambda *args, **kwargs: noise)
    assert torch.equal(random_mask(len(noise), patches, ratio), expected)


@pytest.mark.parametrize('name', ['pretrain_v1_cosine', 'pretrain_v2_rope100'])
def test_seed_gives_the_reference_mask(shared_dir, name):
    with np.load(shared_dir / GOLDEN / f'{name}.npz') as file:
        expected = torch.from_numpy(file['in/mask'])
        meta = json.loads(str(file['meta_json']))
    ratio = meta['kwargs'].get('mask_ratio', 0.9)
    generator = torch.Generator().manual_seed(meta['mask_seed'])
    assert torch.equal(random_mask(*expected.shape, ratio, generator=generator), expected)


def test_patches_are_the_reference_patches(shared_dir):
    with np.load(shared_dir / GOLDEN / 'misc.npz') as file:
        image, expected = (torch.from_numpy(file[f'patchify/{k}']) for k in ('in', 'out'))
    assert torch.equal(patchify(image, 16), expected)


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


@pytest.mark.parametrize('mask, message', [
    (torch.tensor([[True, False] * 12, [True] * 24]), r'equally many.*\[12, 24\]'),
    (torch.ones(2, 12, dtype=torch.bool), r'shape \(2, 24\), got torch.bool of \(2, 12\)'),
    (torch.ones(1, 24, dtype=torch.bool), r'shape \(2, 24\), got torch.bool of \(1, 24\)'),
    (torch.ones(2, 24), 'must be bool.*got torch.float32')])
def test_masks_that_would_show_hidden_patches_are_refused(mask, message):
    encoder = CroCoEncoder(CroCoConfig(position='rope', **SMALL))
    with pytest.raises(ValueError, match=message):
        encoder(torch.randn(2, 3, 32, 48), mask)


@pytest.mark.parametrize('values, message', [
    ({'enc_num_heads': 5}, 'width 768 is not divisible by 5 heads'),
    ({'mask_ratio': 1.0}, r'mask_ratio must lie in \(0, 1\), got 1.0'),
    ({'stem': 'conv', 'patch_size': 4}, 'patch_size 8 or 16, got 4'),
    ({'position': 'rope', 'enc_embed_dim': 18, 'enc_num_heads': 3}, 'multiple of 4, got 18 / 3'),
    ({'rope_base': 0.0}, 'rope_base must be positive and finite, got 0.0'),
    ({'dec_num_layers': 0}, 'dec_num_layers must be greater than 0, got 0')])
def test_impossible_architectures_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        CroCoConfig(**values)


@pytest.mark.parametrize('stem, position', [('patch', 'cosine'), ('conv', 'rope')])
def test_bfloat16_autocast_trains_and_stays_close(stem, position):
    torch.manual_seed(0)
    model = CroCo(CroCoConfig(img_size=(32, 48), stem=stem, position=position, **SMALL))
    target, reference = torch.randn(2, 2, 3, 32, 48)
    mask = random_mask(2, 24, 0.75)
    with torch.autocast('cpu', torch.bfloat16):
        low = model(target, reference, mask).patches
    low.float().square().mean().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    full = model(target, reference, mask).patches
    # bfloat16 keeps 8 bits; some ten roundings in a row stay below 5 % of the largest value
    assert (low.float() - full).abs().max() < 0.05 * full.abs().max()


def test_initial_mask_token_and_head_are_those_of_the_paper():
    torch.manual_seed(0)
    model = CroCo(CroCoConfig(dec_num_layers=1, enc_num_layers=1))
    assert model.decoder.mask_token.std().item() == pytest.approx(0.02, rel=0.15)   # 512 numbers
    assert not model.head.bias.any()


@pytest.mark.parametrize('warm', [False, True])
@pytest.mark.filterwarnings('ignore')   # the tracer warns of sizes that become constants
def test_onnx_graph_gives_the_same_numbers(tmp_path, warm):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    runtime = pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
    model = _Decoded(CroCoConfig(position='rope', stem='conv', **SMALL)).eval()
    images = torch.randn(2, 1, 3, 32, 48)
    if warm:
        model(*images)
    path = tmp_path / 'model.onnx'
    torch.onnx.export(model, tuple(images), str(path), input_names=['a', 'b'], dynamo=False)
    session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    out, = session.run(None, {'a': images[0].numpy(), 'b': images[1].numpy()})
    # float32 rounding of another engine over four blocks
    np.testing.assert_allclose(out, model(*images).detach(), atol=2e-5)


class _Decoded(torch.nn.Module):

    def __init__(self, config):
        super().__init__()
        self.encoder, self.decoder = CroCoEncoder(config), CroCoDecoder(config)

    def forward(self, image1, image2):
        features1, features2 = self.encoder(image1), self.encoder(image2)
        return self.decoder(features1.tokens[-1], features2.tokens[-1], features1.grid_hw)[-1]
