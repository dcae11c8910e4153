# SPDX-License-Identifier: Apache-2.0
"""From a training run to a model folder that the runtime opens."""
from dataclasses import replace

from crossview_ros.cli import run_origin
from crossview_ros.cli.main import main
from crossview_ros.config import from_dict, load_yaml, to_dict
from crossview_ros.export.model_folder import sha256
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.perception import Perception
from crossview_ros.training import setup
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.setup import load_run
import numpy as np
import pytest

RUN = """
task: multi
steps: 1
batch_size: 1
model: {preset: crossview_tiny}
data: {num_records: 1, num_validation: 1, size_hw: [64, 96], crop_hw: [32, 64]}
"""


@pytest.fixture(scope='module')
def run_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('training')
    (folder / 'run.yaml').write_text(RUN)
    assert main(['finetune', str(folder / 'run.yaml'), '--run-dir', str(folder / 'run'),
                 '--cache-dir', str(folder / 'cache'), '--threads', '1']) == 0
    return folder / 'run'


def test_a_run_becomes_a_model_folder_that_answers(run_dir, tmp_path, capsys):
    out = tmp_path / 'mine'
    assert main(['export', str(run_dir), '--out', str(out), '--size', '64x96',
                 '--command', 'make it']) == 0
    assert 'weights.safetensors' in capsys.readouterr().out
    manifest = load_manifest(out)
    assert (manifest.name, manifest.tasks) == ('mine', ['flow', 'stereo'])
    assert manifest.files == {'weights.safetensors': sha256(out / 'weights.safetensors')}
    provenance = load_yaml(out / 'manifest.yaml')['provenance']
    assert provenance['command'] == 'make it'
    assert (out / 'weights.safetensors').stat().st_mode & 0o777 == 0o644
    assert [leg['steps'] for leg in provenance['legs']] == [1]
    assert provenance['config']['task'] == 'multi'
    assert provenance['data'] == 'rendered scenes (crossview_ros.data.synthetic)'
    assert manifest.licence == 'Apache-2.0'
    camera = PinholeCamera(96, 64, 80.0, 80.0, 47.5, 31.5)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    with Perception.open(out) as perception:
        result = perception.process(image, image, StereoRig(camera, camera, 0.1), 1)
    assert result.depth.shape == (64, 96)


@pytest.mark.parametrize('data, start', [
    ({'source': 'datasets', 'root': 'sets', 'mixture': [{'name': 'sintel_stereo'}],
      'validation': [{'name': 'sintel_stereo'}]}, None), ({}, 'official.pth')])
def test_the_licence_is_not_stated_where_foreign_data_or_weights_are_part_of_it(
        run_dir, tmp_path, monkeypatch, data, start):
    config, architecture, weights, history = load_run(run_dir)
    config = replace(config, data=from_dict(DataConfig, {**to_dict(config.data), **data}, 'test'),
                     model=replace(config.model, start_from=start))
    monkeypatch.setattr(setup, 'load_run',
                        lambda _: (config, architecture, weights, history))
    origin = run_origin.origin_of(run_dir)
    assert origin.licence is None
    assert any(name in ' '.join(origin.data) for name in ('sintel_stereo', 'official.pth'))


def test_size_has_to_be_two_numbers(run_dir, tmp_path, capsys):
    assert main(['export', str(run_dir), '--out', str(tmp_path / 'x'), '--size', 'big']) == 1
    assert "--size expects HxW, e.g. 240x320; got 'big'" in capsys.readouterr().err


def test_a_folder_without_a_run_is_one_line(tmp_path, capsys):
    assert main(['export', str(tmp_path), '--out', str(tmp_path / 'x')]) == 1
    assert 'last.pt is missing' in capsys.readouterr().err


def test_a_run_on_top_of_a_model_keeps_the_legs_of_that_model(run_dir, tmp_path):
    first, second = tmp_path / 'first', tmp_path / 'second'
    assert main(['export', str(run_dir), '--out', str(first), '--size', '64x96']) == 0
    cache = run_dir.parent / 'cache'
    (tmp_path / 'depth.yaml').write_text(f"""
task: depth
steps: 1
batch_size: 1
model: {{preset: crossview_tiny, start_from: {first},
        freeze: [encoder, decoder, heads.stereo, heads.flow]}}
data: {{num_records: 1, num_validation: 1, size_hw: [64, 96], crop_hw: [32, 64]}}
""")
    assert main(['finetune', str(tmp_path / 'depth.yaml'), '--run-dir', str(tmp_path / 'run'),
                 '--cache-dir', str(cache), '--threads', '1']) == 0
    assert main(['export', str(tmp_path / 'run'), '--out', str(second), '--size', '64x96']) == 0
    manifest = load_manifest(second)
    assert manifest.tasks == ['depth', 'flow', 'stereo']
    assert [leg['task'] for leg in manifest.provenance['legs']] == ['multi', 'depth']
    camera = PinholeCamera(96, 64, 80.0, 80.0, 47.5, 31.5)
    image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
    assert not manifest.outputs['depth'].metric   # rendered scenes have any size
    with Perception.open(second) as perception:
        assert perception.process(image, None, camera, 1).depth is None
    with Perception.open(second, unscaled_depth=True) as perception:
        result = perception.process(image, None, camera, 1)
    assert np.isfinite(result.depth).all() and result.disparity is None
    assert (result.confidence > 0).all() and result.status.value == 'initialising'
