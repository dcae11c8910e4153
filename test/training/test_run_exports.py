# SPDX-License-Identifier: Apache-2.0
"""What a run becomes: an official file that loads, or a model folder whose manifest fits it."""
import re

from crossview_ros.cli.main import main
from crossview_ros.config import from_dict, to_dict
from crossview_ros.geometry.tiling import TilingSpec
from crossview_ros.networks.checkpoint import load_model
from crossview_ros.networks.official_file import read_official
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.perception import Perception
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks import TASKS
import pytest
import torch

BACKBONE = {'enc_embed_dim': 32, 'enc_num_layers': 4, 'enc_num_heads': 2, 'dec_embed_dim': 32,
            'dec_num_layers': 8, 'dec_num_heads': 2}
NARROW = {**BACKBONE, 'enc_num_layers': 1, 'dec_num_layers': 1, 'stem_dims': [8, 8, 16]}
DPT = {'layer_dims': [8, 8, 8, 8], 'feature_dim': 16, 'last_dim': 8}
MODELS = {
    'croco': {'preset': 'croco_v2_vitb_small', 'backbone': BACKBONE},
    'stereo': {'preset': 'crocostereo', 'backbone': BACKBONE, 'head': DPT},
    'flow': {'preset': 'crocoflow', 'backbone': BACKBONE, 'head': DPT},
    'depth': {'preset': 'crossview_tiny_depth', 'head': DPT,
              'backbone': {**NARROW, 'enc_num_layers': 4}},
    'pose': {'preset': 'crossview_tiny_pose', 'backbone': NARROW, 'head': {'pose_dim': 16}},
    'multi': {'preset': 'crossview_tiny', 'backbone': NARROW, 'head': {
        'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}}}


@pytest.fixture
def finished(tmp_path):
    """Return a function that leaves a run as training does, and gives its network."""
    def leave(task):
        config = from_dict(RunConfig, {
            'task': task, 'steps': 1, 'model': MODELS[task],
            'data': {'size_hw': [96, 128], 'crop_hw': [64, 96]}}, 'test')
        torch.manual_seed(0)
        model = TASKS[task](config).build().eval()
        folder = RunFolder(tmp_path / 'run')
        folder.create(config)
        state = {'config': to_dict(config), 'architecture': to_dict(model.config), 'step': 1,
                 'average': model.state_dict(), 'elapsed_s': 1.0, 'best_score': 1.0}
        folder.save(state)
        folder.save_best({**state, 'average': {
            name: 0 * value for name, value in model.state_dict().items()}})
        return model
    return leave


def export(tmp_path, out, *options):
    return main(['export', str(tmp_path / 'run'), '--out', str(tmp_path / out), *options])


@pytest.mark.parametrize('task', ['croco', 'stereo', 'flow'])
def test_a_run_becomes_an_official_file_with_its_weights(finished, tmp_path, task):
    model = finished(task)
    assert export(tmp_path, 'run.pth', '--format', 'official') == 0
    official = read_official(tmp_path / 'run.pth')
    assert official.window_hw == (64, 96) and official.config.__class__ is model.config.__class__
    again = load_model(tmp_path / 'run.pth')
    torch.manual_seed(1)
    views = torch.randn(2, 1, 3, 64, 96)
    with torch.inference_mode():
        if task == 'croco':
            mask = torch.rand(1, 24) < 0.5
            assert torch.equal(again(*views, mask).patches, model(*views, mask).patches)
        else:
            ours, theirs = model.task(task)(*views), again(*views)
            assert torch.equal(theirs.value, ours.value)
            assert torch.equal(theirs.log_scale, ours.log_scale)
            mode = {'stereo': 'conf_expsigmoid_15_3', 'flow': 'conf_expsigmoid_10_5'}[task]
            assert official.settings['tile_conf_mode'] == mode


def test_the_best_weights_of_a_run_are_chosen_on_demand(finished, tmp_path):
    finished('croco')
    assert export(tmp_path, 'best.pth', '--format', 'official', '--best') == 0
    assert not any(value.any() for value in read_official(tmp_path / 'best.pth').weights.values())


@pytest.mark.parametrize('task, options, message', [
    ('multi', [], 'has the tasks .*, and an official checkpoint holds one: pass task='),
    ('multi', ['--task', 'stereo'], "run' cannot become an official checkpoint"),
    ('croco', ['--task', 'stereo'], "pre-training has no task 'stereo'")])
def test_runs_that_official_code_has_no_network_for_are_refused(finished, tmp_path, capsys, task,
                                                                options, message):
    finished(task)
    assert export(tmp_path, 'run.pth', '--format', 'official', *options) == 1
    assert not (tmp_path / 'run.pth').exists()
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize('task', ['pose', 'depth', 'stereo'])
def test_a_run_becomes_a_folder_that_says_what_it_holds(finished, tmp_path, task):
    model = finished(task)
    assert export(tmp_path, 'model') == 0
    manifest = load_manifest(tmp_path / 'model')
    assert manifest.tasks == [task]
    assert manifest.outputs[task].unit == {'pose': 'm', 'depth': 'm', 'stereo': 'px'}[task]
    again = load_model(tmp_path / 'model')
    half = {name: value.half().float() for name, value in model.state_dict().items()}
    model.load_state_dict(half)
    view = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        if task == 'depth':
            assert torch.equal(again(view).value, model(view).value)
        else:
            ours, theirs = model.task(task)(view, view), again(view, view)
            assert all(torch.equal(a, b) for a, b in zip(ours, theirs) if torch.is_tensor(a))


def test_a_run_with_a_dpt_head_can_be_used_tiled_as_it_was_validated(finished, tmp_path):
    finished('stereo')
    assert export(tmp_path, 'model') == 0
    tiling = load_manifest(tmp_path / 'model').tiling
    assert tiling == {'stereo': TilingSpec((64, 96), 0.7, 'conf_expsigmoid_15_3')}
    Perception.open(tmp_path / 'model', inference_mode='tiled', device='cpu').close()
