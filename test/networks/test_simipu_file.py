# SPDX-License-Identifier: Apache-2.0
"""Official SimIPU files of every layout give their image encoder; damaged ones are refused."""
import argparse

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import load_model, load_network, save_weights
from crossview_ros.networks.image_encoder import ImageEncoder
from crossview_ros.networks.official_file import read_official
import pytest
from simipu_files import listed_shapes, narrow_shapes, random_state, random_tensor, resnet_maps
import torch

# what the variants add (simipu.md 10.2); none of it belongs to the image encoder
EXTRAS = {'img_backbone_k.conv1.weight': (4, 3, 7, 7), 'pts_backbone_k.queue': (3,),
          'queue': (16, 8), 'queue_ptr': (1,), 'img_queue': (4, 4), 'img_queue_ptr': (1,),
          'mlp_cross_img_pred.layer1.0.weight': (4, 4), 'mlp_intro_img.layer1.0.weight': (4, 4),
          'mlp_cross_img.layer1.0.weight': (4, 4), 'img_conv1x1_1.weight': (2, 2, 1, 1),
          'pts_backbone.SA_modules.0.mlps.0.layer0.conv.weight': (2, 2, 1, 1),
          'fc.weight': (10, 128), 'fc.bias': (10,)}


@pytest.fixture
def narrow():
    """Return the bare state dict of a ResNet-50 with few channels."""
    return random_state({f'backbone.{key}': shape for key, shape in narrow_shapes().items()})


@pytest.fixture
def write(tmp_path):
    def save(content, name='SimIPU.pth'):
        torch.save(content, tmp_path / name)
        return tmp_path / name
    return save


def bare(state):
    return {key.split('backbone.')[-1]: value for key, value in state.items()}


def with_prefix(state, prefix):
    return {prefix + key: value for key, value in bare(state).items()}


def extras(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {key: random_tensor(key, shape, generator) for key, shape in EXTRAS.items()}


def test_the_full_training_checkpoint_gives_the_image_encoder(shared_dir, write):
    state = random_state(listed_shapes(shared_dir, 'pretrain_full'))
    assert len(state) == 595
    path = write({'meta': {'epoch': 50}, 'state_dict': state, 'optimizer': {'img': {'state': {}}}})
    model = load_model(path)
    image = 50 * torch.randn(1, 3, 64, 96)
    own = {key.removeprefix('img_backbone.'): value for key, value in state.items()
           if key.startswith('img_backbone.')}
    assert len(own) == 318 and not model.training
    for found, expected in zip(model(image), resnet_maps(own, image, 1e-5), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    loaded = {key.removeprefix('encoder.'): value for key, value in model.state_dict().items()}
    assert loaded.keys() == own.keys()
    assert all(torch.equal(loaded[key], own[key]) for key in own)


def test_keys_of_the_released_file_are_read(shared_dir, write):
    shapes = listed_shapes(shared_dir, 'backbone_only')
    # one zero stands for each tensor: shapes are all that counts here
    path = write({key: torch.zeros((), dtype=torch.int64 if key.endswith('tracked') else None)
                  .expand(shape) for key, shape in shapes.items()})
    official = read_official(path)
    assert {f'backbone.{key.removeprefix("encoder.")}': tuple(value.shape)
            for key, value in official.weights.items()} == shapes
    assert load_network(path).config.resnet.out_channels == (64, 256, 512, 1024, 2048)


@pytest.mark.parametrize('layout', [
    lambda state: with_prefix(state, 'backbone.'),
    lambda state: bare(state),
    lambda state: {'state_dict': bare(state), 'meta': {'args': argparse.Namespace(a=1)}},
    lambda state: {'state_dict': with_prefix(state, 'module.img_backbone.'), 'epoch': 3},
    lambda state: with_prefix(state, 'module.'),
    lambda state: with_prefix(state, 'module.backbone.'),
    lambda state: {**extras(), **with_prefix(state, 'img_backbone.')},
    lambda state: {**with_prefix(state, 'img_backbone.'),
                   'backbone.conv1.weight': torch.zeros(1)},     # of another branch
    lambda state: {**{key: value for key, value in extras().items() if 'backbone' not in key},
                   **bare(state)}])
def test_each_layout_gives_the_same_encoder(write, narrow, layout):
    model = load_model(write(layout(narrow)))
    image = 50 * torch.randn(2, 3, 64, 32)
    expected = resnet_maps(bare(narrow), image, 1e-5)
    assert [tuple(x.shape[2:]) for x in model(image)] == [(32, 16), (16, 8), (8, 4), (4, 2),
                                                          (2, 1)]
    for found, truth in zip(model(image), expected, strict=True):
        torch.testing.assert_close(found, truth, atol=1e-5, rtol=1e-5)


def test_the_norm_is_that_of_downstream_models_not_of_the_pretraining(write, narrow):
    model, image = load_model(write(narrow)), torch.randn(1, 3, 32, 32)
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-5, 0.1)}
    pretraining = resnet_maps(bare(narrow), image, 1e-3)[-1]
    assert not torch.allclose(model(image)[-1], pretraining, atol=1e-4)


