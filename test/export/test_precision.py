# SPDX-License-Identifier: Apache-2.0
"""Products run in half precision, everything else in float32; the numbers stay near."""
from crossview_ros.export.onnx import graphs_of, save_onnx
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import PoseHeadConfig
import numpy as np
import pytest
from small_model import small_model

onnx = pytest.importorskip('onnx', reason='the onnx extra is not installed')
SIZE_HW = (32, 32)
HALF = {'fp16': onnx.TensorProto.FLOAT16, 'bf16': onnx.TensorProto.BFLOAT16}
# unit roundoff: half the distance from 1 to the next number
ROUNDOFF = {'fp16': 2.0 ** -11, 'bf16': 2.0 ** -8}
PRODUCTS = ('Conv', 'Gemm', 'MatMul')


@pytest.fixture(scope='module')
def written(tmp_path_factory):
    """Return a function that exports a graph once: what it computes, and its file."""
    folder, model, done = tmp_path_factory.mktemp('graphs'), small_model(), {}

    def write(name, precision):
        if (name, precision) not in done:
            graph, = graphs_of(model, SIZE_HW, only=name)
            path = folder / f'{name}_{precision}.onnx'
            save_onnx(graph, path, precision)
            done[name, precision] = graph, path
        return done[name, precision]
    return write


def types_of(model):
    """Return {tensor: element type}, by ONNX's own inference."""
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    types = {item.name: item.data_type for item in inferred.graph.initializer}
    for item in (*inferred.graph.input, *inferred.graph.output, *inferred.graph.value_info):
        types[item.name] = item.type.tensor_type.elem_type
    return types


@pytest.mark.parametrize('precision', HALF)
@pytest.mark.parametrize('name', ['encode', 'stereo', 'flow'])
def test_a_half_graph_is_valid_and_has_float32_at_its_ends(name, precision, written):
    model = onnx.load(written(name, precision)[1])
    onnx.checker.check_model(model, full_check=True)
    ends = [*model.graph.input, *model.graph.output]
    assert {item.type.tensor_type.elem_type for item in ends} == {onnx.TensorProto.FLOAT}


@pytest.mark.parametrize('precision', HALF)
@pytest.mark.parametrize('name', ['encode', 'stereo', 'flow'])
def test_only_products_are_in_half(name, precision, written):
    model = onnx.load(written(name, precision)[1])
    types, half = types_of(model), HALF[precision]
    in_half = {node.op_type for node in model.graph.node
               if half in {types.get(tensor) for tensor in (*node.input, *node.output)}}
    assert in_half <= {*PRODUCTS, 'Cast'} and in_half
    for node in model.graph.node:
        if node.op_type in PRODUCTS:   # none is mixed
            assert len({types[tensor] for tensor in (*node.input, *node.output) if tensor}) == 1


@pytest.mark.parametrize('name, kept', [('stereo', ['/head/MatMul']),
                                        ('flow', ['/head/MatMul', '/head/MatMul_1'])])
def test_matching_keeps_float32_and_attention_does_not(name, kept, written):
    model = onnx.load(written(name, 'fp16')[1])
    types = types_of(model)
    products = {node.name: types[node.output[0]] for node in model.graph.node
                if node.op_type in PRODUCTS}
    assert sorted(product for product, kind in products.items()
                  if kind == onnx.TensorProto.FLOAT) == kept   # correlation, expectation
    assert products['/decoder/blocks.0/cross_attn/MatMul'] == HALF['fp16']
    assert products['/decoder/blocks.0/cross_attn/MatMul_1'] == HALF['fp16']


@pytest.mark.parametrize('fused', [True, False])
def test_the_pose_head_keeps_float32(fused, tmp_path):
    model = MultiTaskModel(ModelConfig(small_model().config.backbone,
                                       {'pose': PoseHeadConfig(16)})).eval()
    graph = graphs_of(model.task('pose') if fused else model, SIZE_HW)[-1]
    save_onnx(graph, tmp_path / 'pose.onnx', 'fp16')
    written = onnx.load(tmp_path / 'pose.onnx')
    types = types_of(written)
    products = {node.name: types[node.output[0]] for node in written.graph.node
                if node.op_type in PRODUCTS}
    in_head = {name: kind for name, kind in products.items() if '/head/' in name}
    assert in_head and set(in_head.values()) == {onnx.TensorProto.FLOAT}
    assert {kind for name, kind in products.items() if name not in in_head} == {HALF['fp16']}


@pytest.mark.parametrize('precision', HALF)
def test_weights_of_products_take_half_the_room(precision, written):
    sizes = {}
    for kind in ('fp32', precision):
        weights = onnx.load(written('encode', kind)[1]).graph.initializer
        sizes[kind] = sum(len(item.raw_data) for item in weights)
        large = [item for item in weights if len(item.dims) > 1]
        expected = HALF.get(kind, onnx.TensorProto.FLOAT)
        assert large and {item.data_type for item in large} == {expected}
    # biases of linear layers and LayerNorm stay
    assert sizes[precision] < 0.55 * sizes['fp32']


@pytest.mark.parametrize('precision', HALF)
@pytest.mark.parametrize('name', ['encode', 'stereo'])
def test_numbers_stay_within_the_rounding_of_the_products(name, precision, written):
    # ONNX's own slow evaluator: engines for a CPU skip casts, and with them the rounding
    from onnx.reference import ReferenceEvaluator
    graph, path = written(name, precision)
    feeds = {key: value.numpy() for key, value in graph.inputs.items()}
    # where GridSample's mode has the name that the evaluator knows
    model = onnx.version_converter.convert_version(onnx.load(path), 22)
    actual = ReferenceEvaluator(model).run(None, feeds)
    errors = []
    for found, expected in zip(actual, graph.run().values()):
        expected = expected.numpy()
        assert found.dtype == np.float32
        errors.append(np.abs(found - expected).max() / np.abs(expected).max())
    # some ten products follow each other, each with about one rounding of its result
    assert ROUNDOFF[precision] / 30 < max(errors) < 30 * ROUNDOFF[precision]


def test_rounding_to_bfloat16_is_to_the_nearest_even():
    from crossview_ros.export.precision import _bfloat16_bits
    values = np.array([1.0, 1 + 2.0 ** -8, 1 + 3 * 2.0 ** -8, -1.0 - 2.0 ** -9], np.float32)
    back = (_bfloat16_bits(values).astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(back, [1.0, 1.0, 1 + 2.0 ** -6, -1.0])
