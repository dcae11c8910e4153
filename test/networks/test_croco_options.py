# SPDX-License-Identifier: Apache-2.0
"""Every option of the pre-training model against a slow model; the initial weights' statistics."""
from completion_oracle import complete
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.patches import random_mask
import numpy as np
import pytest
import torch

SMALL = {'enc_embed_dim': 24, 'enc_num_layers': 2, 'enc_num_heads': 3, 'dec_embed_dim': 16,
         'dec_num_layers': 2, 'dec_num_heads': 2, 'patch_size': 8, 'img_size': (24, 40)}


def lively(config):
    """Make a model whose biases, norms and tokens are far from what they start as."""
    torch.manual_seed(1)
    model = CroCo(config).eval()
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize('options', [
    {'position': 'cosine'}, {'position': 'rope'}, {'position': 'rope', 'rope_base': 7.5},
    {'position': 'cosine', 'norm_memory': False}, {'position': 'rope', 'norm_memory': False},
    {'position': 'rope', 'mlp_ratio': 2.5},
    {'position': 'cosine', 'img_size': (48, 32), 'patch_size': 16},
    {'position': 'rope', 'img_size': (64, 96), 'patch_size': 32},
    {'position': 'rope', 'mask_ratio': 0.5, 'enc_num_heads': 6, 'dec_num_heads': 4},
], ids=lambda options: ' '.join(f'{k}={v}' for k, v in options.items()))
def test_every_option_gives_the_numbers_of_the_slow_model(options):
    config = CroCoConfig(**{**SMALL, **options})
    model = lively(config)
    target, reference = torch.randn(2, 2, 3, *config.img_size)
    rows, cols = config.grid_hw
    mask = random_mask(2, rows * cols, config.mask_ratio)
    with torch.no_grad():
        patches = model(target, reference, mask).patches
    weights = {name: value.double().numpy() for name, value in model.state_dict().items()}
    expected = complete(weights, config, target.double().numpy(), reference.double().numpy(),
                        mask.numpy())
    assert patches.shape == (2, rows * cols, 3 * config.patch_size ** 2)
    # float32 against float64 over four blocks: 2e-5 of the largest value, as the golden files
    np.testing.assert_allclose(patches, expected, atol=2e-5 * max(1, np.abs(expected).max()))


def test_a_masked_image_without_reference_norms_has_no_such_weights():
    names = set(CroCo(CroCoConfig(**SMALL, norm_memory=False)).state_dict())
    assert not [name for name in names if 'norm_y' in name]


@pytest.mark.parametrize('size_hw', [(32, 48), (48, 32), (64, 16)])
def test_a_conv_stem_completes_images_of_any_shape(size_hw):
    config = CroCoConfig(**{**SMALL, 'img_size': size_hw}, position='rope', stem='conv',
                         stem_dims=(4, 8, 8))
    out = CroCo(config)(torch.randn(2, 3, *size_hw), torch.randn(2, 3, *size_hw))
    count = size_hw[0] * size_hw[1] // 64
    assert out.patches.shape == (2, count, 192) and out.patches.isfinite().all()
    assert out.mask.sum(1).tolist() == [int(0.9 * count)] * 2


@pytest.fixture(scope='module')
def initial():
    torch.manual_seed(0)
    return CroCo(CroCoConfig(enc_num_layers=1, dec_num_layers=1))


def test_linear_layers_start_xavier_uniform_with_zero_bias(initial):
    linears = {name: layer for name, layer in initial.named_modules()
               if isinstance(layer, torch.nn.Linear)}
    assert linears['encoder.blocks.0.attn.qkv'].weight.shape == (2304, 768)   # as one matrix
    for name, layer in linears.items():
        bound = (6 / sum(layer.weight.shape)) ** 0.5
        assert_uniform(layer.weight, bound, name)
        assert not layer.bias.any(), name


def test_the_patch_projection_starts_as_a_matrix_of_patches(initial):
    layer = initial.encoder.patch_embed.proj
    assert_uniform(layer.weight, (6 / (768 + 3 * 16 ** 2)) ** 0.5, 'weight')   # E, 3 p p
    assert_uniform(layer.bias, (3 * 16 ** 2) ** -0.5, 'bias')                  # Conv2d's own


def test_norms_start_as_identity_and_the_mask_token_small(initial):
    for name, layer in initial.named_modules():
        if isinstance(layer, torch.nn.LayerNorm):
            assert (layer.weight == 1).all() and not layer.bias.any(), name
            assert layer.eps == 1e-6, name
    token = initial.decoder.mask_token
    assert token.std().item() == pytest.approx(0.02, rel=0.15)   # 512 numbers: sigma 3 %
    assert abs(token.mean().item()) < 0.004


def assert_uniform(values, bound, name):
    """Check the range, and mean and variance to five standard errors."""
    values = values.detach().double().flatten()
    count = len(values)
    assert values.abs().max() <= bound, name
    assert values.abs().max() > bound * (1 - 20 / count), name
    assert abs(values.mean()) < 5 * bound / (3 * count) ** 0.5, name
    # the variance of x^2 is 4/45 bound^4
    assert abs(values.square().mean() - bound ** 2 / 3) < 5 * bound ** 2 * (4 / 45 / count) ** 0.5
