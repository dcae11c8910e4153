# SPDX-License-Identifier: Apache-2.0
"""Promises of exported graphs: PyTorch's numbers, standard operators, an open batch."""
from crossview_ros.cli.main import main
from crossview_ros.errors import BackendError
from crossview_ros.export.onnx import graphs_of, OPSET, write_onnx
from crossview_ros.export.parity import onnx_parity, OutputParity
from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoEncoder
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, Normalisation, OneViewModel)
from crossview_ros.networks.heads import (
    DepthHeadConfig, DptHead, DptHeadConfig, MatchingHeadConfig, PoseHeadConfig)
import numpy as np
import pytest
import torch

onnx = pytest.importorskip('onnx', reason='the onnx extra is not installed')
runtime = pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
SIZE_HW = (32, 96)
BACKBONE = {'img_size': SIZE_HW, 'stem_dims': (8, 8, 8), 'enc_embed_dim': 16,
            'enc_num_layers': 3, 'enc_num_heads': 2, 'dec_embed_dim': 24, 'dec_num_layers': 2,
            'dec_num_heads': 2}
DPT = {'layer_dims': (4, 6, 8, 10), 'feature_dim': 8, 'last_dim': 4}
MATCHING = {'feature_dim': 8, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8,
            'fine_radius': 1}


def two_tasks(backbone, heads):
    return MultiTaskModel(ModelConfig(backbone, heads))


def dpt_pair(backbone):
    return two_tasks(backbone, {
        'stereo': DptHeadConfig(1, hooks=(0, 2, 3, 4), **DPT),
        'flow': DptHeadConfig(2, scale='bounded', hooks=(1, 2, 3, 4), **DPT)})


def matching_pair(backbone):
    return two_tasks(backbone, {'stereo': MatchingHeadConfig('row', **MATCHING),
                                'flow': MatchingHeadConfig('plane', fine_iterations=2,
                                                           **MATCHING)})


def posed(backbone):
    model = two_tasks(backbone, {'pose': PoseHeadConfig(16)})
    torch.nn.init.normal_(model.heads['pose'].leave.weight, std=0.1)   # else any pose is I
    return model


def with_depth(backbone):
    return two_tasks(backbone, {'stereo': MatchingHeadConfig('row', **MATCHING),
                                'depth': DepthHeadConfig((8, 8, 8))})


def one_view(backbone):
    head = DptHead(DptHeadConfig(1, 'none', (0, 1, 2, 2), **DPT), backbone, decoder=False)
    return OneViewModel(CroCoEncoder(backbone), head, Normalisation())


# kind: the stem it needs, how it is built, and the outputs that its graphs promise
KINDS = {
    'encoder': ('patch', CroCoEncoder, {'encode': ['tokens']}),
    'completion': ('patch', CroCo, {'complete': ['patches']}),
    'completion_conv': ('conv', CroCo, {'complete': ['patches']}),
    'one_view': ('patch', one_view, {'monocular': ['value']}),
    'stereo_dpt': ('patch', lambda b: dpt_pair(b).task('stereo'),
                   {'stereo': ['disparity', 'log_scale']}),
    'flow_dpt': ('patch', lambda b: dpt_pair(b).task('flow'), {'flow': ['flow', 'log_scale']}),
    'stereo_matching': ('conv', lambda b: matching_pair(b).task('stereo'),
                        {'stereo': ['disparity', 'log_scale']}),
    'flow_matching': ('conv', lambda b: matching_pair(b).task('flow'),
                      {'flow': ['flow', 'log_scale']}),
    'multi_dpt': ('patch', dpt_pair, {
        'encode': ['features.block0', 'features.block1', 'features.block2'],
        'stereo': ['disparity', 'log_scale'], 'flow': ['flow', 'log_scale']}),
    'pose': ('patch', lambda b: posed(b).task('pose'), {'pose': ['T_1_2', 'log_scale']}),
    'multi_pose': ('patch', posed, {'encode': ['features.block2'],
                                    'pose': ['T_1_2', 'log_scale']}),
    'depth': ('conv', lambda b: with_depth(b).task('depth'),
              {'monocular': ['value', 'log_scale']}),
    'multi_depth': ('conv', with_depth, {
        'encode': ['features.block0', 'features.block2', 'features.stem0', 'features.stem1'],
        'stereo': ['disparity', 'log_scale'], 'depth': ['depth', 'log_scale']}),
    'multi_matching': ('conv', matching_pair, {
        'encode': ['features.block2', 'features.stem0', 'features.stem1'],
        'stereo': ['disparity', 'log_scale'], 'flow': ['flow', 'log_scale']}),
}


