# SPDX-License-Identifier: Apache-2.0
"""Promises of the transformer blocks and stems of CroCo."""
import math

from crossview_ros.networks.layers import (
    Attention, ConvStem, CrossAttention, DecoderBlock, EncoderBlock, initialise, Mlp, PatchEmbed)
from crossview_ros.networks.patches import patchify
from crossview_ros.networks.position import RoPE2D, rotate
import pytest
import torch
import torch.nn.functional as F

CPU = torch.device('cpu')


def slow_attention(q, k, v, heads, q_table=None, k_table=None):
    """Attend head by head in the words of croco.md 1.6; heads are contiguous channels."""
    out = []
    for q1, k1, v1 in zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1)):
        if q_table is not None:
            q1, k1 = (rotate(x[:, None], t)[:, 0] for x, t in ((q1, q_table), (k1, k_table)))
        weights = (q1 @ k1.transpose(1, 2) / math.sqrt(q1.shape[-1])).softmax(-1)
        out.append(weights @ v1)
    return torch.cat(out, -1)


@pytest.fixture
def tables():
    rope = RoPE2D(8)
    return rope((2, 3), CPU), rope((1, 4), CPU)


@pytest.mark.parametrize('rotated', [False, True])
def test_self_attention_agrees_with_the_formula(tables, rotated):
    layer = Attention(24, 3).double()
    x = torch.randn(2, 6, 24, dtype=torch.float64)
    table = tables[0] if rotated else None
    q, k, v = F.linear(x, layer.qkv.weight, layer.qkv.bias).split(24, -1)   # q | k | v
    expected = layer.proj(slow_attention(q, k, v, 3, table, table))
    torch.testing.assert_close(layer(x, [table], [6]), expected)


def test_images_in_one_row_of_tokens_do_not_see_each_other(tables):
    layer = Attention(24, 3).double()
    views = [torch.randn(2, n, 24, dtype=torch.float64) for n in (6, 4)]
    together = layer(torch.cat(views, 1), list(tables), [6, 4])
    alone = [layer(view, [table], [view.shape[1]]) for view, table in zip(views, tables)]
    torch.testing.assert_close(together, torch.cat(alone, 1))


def test_cross_attention_reads_keys_and_values_from_a_memory_of_another_size(tables):
    layer = CrossAttention(24, 3).double()
    x, memory = (torch.randn(2, n, 24, dtype=torch.float64) for n in (6, 4))
    expected = layer.proj(slow_attention(
        layer.projq(x), layer.projk(memory), layer.projv(memory), 3, *tables))
    torch.testing.assert_close(layer(x, memory, *tables), expected)


def test_mlp_uses_the_exact_gelu():
    mlp = Mlp(4, 2.5).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    hidden = mlp.fc1(x)
    assert hidden.shape == (3, 10)
    torch.testing.assert_close(
        mlp(x), mlp.fc2(hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))))


def test_encoder_block_adds_attention_then_mlp():
    block = EncoderBlock(16, 2, 4)
    x = torch.randn(1, 6, 16)
    middle = x + block.attn(F.layer_norm(x, (16,), eps=1e-6), [None], [6])
    expected = middle + block.mlp(F.layer_norm(middle, (16,), eps=1e-6))
    torch.testing.assert_close(block(x, [None], [6]), expected)


@pytest.mark.parametrize('norm_memory, tensors', [(True, 24), (False, 22)])
def test_decoder_block_attends_itself_then_the_memory(norm_memory, tensors):
    block = DecoderBlock(16, 2, 4, norm_memory)
    x, memory = torch.randn(1, 6, 16), torch.randn(1, 4, 16) * 3
    y = F.layer_norm(memory, (16,), eps=1e-6) if norm_memory else memory
    expected = x + block.attn(F.layer_norm(x, (16,), eps=1e-6), [None], [6])
    expected = expected + block.cross_attn(
        F.layer_norm(expected, (16,), eps=1e-6), y, None, None)
    expected = expected + block.mlp(F.layer_norm(expected, (16,), eps=1e-6))
    torch.testing.assert_close(block(x, memory, None, None), expected)
    assert len(block.state_dict()) == tensors   # croco.md 5.2
    assert any(key.startswith('norm_y') for key in block.state_dict()) == norm_memory


def test_patch_embedding_is_one_linear_map_per_patch():
    embed = PatchEmbed(4, 6)
    image = torch.randn(2, 3, 8, 12)
    weight = embed.proj.weight.permute(0, 2, 3, 1).flatten(1)   # row, column, channel
    expected = F.linear(patchify(image, 4), weight, embed.proj.bias)
    out, maps = embed(image)
    assert out.shape == (2, 6, 2, 3) and maps == []
    torch.testing.assert_close(out.flatten(2).transpose(1, 2), expected)


@pytest.mark.parametrize('patch_size', [8, 16])
def test_conv_stem_gives_the_patch_grid_and_maps_at_a_quarter_an_eighth_and_a_half(patch_size):
    stem = ConvStem(patch_size, 10, (4, 6, 8))
    out, (quarter, eighth, half) = stem(torch.randn(2, 3, 32, 64))
    assert out.shape == (2, 10, 32 // patch_size, 64 // patch_size)
    assert quarter.shape == (2, 6, 8, 16) and eighth.shape == (2, 8, 4, 8)
    assert half.shape == (2, 4, 16, 32)


def test_conv_stem_treats_each_image_of_a_batch_alone():
    stem = ConvStem(8, 10, (4, 6, 8))
    images = torch.randn(2, 3, 16, 24)
    torch.testing.assert_close(stem(images)[0][1:], stem(images[1:])[0])


def test_conv_stem_refuses_other_patch_sizes():
    with pytest.raises(ValueError, match='patch_size 8 or 16, got 4'):
        ConvStem(4, 10, (4, 6, 8))


def test_linear_layers_start_as_xavier_uniform_without_bias():
    layer = Attention(32, 2).apply(initialise).qkv
    limit = math.sqrt(6 / (32 + 96))   # qkv counts as one 3E x E matrix
    assert not layer.bias.any()
    assert 0.95 * limit < layer.weight.abs().max() <= limit
    # 3072 uniform numbers: the spread of the sample deviation is below 1 %
    assert layer.weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.05)


def test_patch_projection_starts_as_a_xavier_matrix_and_keeps_its_bias():
    embed = PatchEmbed(8, 64)
    bias = embed.proj.bias.detach().clone()
    embed.apply(initialise)
    limit = math.sqrt(6 / (64 + 3 * 8 * 8))   # the weight seen as (E, 3 p p)
    assert 0.95 * limit < embed.proj.weight.abs().max() <= limit
    assert torch.equal(embed.proj.bias, bias) and bias.abs().max() <= 1 / math.sqrt(192)


def test_conv_stem_keeps_the_signal_through_its_initial_layers():
    torch.manual_seed(0)
    stem = ConvStem(8, 64, (32, 64, 96)).apply(initialise)
    out, _ = stem(torch.randn(2, 3, 64, 64))
    # He initialisation holds variance; GELU and the residual blocks leave it within a factor
    assert 0.2 < out.std() < 5
