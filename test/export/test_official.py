# SPDX-License-Identifier: Apache-2.0
"""Official files that we write, and the folders that official files become."""
from dataclasses import replace

from crossview_ros.errors import CheckpointError
from crossview_ros.export.convert import convert_official
from crossview_ros.export.model_folder import output_specs
from crossview_ros.export.official import official_content, write_official
from crossview_ros.networks.checkpoint import kind_of, KINDS, load_model, save_weights
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, OneViewConfig, OneViewModel)
from crossview_ros.networks.heads import DptHeadConfig, MatchingHeadConfig
from crossview_ros.networks.presets import croco_stereo
from crossview_ros.runtime.confidence import laplace_log_scale
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.training.dense_losses import parse_criterion
import numpy as np
import pytest
import torch

BACKBONE = CroCoConfig(img_size=(64, 96), enc_embed_dim=16, enc_num_layers=4, enc_num_heads=2,
                       dec_embed_dim=24, dec_num_layers=8, dec_num_heads=2, position='rope')
HEAD = DptHeadConfig(1, 'symmetric', layer_dims=(4, 6, 8, 10), feature_dim=8, last_dim=4)
FLOW = replace(HEAD, num_values=2, scale='bounded', scale_range=(0.25, 4.0))
BOTH = ModelConfig(BACKBONE, {'stereo': HEAD, 'flow': FLOW})


@pytest.fixture
def write(tmp_path):
    """Return a function that writes a random network of ours, and gives it back too."""
    def save(config, dtype=torch.float32):
        torch.manual_seed(0)
        model = KINDS[kind_of(config)][1](config).eval()
        save_weights(tmp_path / 'ours.safetensors', config, model.state_dict(), dtype)
        return tmp_path / 'ours.safetensors', model
    return save


@pytest.fixture
def official(tmp_path):
    """Return a function that writes an official file of a random network."""
    def save(config, name, **settings):
        torch.manual_seed(0)
        content = official_content(config, KINDS[kind_of(config)][1](config).state_dict())
        if settings:
            vars(content['args']).update(settings)
        torch.save(content, tmp_path / name)
        return tmp_path / name
    return save


@pytest.mark.parametrize('config', [
    BACKBONE, replace(BACKBONE, position='cosine', norm_memory=False, mlp_ratio=2.0),
    OneViewConfig(BACKBONE, replace(HEAD, scale='none', scale_range=None)),
    OneViewConfig(replace(BACKBONE, position='cosine'), HEAD),
    ModelConfig(BACKBONE, {'stereo': HEAD}),
    ModelConfig(replace(BACKBONE, position='cosine'), {'flow': FLOW}),
    ModelConfig(BACKBONE, {'stereo': replace(HEAD, scale_range=(2.0, 5.0))}),
    ModelConfig(BACKBONE, {'flow': replace(FLOW, scale='none', scale_range=None)})])
def test_what_is_written_is_read_as_the_same_network(write, config, tmp_path):
    path, model = write(config)
    write_official(path, tmp_path / 'official.pth')
    convert_official([tmp_path / 'official.pth'], tmp_path / 'again')
    # the parts of the backbone that one view lacks keep their settings, too
    for source in (tmp_path / 'official.pth', tmp_path / 'again'):
        found = load_model(source)
        expected = model if not isinstance(model, MultiTaskModel) else model.task(model.tasks[0])
        assert type(found) is type(expected)
        for name, value in expected.state_dict().items():
            assert torch.equal(found.state_dict()[name], value), name
        if not isinstance(config, CroCoConfig):
            assert found.head.config == expected.head.config
    assert not list(tmp_path.glob('*.part'))


def test_one_task_of_several_is_written(write, tmp_path):
    path, model = write(BOTH)
    with pytest.raises(CheckpointError, match=r"has the tasks \['stereo', 'flow'\].*pass task="):
        write_official(path, tmp_path / 'official.pth')
    write_official(path, tmp_path / 'official.pth', 'flow')
    found = load_model(tmp_path / 'official.pth', 'flow').state_dict()
    assert all(torch.equal(found[name], value)
               for name, value in model.task('flow').state_dict().items())


