# SPDX-License-Identifier: Apache-2.0
"""The verb convert, and what info says of the files on both sides."""
import json

from crossview_ros.cli.main import main
from crossview_ros.data.io import write_image
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.networks.checkpoint import load_model
from crossview_ros.runtime.perception import Perception
import numpy as np
import pytest
import torch

GOLDEN = 'reference/golden/croco'
IMAGE = np.random.default_rng(0).integers(0, 256, (70, 140, 3), dtype=np.uint8)


@pytest.fixture
def golden(shared_dir):
    return shared_dir / GOLDEN


def test_two_files_become_a_model_that_answers(golden, tmp_path, capsys):
    out = tmp_path / 'both'
    sources = [str(golden / f'ckpt_{task}.pth') for task in ('stereo', 'flow')]
    assert main(['convert', *sources, str(out)]) == 0
    text = capsys.readouterr().out
    for part in ('two views, stereo', 'two views, flow', '64 x 96 px', '164,105',
                 'LaplacianLossBounded2()', 'conf_expsigmoid_10_5', 'CC BY-NC-SA 4.0',
                 'stereo.safetensors', 'manifest.yaml'):
        assert part in text, part
    camera = PinholeCamera(140, 70, 80.0, 80.0, 69.5, 34.5)
    with Perception.open(out, device='cpu') as perception:
        results = [perception.process(IMAGE, IMAGE, StereoRig(camera, camera, 0.1), stamp)
                   for stamp in (1, 2)]
    assert results[0].disparity.shape == (70, 140) and results[1].flow.shape == (70, 140, 2)
    assert main(['info', str(out)]) == 0
    assert 'licence' in capsys.readouterr().out


def test_a_pretraining_file_becomes_a_model_that_completes(golden, tmp_path, capsys):
    out = tmp_path / 'pre'
    source = golden / 'ckpt_pretrain_released_v2.pth'
    assert main(['convert', str(source), str(out), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert set(facts['files']) == {'weights.safetensors'}
    source, = facts['sources']
    # parameters: golden README, scalars with aliases counted once
    assert (source['network'], source['parameters']) == ('completion', 147904)
    assert source['entries'] == ['model', 'croco_kwargs']
    write_image(tmp_path / 'a.png', IMAGE)
    assert main(['complete', str(tmp_path / 'a.png'), str(tmp_path / 'a.png'), '--model', str(out),
                 '--out', str(tmp_path / 'b.png')]) == 0
    assert (tmp_path / 'b.png').stat().st_size > 1000


def test_storage_may_be_half_precision(golden, tmp_path):
    for dtype in ('fp32', 'fp16'):
        main(['convert', str(golden / 'ckpt_flow.pth'), str(tmp_path / dtype), '--dtype', dtype])
    half, full = ((tmp_path / dtype / 'weights.safetensors').stat().st_size
                  for dtype in ('fp16', 'fp32'))
    assert half < 0.65 * full
    assert load_model(tmp_path / 'fp16').head.leave.weight.dtype == torch.float32


@pytest.mark.parametrize('name, expected', [
    ('ckpt_stereo', {'network': 'multi', 'tasks': ['stereo'], 'parameters': 164096,
                     'criterion': 'LaplacianLossBounded2()', 'format': 'official'}),
    ('ckpt_pretrain_trainloop', {'network': 'completion', 'tasks': [], 'parameters': 147904})])
def test_info_tells_what_an_official_file_holds(golden, capsys, name, expected):
    assert main(['info', str(golden / f'{name}.pth'), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['kind'] == 'checkpoint'
    assert {key: facts[key] for key in expected} == expected


def test_info_tells_what_a_folder_without_manifest_holds(golden, tmp_path, capsys):
    main(['convert', str(golden / 'ckpt_pretrain_trainloop.pth'), str(tmp_path / 'pre')])
    capsys.readouterr()
    for path in (tmp_path / 'pre', tmp_path / 'pre' / 'weights.safetensors'):
        assert main(['info', str(path)]) == 0
        text = capsys.readouterr().out
        assert 'pre-training' in text and 'ckpt_pretrain_trainloop.pth, sha256' in text
        assert '2 blocks of width 32, 2 heads' in text


def test_what_cannot_be_converted_is_one_line(golden, tmp_path, capsys):
    (tmp_path / 'page.pth').write_text('<html>')
    for source in (tmp_path / 'page.pth', tmp_path / 'absent.pth', tmp_path):
        assert main(['convert', str(source), str(tmp_path / 'out')]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f'crossview: {source}: expected') and error.count('\n') == 1
    assert main(['info', str(tmp_path / 'page.pth')]) == 1
    assert not (tmp_path / 'out').exists()