def make(kind, position):
    stem, build, _ = KINDS[kind]
    torch.manual_seed(0)
    return build(CroCoConfig(position=position, stem=stem, **BACKBONE)).eval()


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Return a function that exports a kind once: its model, and the path of each graph."""
    done = {}

    def export(kind, position):
        if (kind, position) not in done:
            folder, model = tmp_path_factory.mktemp(kind), make(kind, position)
            done[kind, position] = model, {graph.name: write_onnx(graph, folder)
                                           for graph in graphs_of(model, SIZE_HW)}
        return done[kind, position]

    return export


@pytest.mark.parametrize('position', ['cosine', 'rope'])
@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_has_the_numbers_of_pytorch_at_batch_one_and_two(kind, position, exported):
    model, paths = exported(kind, position)
    promised = KINDS[kind][2]
    assert list(paths) == list(promised)
    for batch in (1, 2):   # other images than those that were traced
        for graph in graphs_of(model, SIZE_HW, batch, seed=batch):
            parities = onnx_parity(graph, paths[graph.name], num_threads=1)
            assert [parity.output for parity in parities] == promised[graph.name]
            # float32 rounding of another engine is some 1e-6; users are promised 1e-3
            assert all(parity.max_error <= 1e-4 * parity.max_value for parity in parities)


@pytest.mark.parametrize('kind', KINDS)
def test_graphs_hold_standard_operators_and_no_control_flow(kind, exported):
    for path in exported(kind, 'rope')[1].values():
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        assert [(opset.domain, opset.version) for opset in model.opset_import] == [('', OPSET)]
        assert {node.domain for node in model.graph.node} <= {'', 'ai.onnx'}
        # Sin and Cos would be rotary tables that are computed anew for each image
        assert not {node.op_type for node in model.graph.node} & {
            'If', 'Loop', 'Scan', 'NonZero', 'Sin', 'Cos', 'RandomUniform'}


@pytest.mark.parametrize('kind', ['completion_conv', 'multi_dpt'])
def test_nothing_in_a_graph_comes_from_the_images_it_was_traced_with(kind, exported, tmp_path):
    model, paths = exported(kind, 'rope')
    for graph in graphs_of(model, SIZE_HW, seed=7):
        assert write_onnx(graph, tmp_path).read_bytes() == paths[graph.name].read_bytes()


def test_features_are_encoded_once_and_serve_both_tasks(exported):
    model, paths = exported('multi_dpt', 'rope')
    images = torch.randn(2, 1, 3, *SIZE_HW)
    run = {name: runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
           for name, path in paths.items()}
    names = [output.name for output in run['encode'].get_outputs()]
    features = {}
    for view, image in enumerate(images, 1):
        values = run['encode'].run(None, {'image': image.numpy()})
        features.update({name.replace('features', f'features{view}', 1): value
                         for name, value in zip(names, values)})
    for task, output in (('stereo', 'disparity'), ('flow', 'flow')):
        wanted = {item.name for item in run[task].get_inputs()}
        value, log_scale = run[task].run([output, 'log_scale'],
                                         {name: features[name] for name in wanted})
        with torch.no_grad():
            expected = model.task(task)(*images)
        # float32 rounding of another engine
        np.testing.assert_allclose(value, expected.value, rtol=0, atol=1e-5)
        np.testing.assert_allclose(log_scale, expected.log_scale, rtol=0, atol=1e-5)


def test_export_verb_writes_the_shipped_model_and_tells_its_parity(tmp_path, capsys):
    assert main(['export', 'crossview_tiny', '--format', 'onnx', '--size', '96x128',
                 '--out', str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'depth.onnx', 'encode.onnx', 'flow.onnx', 'stereo.onnx']
    *rows, last = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[:2] for row in rows if row.split()[0] in ('stereo', 'flow')] == [
        ['stereo', 'disparity'], ['stereo', 'log_scale'], ['flow', 'flow'], ['flow', 'log_scale']]
    assert all(float(row.split()[3]) <= 1e-3 for row in rows)
    assert last == f'ok: {len(rows)} outputs, 96x128 (h x w), fp32, {tmp_path}'


def test_export_verb_fails_above_the_tolerance(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('crossview_ros.export.parity.onnx_parity',
                        lambda graph, *_: [OutputParity(graph.name, 'x', 0.5, 1.0, 1e-3)])
    assert main(['export', 'crossview_tiny', '--format', 'onnx', '--task', 'stereo',
                 '--size', '32x64', '--out', str(tmp_path)]) == 1
    assert 'above tolerance: 1 outputs' in capsys.readouterr().out


def test_a_size_that_the_network_refuses_is_one_line(tmp_path, capsys):
    assert main(['export', 'crossview_tiny', '--format', 'onnx', '--size', '100x96',
                 '--out', str(tmp_path)]) == 1
    assert '--size 100x96: image sides must be multiples of 16' in capsys.readouterr().err


@pytest.mark.parametrize('max_error, max_value, ok', [
    (0.002, 2.0, True), (0.0021, 2.0, False), (float('nan'), 2.0, False), (0.0, 0.0, True),
    (0.1, 0.0, False)])
def test_parity_is_the_largest_error_over_the_largest_value(max_error, max_value, ok):
    assert OutputParity('stereo', 'disparity', max_error, max_value, 1e-3).ok is ok


def test_another_network_is_above_the_tolerance(exported):
    path = exported('stereo_dpt', 'rope')[1]['stereo']
    other = graphs_of(make('stereo_dpt', 'cosine'), SIZE_HW)[0]
    assert not any(parity.ok for parity in onnx_parity(other, path))


def test_modules_without_an_export_are_refused():
    with pytest.raises(BackendError, match='no ONNX export for a Linear; expected an encoder'):
        graphs_of(torch.nn.Linear(1, 1), SIZE_HW)
