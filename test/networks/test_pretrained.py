# SPDX-License-Identifier: Apache-2.0
"""Downstream networks start from pre-trained weights, at any size."""
from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import load_model
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import DptHeadConfig, MatchingHeadConfig
from crossview_ros.networks.pretrained import downstream_from_pretrained, resample_cosine
from crossview_ros.training.setup import start_from
from official_models import distance, GOLDEN, load_golden
import pytest
import torch

SIZES = {'enc_embed_dim': 16, 'enc_num_layers': 4, 'enc_num_heads': 2, 'dec_embed_dim': 24,
         'dec_num_layers': 1, 'dec_num_heads': 2}
HEAD = DptHeadConfig(1, hooks=(0, 1, 2, 3), layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4)


def test_tables_are_resampled_as_in_the_reference(shared_dir):
    meta, data = load_golden(shared_dir / GOLDEN / 'misc.npz')
    for n, (_, _, _, height, width) in enumerate(meta['interp']):
        for key in ('enc_pos_embed', 'dec_pos_embed'):
            if f'interp/{n}/in_{key}' in data:
                found = resample_cosine(data[f'interp/{n}/in_{key}'], (height // 16, width // 16))
                assert distance(found, data[f'interp/{n}/out_{key}']) < 2e-6


def test_only_tables_of_a_square_grid_can_be_resampled():
    with pytest.raises(CheckpointError, match='square grid can be resampled, got 6'):
        resample_cosine(torch.zeros(6, 4), (2, 2))


def test_a_rope_model_keeps_every_weight_but_the_head_of_pretraining(shared_dir):
    pretrained = load_model(shared_dir / GOLDEN / 'ckpt_pretrain_trainloop.pth')
    head = DptHeadConfig(2, 'bounded', layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4)
    model = downstream_from_pretrained(pretrained, {'flow': head}, (64, 96))
    weights = pretrained.state_dict()
    for name, value in model.state_dict().items():
        assert name.startswith('heads.flow.') or torch.equal(value, weights[name])
    fresh = {name for name in weights if name not in model.state_dict()}
    assert fresh == {'decoder.mask_token', 'head.weight', 'head.bias'}
    assert model.config.backbone.img_size == (64, 96)


def test_cosine_tables_follow_the_new_size():
    torch.manual_seed(0)
    pretrained = CroCo(CroCoConfig(img_size=(64, 64), **SIZES))
    pretrained.encoder.pos_embed += 1.0   # not what a fresh table would be
    model = downstream_from_pretrained(pretrained, {'stereo': HEAD}, (64, 96))
    for part, width in (('encoder', 16), ('decoder', 24)):
        table = getattr(model, part).pos_embed
        assert table.shape == (24, width)
        assert torch.equal(table, resample_cosine(getattr(pretrained, part).pos_embed, (4, 6)))
    image = torch.zeros(1, 3, 64, 96)
    assert model.task('stereo')(image, image).value.shape == (1, 1, 64, 96)


def test_one_view_takes_the_encoder_alone():
    torch.manual_seed(0)
    pretrained = CroCo(CroCoConfig(img_size=(64, 64), **SIZES))
    model = downstream_from_pretrained(pretrained, HEAD, (32, 64))
    assert model(torch.zeros(1, 3, 32, 64)).value.shape == (1, 1, 32, 64)
    assert not any(name.startswith('decoder.') for name in model.state_dict())
    assert torch.equal(model.encoder.norm.weight, pretrained.encoder.norm.weight)


def test_a_matching_head_may_sit_on_pretrained_weights_too():
    pretrained = CroCo(CroCoConfig(**SIZES, position='rope', stem='conv', stem_dims=(4, 4, 8)))
    head = MatchingHeadConfig('row', 8, 8, 8, 8)
    model = downstream_from_pretrained(pretrained, {'stereo': head}, (64, 96))
    assert torch.equal(model.encoder.norm.weight, pretrained.encoder.norm.weight)


def test_a_crippled_pretraining_model_is_refused():
    pretrained = CroCo(CroCoConfig(**SIZES, position='rope'))
    del pretrained.decoder.norm
    with pytest.raises(CheckpointError, match=r"missing \['decoder.norm.bias', 'decoder.norm.w"):
        downstream_from_pretrained(pretrained, {'stereo': HEAD}, (64, 96))


def test_training_may_start_from_an_official_file(shared_dir):
    source = shared_dir / GOLDEN / 'ckpt_pretrain_trainloop.pth'
    backbone = load_model(source).config
    model = MultiTaskModel(ModelConfig(backbone, {'stereo': DptHeadConfig(1)}))
    start_from(model, str(source))
    expected = load_model(source).encoder.state_dict()
    assert all(torch.equal(value, expected[name])
               for name, value in model.encoder.state_dict().items())
