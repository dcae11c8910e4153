# SPDX-License-Identifier: Apache-2.0
"""Int8 graphs: what is quantised and what is not, from which frames, and how far numbers move."""
from crossview_ros.cli.calibration_frames import frame_pairs
from crossview_ros.cli.main import main
from crossview_ros.errors import BackendError
from crossview_ros.export.calibration import calibration_inputs
from crossview_ros.export.onnx import graphs_of, save_onnx
from crossview_ros.runtime.backends import BackendOptions, open_backend
from crossview_ros.runtime.input_adapter import normalise
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.parity import run_heads
import numpy as np
import pytest
from small_model import SIZE_HW, small_model, write_small_model
import torch
from wall_bag import write_wall_bag

onnx = pytest.importorskip('onnx', reason='the onnx extra is not installed')
pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
PRODUCTS = ('Conv', 'Gemm', 'MatMul')


def pairs(num=2, seed=0):
    """Return views of blocks of random colours, 4 px apart."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(num):
        wide = rng.integers(0, 256, (1, SIZE_HW[0] // 8, SIZE_HW[1] // 8 + 1, 3), np.uint8)
        wide = wide.repeat(8, 1).repeat(8, 2)
        made.append(tuple(np.ascontiguousarray(wide[:, :, x:x + SIZE_HW[1]]) for x in (0, 4)))
    return made


@pytest.fixture(scope='module')
def graphs(tmp_path_factory):
    """Return {name: int8 graph} of the smallest network."""
    folder, model, made = tmp_path_factory.mktemp('int8'), small_model(), {}
    for graph in graphs_of(model, SIZE_HW, pixels=model.config.normalisation):
        path = folder / f'{graph.name}.onnx'
        save_onnx(graph, path, 'int8',
                  calibration_inputs(model, graph, pairs(), model.config.normalisation))
        made[graph.name] = onnx.load(path)
    return made


def quantised(model):
    """Return {name: whether all its inputs but the bias come from DequantizeLinear}."""
    writer = {name: node.op_type for node in model.graph.node for name in node.output}
    return {node.name: [writer.get(name) for name in node.input[:2]] == ['DequantizeLinear'] * 2
            for node in model.graph.node if node.op_type in PRODUCTS}


def test_linear_layers_of_encoder_and_decoder_are_int8_and_nothing_else(graphs):
    encode = quantised(graphs['encode'])
    assert {name.partition('blocks.')[2] for name, in_int8 in encode.items() if in_int8} == {
        '0/attn/qkv/MatMul', '0/attn/proj/MatMul', '0/mlp/fc1/MatMul', '0/mlp/fc2/MatMul'}
    assert len(encode) == 4 + 2 + 8   # both products of attention, convolutions of the stem
    for task in ('stereo', 'flow'):
        found = quantised(graphs[task])
        assert found['/decoder/embed/MatMul'] and found['/decoder/blocks.0/mlp/fc1/MatMul']
        assert not any(found[name] for name in found if '/head/' in name)


def first_linear(graph):
    """Return the node that multiplies with the weights of the first linear layer."""
    return next(node for node in graph.node if node.name.endswith('0/attn/qkv/MatMul'))


@pytest.mark.parametrize('name', ['encode', 'stereo', 'flow'])
def test_scales_are_symmetric_and_biases_stay_float32(graphs, name):
    graph = graphs[name].graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    zeros = {node.input[2] for node in graph.node
             if node.op_type in ('QuantizeLinear', 'DequantizeLinear')}
    assert zeros and all(values[zero].dtype == np.int8 and not values[zero].any()
                         for zero in zeros)
    assert not [key for key, value in values.items() if value.dtype == np.int32]
    onnx.checker.check_model(graphs[name], full_check=True)


def test_weights_have_a_scale_for_each_output_channel(graphs):
    graph = graphs['encode'].graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    scale = next(node for node in graph.node
                 if node.output[0] == first_linear(graph).input[1])
    weight = values[scale.input[0]]   # (in, out)
    assert weight.dtype == np.int8 and values[scale.input[1]].shape == (weight.shape[1],)
    # the largest weight of each channel takes the whole range
    np.testing.assert_array_equal(np.abs(weight.astype(int)).max(0), 127)


def test_ranges_are_those_that_the_network_has_on_the_frames(graphs):
    graph, model, seen = graphs['encode'].graph, small_model(), []
    model.encoder.blocks[0].attn.qkv.register_forward_pre_hook(
        lambda layer, inputs: seen.append(inputs[0].abs().max().item()))
    for pair in pairs():
        for view in pair:
            model.encode(torch.from_numpy(normalise(view, model.config.normalisation)))
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    scale = next(node for node in graph.node
                 if node.output[0] == first_linear(graph).input[0])
    # symmetric: 127 steps, or 255 for the whole range
    assert values[scale.input[1]] == pytest.approx(max(seen) / 127.5, rel=0.01)


def test_without_frames_it_is_refused(tmp_path):
    graph, = graphs_of(small_model(), SIZE_HW, only='encode')
    with pytest.raises(BackendError, match='int8 needs frames to calibrate with, got none'):
        save_onnx(graph, tmp_path / 'encode.onnx', 'int8')


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """Return a model folder with int8 graphs that a bag calibrated, and frames of the bag."""
    model = small_model()
    for layer in model.encoder.blocks[0].branches():   # as built, blocks leave tokens as they are
        torch.nn.init.normal_(layer.weight, std=0.2)
    folder = write_small_model(tmp_path_factory.mktemp('model') / 'small', model.half().float())
    bag = write_wall_bag(tmp_path_factory.mktemp('bag') / 'bag', [0, 1, 2, 3])
    assert main(['export', str(folder), '--format', 'onnx', '--precision', 'int8',
                 '--calibration', str(bag)]) == 0
    return folder, frame_pairs(bag, SIZE_HW, 2)


def test_a_bag_calibrates_what_the_backend_then_runs(exported):
    folder, frames = exported
    manifest = load_manifest(folder)
    int8, reference = (open_backend(name, folder, manifest, BackendOptions(
        'cpu', 1, precision)) for name, precision in (('onnxruntime', 'int8'),
                                                      ('torch', 'auto')))
    assert int8.precision == 'int8'
    image = frames[0][0]
    parts = int8.run('encode', {'image': image})['features'].parts
    expected = reference.run('encode', {'image': image})['features']
    tokens = expected.tokens[0].numpy()
    error, size = (np.sqrt(np.mean(np.square(values)))
                   for values in (parts['block0'].numpy() - tokens, tokens))
    # four products, each with half a step of 1 / 127 of the largest number for each factor
    assert 1e-3 * size < error < 0.1 * size
    np.testing.assert_allclose(parts['stem1'].numpy(), expected.stem[1], atol=1e-4)   # no int8
    assert set(run_heads(int8, manifest, ['stereo', 'flow'], frames[0])) == {'stereo', 'flow'}


def test_without_graphs_the_error_tells_how_to_get_them(tmp_path):
    folder = write_small_model(tmp_path / 'small')
    backend = open_backend('onnxruntime', folder, load_manifest(folder), BackendOptions(
        'cpu', 1, 'int8', cache_dir=tmp_path / 'cache'))
    with pytest.raises(BackendError, match='crossview export small --format onnx --precision '
                                           'int8 --calibration BAG --size 64x96'):
        backend.run('encode', {'image': np.zeros((1, *SIZE_HW, 3), np.uint8)})


def test_a_bag_calibrates_int8_only(tmp_path, capsys):
    assert main(['export', 'crossview_tiny', '--format', 'onnx', '--calibration',
                 str(tmp_path)]) == 1
    assert '--calibration goes with --precision int8' in capsys.readouterr().err


def test_frames_of_a_bag_come_as_pairs_in_space_and_time(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 1, 2, 3])
    found = frame_pairs(bag, (32, 48), num_frames=2)
    assert len(found) == 4   # two moments, each with its right and with its next image
    assert {view.shape for pair in found for view in pair} == {(1, 32, 48, 3)}
    assert {view.dtype for pair in found for view in pair} == {np.dtype(np.uint8)}
    np.testing.assert_array_equal(found[0][0], found[1][0])   # of one left image


def test_builder_takes_the_graphs(graphs, tmp_path):
    trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    from crossview_ros.export.tensorrt import build_engine, EngineOptions
    onnx.save(graphs['encode'], tmp_path / 'encode.onnx')
    assert build_engine(trt, tmp_path / 'encode.onnx', EngineOptions(targets=('8.9',)))
