# SPDX-License-Identifier: Apache-2.0
"""Weight files carry their architecture; broken ones are refused with the reason."""
from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import (
    kind_of, KINDS, load_model, load_multi_task, read_weights, save_weights)
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel, OneViewConfig
from crossview_ros.networks.heads import DptHeadConfig, MatchingHeadConfig
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.presets import crossview_tiny
import pytest
from safetensors.torch import save_file
import torch


def narrow(heads):
    backbone = CroCoConfig(enc_embed_dim=32, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=32,
                           dec_num_layers=1, dec_num_heads=2, position='rope', stem='conv',
                           stem_dims=(8, 8, 16), residual_init='zero')
    search = {'stereo': 'row', 'flow': 'plane'}
    return MultiTaskModel(ModelConfig(backbone, {head: MatchingHeadConfig(
        search[head], feature_dim=16, hidden_dim=8, fine_hidden_dim=8, fine_dim=8,
        fine_radius=2) for head in heads}))


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = narrow(('stereo', 'flow')).eval()
    path = tmp_path / 'weights.safetensors'
    save_weights(path, model.config, model.state_dict(), torch.float32)
    return model, path


def test_a_saved_model_comes_back_with_the_same_answers(saved):
    model, path = saved
    image1, image2 = torch.randn(2, 1, 3, 32, 64)
    for task in ('stereo', 'flow'):
        loaded = load_model(path, task)
        with torch.inference_mode():
            mine, its = model.task(task)(image1, image2), loaded(image1, image2)
        assert torch.equal(mine.value, its.value) and torch.equal(mine.log_scale, its.log_scale)
        assert not loaded.training and loaded.normalisation == model.config.normalisation


def test_a_model_with_several_tasks_wants_one_named(saved):
    with pytest.raises(CheckpointError, match="pass task= one of .*'flow'.*'stereo'|'stereo'"):
        load_model(saved[1])
    with pytest.raises(CheckpointError, match="no task 'pose'; it has"):
        load_model(saved[1], 'pose')


def test_half_precision_is_storage_only(saved, tmp_path):
    model, _ = saved
    path = tmp_path / 'half.safetensors'
    save_weights(path, model.config, model.state_dict())
    assert path.stat().st_size < 0.6 * saved[1].stat().st_size
    assert {v.dtype for v in load_multi_task(path).state_dict().values()} == {torch.float32}


@pytest.mark.parametrize('keep', [0, 4, 60, -1])
def test_a_truncated_file_is_refused(saved, keep):
    path = saved[1]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match='cannot be read .*is it complete'):
        load_multi_task(path)


def test_weights_of_another_shape_or_name_are_refused(saved, tmp_path):
    model, _ = saved
    weights = dict(model.state_dict())
    weights['heads.stereo.fine_proj.weight'] = torch.zeros(3, 3)
    del weights['encoder.norm.weight']
    weights['surplus'] = torch.zeros(1)
    save_weights(tmp_path / 'bad.safetensors', model.config, weights)
    with pytest.raises(CheckpointError, match='missing encoder.norm.weight; unknown surplus; '
                                              r'shape heads.stereo.fine_proj.weight \(3, 3\)'):
        load_multi_task(tmp_path / 'bad.safetensors')


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    from safetensors.torch import save_file
    save_file({'w': torch.zeros(1)}, str(tmp_path / 'x.safetensors'))
    with pytest.raises(CheckpointError, match='expected a crossview_1 weight file'):
        load_multi_task(tmp_path / 'x.safetensors')


def test_whole_numbers_are_no_weights(saved, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file
    with safe_open(str(saved[1]), 'pt') as file:
        header = file.metadata()
    tensors = load_file(str(saved[1]))
    tensors['encoder.norm.weight'] = torch.ones(32, dtype=torch.int64)
    save_file(tensors, str(tmp_path / 'bad.safetensors'), header)
    with pytest.raises(CheckpointError, match=r'no floats encoder.norm.weight \(torch.int64\)'):
        load_multi_task(tmp_path / 'bad.safetensors')


def test_a_file_says_what_kind_of_network_it_holds(tmp_path):
    backbone = CroCoConfig(img_size=(32, 32), enc_embed_dim=16, enc_num_layers=4, enc_num_heads=2,
                           dec_embed_dim=16, dec_num_layers=1, dec_num_heads=2)
    head = DptHeadConfig(1, 'none', (0, 1, 2, 3), (4, 4, 4, 4), 8, 4)
    image = torch.randn(1, 3, 32, 32)
    for config, views in ((backbone, 2), (OneViewConfig(backbone, head), 1)):
        network = KINDS[kind_of(config)][1](config).eval()
        save_weights(tmp_path / 'weights.safetensors', config, network.state_dict(),
                     torch.float32, {'licence': 'mine'})
        loaded = load_model(tmp_path)      # the folder needs no manifest
        assert type(loaded) is type(network) and loaded.normalisation == Normalisation()
        mask = [torch.arange(4)[None] > 1] if views == 2 else []
        with torch.no_grad():
            expected, found = (net(*[image] * views, *mask)[0] for net in (network, loaded))
        # the same weights at other addresses: kernels may round the last bit otherwise
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
        weights = loaded.state_dict()
        assert all(torch.equal(v, weights[k]) for k, v in network.state_dict().items())
        assert read_weights(tmp_path / 'weights.safetensors')[2]['licence'] == 'mine'


def test_a_file_without_kind_holds_several_tasks(tmp_path):
    # files written before there were other kinds say nothing
    model, path = narrow(['stereo', 'flow']), tmp_path / 'weights.safetensors'
    save_weights(path, model.config, model.state_dict())
    _, tensors, notes = read_weights(path)
    del notes['kind']
    save_file(tensors, path, metadata=notes)
    assert load_multi_task(path).tasks == ['stereo', 'flow']


def test_a_folder_may_have_a_file_for_each_task(tmp_path):
    for task in ('stereo', 'flow'):
        model = narrow([task])
        save_weights(tmp_path / f'{task}.safetensors', model.config, model.state_dict())
    (tmp_path / 'manifest.yaml').write_text(
        'networks: {stereo: stereo.safetensors, flow: flow.safetensors}')
    assert load_model(tmp_path, 'flow').head.config.search == 'plane'
    with pytest.raises(CheckpointError, match='several tasks; pass task= one of'):
        load_model(tmp_path)
    with pytest.raises(CheckpointError, match="no task 'pose'"):
        load_model(tmp_path, 'pose')
    for text, message in (('networks: {flow: ../x}', 'must name a file of this folder'),
                          ('networks: [flow]', 'must name a file'), ('[', 'is not valid YAML')):
        (tmp_path / 'manifest.yaml').write_text(text)
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path, 'flow')


def test_weights_replace_the_file_that_they_come_from(saved):
    model, path = saved
    config, tensors, _ = read_weights(path)
    save_weights(path, config, tensors, torch.float32)
    for name, value in load_multi_task(path).state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    assert list(path.parent.iterdir()) == [path]


def test_crossview_tiny_fits_twelve_megabytes():
    with torch.device('meta'):
        model = MultiTaskModel(crossview_tiny())
    numbers = sum(p.numel() for p in model.parameters())
    assert 2 * numbers < 12e6   # fp16