def test_the_input_is_bgr_less_its_mean_not_divided(write, narrow):
    norm = load_model(write(narrow)).normalisation
    assert norm.channels == 'bgr'
    assert [255 * value for value in norm.mean] == pytest.approx([103.53, 116.28, 123.675])
    # (x / 255 - mean / 255) / (1 / 255) is x - mean
    assert [255 * value for value in norm.std] == pytest.approx([1, 1, 1])


def test_our_own_file_keeps_all_of_it(write, narrow, tmp_path):
    model = load_model(write(narrow))
    save_weights(tmp_path / 'own.safetensors', model.config, model.state_dict(), torch.float32)
    again = load_model(tmp_path / 'own.safetensors')
    assert isinstance(again, ImageEncoder) and again.config == model.config
    assert again.normalisation == model.normalisation
    for key, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)
        assert again.state_dict()[key].dtype == value.dtype


def test_names_in_errors_are_those_of_a_resnet(write, narrow):
    state = bare(narrow)
    del state['layer3.5.conv2.weight']
    state['bn1.bias'] = torch.zeros(5)
    state['layer1.0.conv2.conv_offset.weight'] = torch.zeros(1)   # of a deformable convolution
    with pytest.raises(CheckpointError, match=r'SimIPU.pth: .*missing layer3.5.conv2.weight; '
                       r'unknown layer1.0.conv2.conv_offset.weight; shape bn1.bias \(5,\) instead '
                       r'of \(4,\)'):
        load_model(write(with_prefix(state, 'img_backbone.')))


def test_a_lost_block_or_stage_is_no_smaller_network(write, narrow):
    for lost in ('layer3.5.', 'layer4.'):
        state = {key: value for key, value in bare(narrow).items() if not key.startswith(lost)}
        with pytest.raises(CheckpointError, match=f'missing {lost}'):
            load_model(write(state))


@pytest.mark.parametrize('content, message', [
    ({'state_dict': {'pts_backbone.conv.weight': torch.zeros(1)}}, 'of SimIPU with a ResNet-50 '),
    ({'state_dict': [1]}, "expected 'state_dict' to hold weights by name, got a list"),
    ({'conv1.weight': 'x'}, "expected a tensor for 'conv1.weight', got a str"),
    ({'backbone.conv1.weight': torch.zeros(4)}, r'got the entries \['),
    ({'conv1.weight': torch.zeros(4, 3, 7, 7)}, 'missing bn1.bias, bn1.num_batches_tracked')])
def test_files_without_an_image_encoder_are_refused(write, content, message):
    with pytest.raises(CheckpointError, match=f'SimIPU.pth: .*{message}'):
        load_model(write(content))


def test_a_truncated_file_gives_one_kind_of_error(write, narrow, tmp_path, rng):
    whole = write(narrow).read_bytes()
    for size in rng.integers(1, len(whole), 10):
        (tmp_path / 'cut.pth').write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match='cut.pth: '):
            load_model(tmp_path / 'cut.pth')


class Hostile:
    """Would write a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), 'w'))


def test_nothing_in_a_hostile_file_is_run(write, narrow, tmp_path):
    path = write({'state_dict': narrow, 'meta': Hostile(tmp_path / 'harm')})
    with pytest.raises(CheckpointError, match=r'holds something else .*and was not opened'):
        load_model(path)
    assert not (tmp_path / 'harm').exists()


def test_an_image_encoder_has_no_task(write, narrow):
    with pytest.raises(CheckpointError, match='is an image encoder, which has no task'):
        load_model(write(narrow), 'depth')
