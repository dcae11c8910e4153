# SPDX-License-Identifier: Apache-2.0
"""Official SimIPU files through the verbs: converted, described, and written for other systems."""
import json

from crossview_ros.cli.main import main
from crossview_ros.config import from_dict, to_dict
from crossview_ros.networks.checkpoint import load_model
from crossview_ros.networks.presets import crossview_tiny_croco
from crossview_ros.networks.resnet import ResNet, ResNetConfig
from crossview_ros.networks.simipu import SimIPUConfig
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
import pytest
import torch

FACTS = 'reference/golden/simipu_facts'


@pytest.fixture
def narrow(tmp_path):
    """Write a file as released, but with few channels; return its path and its bare keys."""
    torch.manual_seed(0)
    state = ResNet(ResNetConfig(width=4)).state_dict()
    for name, value in state.items():
        if name.endswith('num_batches_tracked'):
            value.fill_(46_400)
    path = tmp_path / 'SimIPU_kitti_50e.pth'
    torch.save({'state_dict': {f'backbone.{name}': value for name, value in state.items()}}, path)
    return path, state


def run_folder(path, task, preset, architecture, weights):
    """Write what a training run leaves behind."""
    config = from_dict(RunConfig, {'task': task, 'steps': 1, 'model': {'preset': preset}}, 'test')
    path.mkdir()
    RunFolder(path).save({
        'config': to_dict(config), 'architecture': to_dict(architecture), 'average': weights,
        'step': 1, 'elapsed_s': 1.0, 'best_score': 1.0})
    return path


def test_the_official_list_comes_back_after_convert_and_export(shared_dir, tmp_path, capsys):
    facts = json.loads((shared_dir / FACTS / 'statedict_backbone_only.json').read_text())
    generator = torch.Generator().manual_seed(0)
    state = {key: torch.full(entry['shape'], 7) if entry['dtype'] == 'int64' else
             torch.rand(entry['shape'], generator=generator)
             for key, entry in facts['keys'].items()}
    torch.save(state, tmp_path / 'SimIPU.pth')
    assert main(['convert', str(tmp_path / 'SimIPU.pth'), str(tmp_path / 'model')]) == 0
    assert main(['export', str(tmp_path / 'model'), '--format', 'simipu-backbone', '--prefix',
                 'backbone', '--out', str(tmp_path / 'out.pth')]) == 0
    assert '318 tensors' in capsys.readouterr().out
    again = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert len(state) == 318 and again.keys() == state.keys()
    for key, value in state.items():
        assert again[key].dtype == value.dtype and torch.equal(again[key], value), key


@pytest.mark.parametrize('prefix, start', [('none', ''), ('backbone', 'backbone.'),
                                           ('img_backbone', 'img_backbone.')])
def test_each_consumer_gets_its_prefix_and_the_file_is_read_again(narrow, tmp_path, prefix, start):
    path, state = narrow
    out = tmp_path / 'out.pth'
    assert main(['export', str(path), '--format', 'simipu-backbone', '--prefix', prefix, '--out',
                 str(out)]) == 0
    written = torch.load(out, weights_only=True)
    assert written.keys() == {start + name for name in state}   # a plain dict
    image = torch.randn(1, 3, 32, 32)
    for first, second in zip(load_model(path)(image), load_model(out)(image), strict=True):
        assert torch.equal(first, second)


def test_a_pretraining_run_gives_its_image_branch(tmp_path):
    architecture = SimIPUConfig(resnet=ResNetConfig((1, 1, 1, 1), width=4))
    state = ResNet(architecture.resnet).state_dict()
    weights = {**{f'image_branch.{name}': value for name, value in state.items()},
               'point_intra.0.weight': torch.zeros(3, 3)}
    run = run_folder(tmp_path / 'run', 'simipu', 'simipu', architecture, weights)
    assert main(['export', str(run), '--format', 'simipu-backbone', '--out',
                 str(tmp_path / 'out.pth')]) == 0
    written = torch.load(tmp_path / 'out.pth', weights_only=True)
    assert written.keys() == state.keys()
    assert all(torch.equal(written[name], value) for name, value in state.items())


def test_a_vit_is_refused_since_those_configs_take_a_resnet(tmp_path, capsys):
    architecture = SimIPUConfig(resnet=None, vit=crossview_tiny_croco())
    run = run_folder(tmp_path / 'run', 'simipu', 'crossview_tiny_simipu', architecture, {})
    assert main(['export', str(run), '--format', 'simipu-backbone', '--out',
                 str(tmp_path / 'out.pth')]) == 1
    assert 'expected a ResNet, which the official detection and depth configs take, but this is ' \
        'a SimIPU run with a ViT' in capsys.readouterr().err
    assert not (tmp_path / 'out.pth').exists()


def test_info_says_what_the_file_holds_and_what_its_input_is(narrow, capsys):
    path, state = narrow
    assert main(['info', str(path)]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows['network'] == 'image encoder'
    assert rows['encoder'] == 'ResNet, blocks 3 4 6 3, width 4, batch norm eps 1e-05'
    assert rows['input'] == 'BGR in [0, 255] minus 103.530 116.280 123.675, over 1.000 1.000 1.000'
    assert main(['info', str(path), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    learned = sum(value.numel() for name, value in state.items()
                  if name.endswith(('.weight', '.bias')))
    assert facts['parameters'] == learned and facts['preset'] is None
    assert 'SimIPU' in facts['licence']


def test_a_converted_folder_loads_and_says_where_it_is_from(narrow, tmp_path, capsys):
    path, _ = narrow
    assert main(['convert', str(path), str(tmp_path / 'model'), '--dtype', 'fp16']) == 0
    capsys.readouterr()
    assert main(['info', str(tmp_path / 'model'), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['network'] == 'image_encoder' and 'SimIPU_kitti_50e.pth' in facts['source']
    model, image = load_model(tmp_path / 'model'), torch.randn(1, 3, 32, 32)
    for found, exact in zip(model(image), load_model(path)(image), strict=True):
        torch.testing.assert_close(found, exact, atol=2e-2, rtol=2e-2)   # half precision weights
    assert model.encoder.bn1.num_batches_tracked.dtype == torch.int64


def test_it_is_no_network_of_croco(narrow, tmp_path, capsys):
    assert main(['export', str(narrow[0]), '--format', 'official', '--out',
                 str(tmp_path / 'out.pth')]) == 1
    assert 'written by --format simipu-backbone' in capsys.readouterr().err
    assert main(['export', str(narrow[0]), '--format', 'onnx', '--out', str(tmp_path)]) == 1
    assert 'has no image size of its own; pass --size HxW' in capsys.readouterr().err
    assert main(['export', str(narrow[0]), '--format', 'onnx', '--size', '32x32', '--out',
                 str(tmp_path)]) == 1
    assert 'ImageEncoder' in capsys.readouterr().err


def test_other_networks_have_no_such_backbone(tmp_path, capsys):
    assert main(['export', 'crossview_tiny', '--format', 'simipu-backbone', '--out',
                 str(tmp_path / 'out.pth')]) == 1
    assert 'expected a ResNet' in capsys.readouterr().err
