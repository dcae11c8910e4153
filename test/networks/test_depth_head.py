# SPDX-License-Identifier: Apache-2.0
"""Promises of the depth head of a multi-task model."""
from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import load_model, save_weights
from crossview_ros.networks.croco import CroCoConfig, EncoderFeatures
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel, OneViewModel
from crossview_ros.networks.heads import DepthHead, DepthHeadConfig, DptHeadConfig
from crossview_ros.networks.presets import crossview_tiny
import pytest
import torch

BACKBONE = CroCoConfig(
    enc_embed_dim=32, enc_num_layers=3, enc_num_heads=2, dec_embed_dim=32, dec_num_layers=1,
    dec_num_heads=2, position='rope', stem='conv', stem_dims=(8, 8, 16))


@pytest.fixture
def model():
    torch.manual_seed(0)
    heads = {'depth': DepthHeadConfig((12, 8, 8), focal_px=100.0)}
    return MultiTaskModel(ModelConfig(BACKBONE, heads)).eval()


def test_one_view_gives_positive_metres_and_their_doubt(model):
    image = torch.randn(2, 3, 48, 80)   # an odd number of patches along both sides
    with torch.no_grad():
        prediction = model.task('depth')(image)
    assert prediction.value.shape == prediction.log_scale.shape == (2, 1, 48, 80)
    assert (prediction.value > 0).all()
    with torch.no_grad():
        torch.testing.assert_close(model.predict('depth', model.encode(image)).value,
                                   prediction.value)


def test_a_fresh_head_answers_two_metres_everywhere(model):
    with torch.no_grad():
        value = model.task('depth')(torch.randn(1, 3, 64, 64)).value
    assert value.log().sub(0.7).abs().max() < 0.1


def test_the_head_reads_its_blocks_and_both_stem_maps(model):
    head = model.heads['depth']
    torch.nn.init.normal_(head.leave.weight)
    with torch.no_grad():
        tokens, stem, grid_hw = model.encode(torch.randn(1, 3, 64, 64))
        # every other block, the last among them
        expected = head(EncoderFeatures([tokens[0], None, tokens[2]], stem, grid_hw)).value
        assert torch.equal(head(EncoderFeatures(tokens, stem, grid_hw)).value, expected)
        others = [([tokens[2], None, tokens[2]], stem), ([tokens[0], None, tokens[0]], stem),
                  (tokens, [stem[0], 0 * stem[1]]), (tokens, [0 * stem[0], stem[1]])]
        assert not any(torch.equal(head(EncoderFeatures(*other, grid_hw)).value, expected)
                       for other in others)


def test_the_answer_depends_on_where_in_the_image_something_is(model):
    head = model.heads['depth']
    torch.nn.init.normal_(head.leave.weight)
    with torch.no_grad():
        features = model.encode(torch.zeros(1, 3, 96, 96))
        same = features._replace(
            tokens=[tokens.mean(1, keepdim=True).expand_as(tokens) for tokens in features.tokens],
            stem=[stem.mean((2, 3), keepdim=True).expand_as(stem) for stem in features.stem])
        # away from the border, where padding tells the place too
        rows = head(same).value[0, 0, 32:64, 48]
    assert rows.diff().abs().max() > 1e-4


def test_a_saved_model_is_loaded_as_a_network_of_one_view(model, tmp_path):
    save_weights(tmp_path / 'm.safetensors', model.config, model.state_dict(), torch.float32)
    loaded = load_model(tmp_path / 'm.safetensors', 'depth')
    assert isinstance(loaded, OneViewModel)
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(loaded(image).value, model.task('depth')(image).value)
    with pytest.raises(CheckpointError, match="no task 'stereo'"):
        load_model(tmp_path / 'm.safetensors', 'stereo')


@pytest.mark.parametrize('heads, message', [
    ({'depth': DptHeadConfig(1)}, "head of task 'depth': a DptHeadConfig cannot serve it"),
    ({'flow': DepthHeadConfig((8, 8, 8))}, "task 'flow': a DepthHeadConfig cannot serve it")])
def test_a_head_of_another_kind_is_refused(heads, message):
    with pytest.raises(ValueError, match=message):
        ModelConfig(BACKBONE, heads)


@pytest.mark.parametrize('changes, message', [
    ({'depth_dims': (8, 8)}, 'three widths'), ({'focal_px': 0.0}, 'focal_px must be above 0'),
    ({'hooks': (0, 3)}, r'hooks must lie in \[0, 2\]')])
def test_what_cannot_be_built_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        DepthHead(DepthHeadConfig(**{'depth_dims': (8, 8, 8), **changes}), BACKBONE)


def test_a_backbone_without_stem_maps_is_refused():
    with pytest.raises(ValueError, match="needs a backbone with stem 'conv'"):
        DepthHead(DepthHeadConfig((8, 8, 8)), CroCoConfig())


def test_the_small_model_with_it_fits_into_12_mb():
    with torch.device('meta'):
        model = MultiTaskModel(crossview_tiny())
    assert model.tasks == ['stereo', 'flow', 'depth']
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 11.95e6