def test_half_precision_weights_become_float32(write, tmp_path):
    path, _ = write(BACKBONE, torch.float16)
    write_official(path, tmp_path / 'official.pth')
    content = torch.load(tmp_path / 'official.pth', weights_only=True)
    assert {value.dtype for value in content['model'].values()} == {torch.float32}


def test_a_file_may_be_written_over_itself(official, tmp_path):
    path = official(BACKBONE, 'official.pth')
    before = {name: value.clone() for name, value in load_model(path).state_dict().items()}
    write_official(path, path)
    after = load_model(path).state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


@pytest.mark.parametrize('config, message', [
    (ModelConfig(replace(BACKBONE, stem='conv'), {'stereo': HEAD}), "this one has 'conv'"),
    (ModelConfig(replace(BACKBONE, stem_dims=(4, 4, 8)), {'stereo': MatchingHeadConfig(
        'row', 8, 8, 8, 8)}), 'have a DPT head, this one has a MatchingHead'),
    (ModelConfig(BACKBONE, {'stereo': replace(HEAD, hooks=(0, 1, 2, 3))}), 'hooks are .0, 1, 2'),
    (ModelConfig(BACKBONE, {'stereo': FLOW}), 'stereo has 1 values per pixel, got 2')])
def test_what_official_code_lacks_is_refused_with_the_reason(config, message):
    with torch.device('meta'):
        weights = MultiTaskModel(config).state_dict() if config.backbone.stem == 'patch' \
            and not isinstance(config.heads['stereo'], MatchingHeadConfig) else {}
    with pytest.raises(CheckpointError, match=message):
        official_content(config, weights)


def test_the_shipped_model_names_itself_where_it_cannot_be_official(tmp_path):
    with pytest.raises(CheckpointError, match="'crossview_tiny' cannot become an official"):
        write_official('crossview_tiny', tmp_path / 'x.pth', 'stereo')
    assert not list(tmp_path.iterdir())


def test_a_released_architecture_has_the_entries_of_the_reference():
    with torch.device('meta'):
        content = official_content(croco_stereo(), MultiTaskModel(croco_stereo()).state_dict())
    state = content['model']
    assert len(state) == 666                                     # croco.md 5.2, ViT-L / Base
    aliases = [name for name in state if '.act_postprocess.' in name or '.layer_rn.' in name]
    assert len(aliases) == 18
    assert state['head.dpt.scratch.layer_rn.3.weight'] is \
        state['head.dpt.scratch.layer4_rn.weight']
    unused = 'head.dpt.scratch.refinenet4.resConfUnit1.conv2.bias'
    assert state[unused].shape == (256,)
    args = content['args']
    assert (args.task, args.criterion, args.crop) == ('stereo', 'LaplacianLossBounded2()',
                                                      [352, 704])
    assert args.tile_conf_mode == 'conf_expsigmoid_15_3'
    assert args.croco_args['img_size'] == (352, 704) and args.croco_args['enc_depth'] == 24


@pytest.mark.parametrize('loss', [
    'LaplacianLoss()', 'LaplacianLossBounded()', 'LaplacianLossBounded(a=0.5, b=3.0)',
    'LaplacianLossBounded2()', 'LaplacianLossBounded2(a=2.0, b=5.0)'])
def test_the_manifest_means_the_scale_of_the_loss(official, tmp_path, loss):
    scale = {'LaplacianLoss': 'exp', 'LaplacianLossBounded': 'bounded',
             'LaplacianLossBounded2': 'symmetric'}[loss.partition('(')[0]]
    config = ModelConfig(BACKBONE, {'stereo': replace(HEAD, scale=scale, scale_range=None)})
    convert_official([official(config, 'a.pth', criterion=loss)], tmp_path / 'out')
    raw = np.linspace(-8, 8, 33, dtype=np.float32)
    found = laplace_log_scale(raw, load_manifest(tmp_path / 'out').outputs['stereo'])
    expected = parse_criterion(loss).log_scale(torch.from_numpy(raw)).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_matching_head_gives_the_logarithm_itself():
    specs = output_specs(ModelConfig(BACKBONE, {'flow': MatchingHeadConfig('plane')}))
    assert (specs['flow'].log_scale, specs['flow'].log_scale_range) == ('laplace', None)


