# SPDX-License-Identifier: Apache-2.0
"""TensorRT-RTX's builder, which needs no GPU, takes the graphs of the shipped model."""
import time

from crossview_ros.errors import BackendError, CheckpointError
from crossview_ros.export.onnx import graphs_of, write_onnx
from crossview_ros.export.tensorrt import (
    build_engine, engine_key, EngineOptions, RTX_TARGETS, rtx_targets)
from crossview_ros.networks.checkpoint import load_multi_task
import pytest
import torch

trt = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
pytest.importorskip('onnx', reason='onnx is not installed')

TINY_HW = (64, 96)   # graphs have the same operators at every size


@pytest.fixture(scope='module')
def tiny():
    """Return the shipped model."""
    try:
        return load_multi_task('crossview_tiny')
    except CheckpointError:
        pytest.skip('models/crossview_tiny is not there')


@pytest.fixture(scope='module')
def product(tmp_path_factory):
    """Return the graph of one linear layer."""
    path = tmp_path_factory.mktemp('graph') / 'product.onnx'
    torch.onnx.export(torch.nn.Linear(8, 8), (torch.zeros(1, 8),), str(path), dynamo=False,
                      input_names=['x'], dynamic_axes={'x': {0: 'batch'}})
    return path


@pytest.mark.parametrize('graph', ['encode', 'stereo', 'flow'])
@pytest.mark.parametrize('precision', ['fp32', 'fp16'])
def test_the_shipped_model_builds_for_geforce_30_40_and_50(tiny, tmp_path, graph, precision):
    path = write_onnx(graphs_of(tiny, TINY_HW, only=graph)[0], tmp_path, precision)
    told = []
    engine = build_engine(trt, path, EngineOptions(max_batch=2, targets=('8.6', '8.9', '12.0')),
                          told.append)
    share = {'fp32': 0.9, 'fp16': 0.5}[precision]   # of the graph: it holds the weights
    assert len(engine) > share * path.stat().st_size
    assert told == sorted(set(told)) and told[0] < 10 and 50 < told[-1] <= 100


def test_a_broken_graph_is_named_with_the_reason(tmp_path):
    path = tmp_path / 'stereo.onnx'
    path.write_bytes(b'not a graph')
    with pytest.raises(BackendError, match="graph 'stereo': .*Failed to parse .*stereo.onnx"):
        build_engine(trt, path, EngineOptions())


def test_what_the_builder_refuses_is_named_with_its_reason(product):
    with pytest.raises(BackendError, match="graph 'product': the builder gave up: .*workspace"):
        build_engine(trt, product, EngineOptions(workspace_mb=1, max_batch=1 << 30))


def test_a_gpu_without_engines_is_told_what_to_use(product):
    with pytest.raises(BackendError, match="9.0, only for .*8.9.* backend 'tensorrt'"):
        build_engine(trt, product, EngineOptions(targets=('9.0',)))


def test_a_build_can_be_cancelled(product):
    class Enough(Exception):
        """What the caller raises."""

    def tell(percent):
        raise Enough
    start_s = time.monotonic()
    with pytest.raises(Enough):
        build_engine(trt, product, EngineOptions(targets=('8.9',)), tell)
    assert time.monotonic() - start_s < 10


def test_engines_of_one_machine_serve_on_others():
    assert rtx_targets(None) == rtx_targets('8.6') == rtx_targets('12.0') == RTX_TARGETS
    assert rtx_targets('7.5') == ('7.5',)


def test_the_key_changes_with_graph_batch_target_and_gpu(product, tmp_path):
    def key(path=product, precision='fp16', gpu='A, 8.9', **options):
        return engine_key(trt, path, precision, EngineOptions(**options), gpu).digest
    other = tmp_path / 'product.onnx'
    other.write_bytes(product.read_bytes() + b'\n')
    digests = [key(), key(other), key(precision='bf16'), key(gpu='B, 8.9'), key(max_batch=2),
               key(workspace_mb=64), key(targets=('8.9',)), key(targets=('8.6', '8.9'))]
    assert len(set(digests)) == len(digests)
    assert key(targets=('8.9',), gpu='A, 8.9') == key(targets=('8.9',), gpu='B, 8.9')


@pytest.mark.parametrize('options', [{'max_batch': 0}, {'workspace_mb': 0}])
def test_options_that_no_engine_can_have_are_refused(options):
    with pytest.raises(BackendError, match='at least 1'):
        EngineOptions(**options)
