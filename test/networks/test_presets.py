# SPDX-License-Identifier: Apache-2.0
"""The released architectures have the published sizes (croco.md 2, 3.4 and 5.2)."""
from crossview_ros.networks.croco import CroCo
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.presets import (
    COMPLETION_PRESETS, croco_v2_vitl_base, preset_name, RELEASED_PRESETS)
from official_models import official_state
import pytest
import torch

SMALL, BASE, LARGE = (139_403_682, 426), (219_744_418, 522), (437_417_890, 666)


@pytest.mark.parametrize('name, parameters, entries', [
    ('croco_v1', 120_076_288, 349),
    ('croco_v2_vitb_small', 120_076_288, 347),
    ('croco_v2_vitb_base', 200_269_824, 443),
    ('croco_v2_vitl_base', 417_918_720, 587)])
def test_released_pretraining_models_have_their_published_size(name, parameters, entries):
    config = COMPLETION_PRESETS[name]()
    with torch.device('meta'):
        model = CroCo(config)
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert len(official_state(model)) == entries
    assert config.img_size == (224, 224) and config.mask_ratio == 0.9
    assert preset_name(config) == name


@pytest.mark.parametrize('name, size, crop_hw, scale', [
    ('crocostereo', LARGE, (352, 704), 'symmetric'),
    ('crocostereo_subtrain', LARGE, (352, 704), 'symmetric'),
    ('crocostereo_eth3d', LARGE, (352, 704), 'exp'),
    ('crocostereo_finetune_kitti', LARGE, (352, 1216), 'symmetric'),
    ('crocostereo_finetune_spring', LARGE, (352, 704), 'symmetric'),
    ('crocostereo_subtrain_vitb_smalldecoder', SMALL, (352, 704), 'symmetric'),
    ('crocostereo_subtrain_vitb_basedecoder', BASE, (352, 704), 'symmetric'),
    ('crocoflow', LARGE, (320, 384), 'bounded'),
    ('crocoflow_finetune_kitti', LARGE, (352, 1216), 'bounded'),
    ('crocoflow_finetune_spring', LARGE, (320, 384), 'bounded'),
    ('crocoflow_vitb_smalldecoder', SMALL, (320, 384), 'bounded'),
    ('crocoflow_vitb_basedecoder', BASE, (320, 384), 'bounded')])
def test_released_dense_models_have_their_published_size(name, size, crop_hw, scale):
    config = RELEASED_PRESETS[name]()
    with torch.device('meta'):
        model = MultiTaskModel(config)
    third_channel = 33 if 'flow' in name else 0   # of the last layer: 32 weights and a bias
    assert sum(p.numel() for p in model.parameters()) == size[0] + third_channel
    assert len(official_state(model)) == size[1]
    (task, head), = config.heads.items()
    assert (task in name, head.scale, config.backbone.img_size) == (True, scale, crop_hw)
    assert RELEASED_PRESETS[preset_name(config)]() == config


def test_an_encoder_alone_has_its_published_size():
    for name, parameters in (('croco_v1', 85_646_592), ('croco_v2_vitl_base', 303_098_880)):
        with torch.device('meta'):
            model = CroCo(COMPLETION_PRESETS[name]())
        assert sum(p.numel() for p in model.encoder.parameters()) == parameters


def test_an_unknown_architecture_has_no_name():
    config = croco_v2_vitl_base()
    assert preset_name(type(config)(**{**vars(config), 'mlp_ratio': 3.0})) is None