def test_stereo_and_flow_become_one_model(official, tmp_path):
    paths = [official(ModelConfig(BACKBONE, {'flow': FLOW}), 'f.pth', crop=[32, 64]),
             official(ModelConfig(BACKBONE, {'stereo': HEAD}), 's.pth',
                      tile_conf_mode='conf_expbeta3')]
    written = convert_official(paths, tmp_path / 'both')
    assert {path.name for path in written} == {'stereo.safetensors', 'flow.safetensors',
                                               'manifest.yaml'}
    manifest = load_manifest(tmp_path / 'both')
    assert manifest.tasks == ['flow', 'stereo'] and manifest.default_size_hw == (64, 96)
    assert manifest.networks == {'stereo': 'stereo.safetensors', 'flow': 'flow.safetensors'}
    assert {task: (spec.window_hw, spec.weight) for task, spec in manifest.tiling.items()} == {
        'stereo': ((64, 96), 'conf_expbeta3'), 'flow': ((32, 64), 'conf_expsigmoid_10_5')}
    assert 'CC BY-NC-SA 4.0' in manifest.licence and manifest.fixed_size_hw is None
    assert [source['file'] for source in manifest.provenance['sources']] == ['f.pth', 's.pth']
    assert load_model(tmp_path / 'both', 'flow').head.config == FLOW
    write_official(tmp_path / 'both', tmp_path / 'back.pth', 'stereo')
    convert_official([tmp_path / 'back.pth'], tmp_path / 'again')   # the weight is kept
    assert load_manifest(tmp_path / 'again').tiling['stereo'].weight == 'conf_expbeta3'


def test_cosine_positions_fix_the_size(official, tmp_path):
    cosine = replace(BACKBONE, position='cosine')
    stereo = official(ModelConfig(cosine, {'stereo': HEAD}), 's.pth')
    convert_official([stereo], tmp_path / 'one')
    assert load_manifest(tmp_path / 'one').fixed_size_hw == (64, 96)
    flow = official(ModelConfig(replace(cosine, img_size=(64, 64)), {'flow': FLOW}), 'f.pth')
    with pytest.raises(CheckpointError, match='need one input size'):
        convert_official([stereo, flow], tmp_path / 'both')


def test_without_confidence_windows_cannot_be_merged(official, tmp_path):
    head = replace(HEAD, scale='none', scale_range=None)
    convert_official([official(ModelConfig(BACKBONE, {'stereo': head}), 's.pth')], tmp_path / 'o')
    manifest = load_manifest(tmp_path / 'o')
    assert manifest.tiling == {} and manifest.outputs['stereo'].log_scale is None


@pytest.mark.parametrize('config', [BACKBONE, OneViewConfig(BACKBONE, HEAD)])
def test_what_no_node_can_run_gets_no_manifest(official, tmp_path, config):
    path = official(config, 'a.pth')
    written = convert_official([path], tmp_path / 'out')
    assert [file.name for file in written] == ['weights.safetensors']
    assert kind_of(config) in ('completion', 'one_view')
    assert type(load_model(tmp_path / 'out')) is (CroCo if config is BACKBONE else OneViewModel)


def test_files_that_make_no_model_are_refused_before_anything_is_written(official, tmp_path):
    stereo = official(ModelConfig(BACKBONE, {'stereo': HEAD}), 's.pth')
    pretrained = official(BACKBONE, 'p.pth')
    out = tmp_path / 'out'
    for pair in ([stereo, stereo], [pretrained, stereo]):
        with pytest.raises(CheckpointError, match='one is for stereo and one for flow'):
            convert_official(pair, out)
    with pytest.raises(CheckpointError, match='s.pth: expected a folder to write'):
        convert_official([stereo], stereo)
    assert not out.exists()
    convert_official([stereo], out)
    with pytest.raises(CheckpointError, match='another model is in this folder'):
        convert_official([pretrained], out)
