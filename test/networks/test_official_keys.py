# SPDX-License-Identifier: Apache-2.0
"""Promises of the rename table for official CroCo checkpoints."""
from crossview_ros.errors import CheckpointError
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.official_keys import (
    config_from_official, config_to_official, from_official_key, to_official_keys)
import pytest


@pytest.mark.parametrize('official, ours', [
    ('mask_token', 'decoder.mask_token'),
    ('enc_pos_embed', 'encoder.pos_embed'),
    ('dec_pos_embed', 'decoder.pos_embed'),
    ('patch_embed.proj.bias', 'encoder.patch_embed.proj.bias'),
    ('enc_blocks.11.attn.qkv.weight', 'encoder.blocks.11.attn.qkv.weight'),
    ('enc_norm.weight', 'encoder.norm.weight'),
    ('decoder_embed.weight', 'decoder.embed.weight'),
    ('dec_blocks.0.cross_attn.projq.bias', 'decoder.blocks.0.cross_attn.projq.bias'),
    ('dec_blocks.7.norm_y.bias', 'decoder.blocks.7.norm_y.bias'),
    ('dec_norm.bias', 'decoder.norm.bias'),
    ('prediction_head.weight', 'head.weight'),
    ('head.dpt.head.4.weight', 'head.leave.weight'),
    ('head.dpt.act_1_postprocess.1.bias', 'head.reassemble.0.1.bias'),
    ('head.dpt.act_postprocess.0.1.bias', 'head.reassemble.0.1.bias'),   # alias
    ('head.dpt.scratch.layer4_rn.weight', 'head.align.3.weight'),
    ('head.dpt.scratch.layer_rn.3.weight', 'head.align.3.weight'),       # alias
    ('head.dpt.scratch.refinenet2.resConfUnit1.conv2.bias', 'head.fuse.1.residual1.conv2.bias'),
    ('head.dpt.scratch.refinenet4.out_conv.weight', 'head.fuse.3.leave.weight')])
def test_each_kind_of_key_has_its_place(official, ours):
    assert from_official_key(official) == ours
    assert official in to_official_keys(ours)


@pytest.mark.parametrize('ours, official', [
    ('heads.flow.reassemble.2.0.weight', ['head.dpt.act_3_postprocess.0.weight',
                                          'head.dpt.act_postprocess.2.0.weight']),
    ('head.align.0.weight', ['head.dpt.scratch.layer1_rn.weight',
                             'head.dpt.scratch.layer_rn.0.weight']),
    ('heads.stereo.fuse.3.residual1.conv1.bias',
     ['head.dpt.scratch.refinenet4.resConfUnit1.conv1.bias']),
    ('head.bias', ['prediction_head.bias'])])
def test_the_main_name_comes_before_its_alias(ours, official):
    assert to_official_keys(ours) == official


def test_a_part_that_official_networks_lack_has_no_name():
    with pytest.raises(CheckpointError, match="nothing like 'points.weight'"):
        to_official_keys('points.weight')


def test_missing_arguments_take_the_official_defaults():
    assert config_from_official({}) == CroCoConfig()
    assert config_from_official({'dec_depth': 12, 'pos_embed': 'RoPE7.5', 'img_size': 64}) == \
        CroCoConfig(img_size=(64, 64), dec_num_layers=12, position='rope', rope_base=7.5)
    assert config_from_official({'img_size': [64, 96]}).img_size == (64, 96)


@pytest.mark.parametrize('config', [
    CroCoConfig(), CroCoConfig(img_size=(64, 96), position='rope', rope_base=7.5),
    CroCoConfig(position='rope', norm_memory=False, mlp_ratio=2.0, patch_size=8)])
def test_arguments_of_a_config_give_it_back(config):
    assert config_from_official(config_to_official(config)) == config


def test_the_base_is_written_as_the_releases_write_it():
    assert config_to_official(CroCoConfig(position='rope'))['pos_embed'] == 'RoPE100'


def test_a_stem_that_official_networks_lack_is_refused():
    with pytest.raises(CheckpointError, match="this one has 'conv'"):
        config_to_official(CroCoConfig(stem='conv'))


@pytest.mark.parametrize('arguments, message', [
    ({'drop_path': 0.1}, "unknown CroCo argument 'drop_path' = 0.1"),
    ({'pos_embed': 'learned'}, "'cosine' or 'RoPE<base>', got 'learned'"),
    ({'pos_embed': 'RoPEx'}, "'cosine' or 'RoPE<base>', got 'RoPEx'"),
    ({'pos_embed': '100'}, "'cosine' or 'RoPE<base>', got '100'"),
    ({'pos_embed': 'RoPEnan'}, 'rope_base must be positive and finite, got nan'),
    ({'img_size': 'large'}, "'img_size'.*got 'large'"),
    ({'enc_depth': 0}, 'enc_num_layers must be greater than 0, got 0'),
    ({'enc_num_heads': 5}, 'width 768 is not divisible by 5 heads')])
def test_what_the_network_lacks_is_refused(arguments, message):
    with pytest.raises(CheckpointError, match=message):
        config_from_official(arguments)
