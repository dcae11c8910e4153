# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime gives PyTorch's numbers, keeps its graphs, and needs no PyTorch to run them."""
import os
from pathlib import Path
import subprocess
import sys

from crossview_ros.cli.main import main
from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import BackendOptions, BACKENDS, open_backend
from crossview_ros.runtime.backends.graph_files import GraphFiles
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.parity import compare_backends, OutputParity, run_heads, tolerance_of
import numpy as np
import pytest
from small_model import SIZE_HW, write_small_model

pytest.importorskip('onnx', reason='the onnx extra is not installed')
pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
ROOT = Path(__file__).resolve().parents[2]
HEADS = ('stereo', 'flow')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a model folder with random weights."""
    return write_small_model(tmp_path_factory.mktemp('model') / 'small')


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """Return a cache that the tests of this file share, so that graphs are exported once."""
    return tmp_path_factory.mktemp('cache')


def opened(folder, cache, backend='onnxruntime', **options):
    told = []
    options = BackendOptions('cpu', 1, cache_dir=cache, progress=told.append, **options)
    return open_backend(backend, folder, load_manifest(folder), options), told


def images(batch=1, size_hw=SIZE_HW, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(rng.integers(0, 256, (2, batch, *size_hw, 3), np.uint8))


@pytest.mark.parametrize('name', sorted(BACKENDS))
@pytest.mark.parametrize('batch, size_hw', [(1, SIZE_HW), (3, SIZE_HW), (1, (32, 64))])
def test_every_backend_gives_the_numbers_of_pytorch(name, batch, size_hw, folder, cache):
    try:
        backend, _ = opened(folder, cache, name)
    except BackendError as error:
        pytest.skip(str(error))
    reference, _ = opened(folder, cache, 'torch')
    parities = compare_backends(backend, reference, load_manifest(folder), HEADS,
                                [images(batch, size_hw)])
    assert [(parity.graph, parity.output) for parity in parities] == [
        ('stereo', 'disparity'), ('stereo', 'log_scale'), ('flow', 'flow'), ('flow', 'log_scale')]
    # what the contract promises in fp32
    assert all(parity.max_error <= 1e-3 * parity.max_value for parity in parities)


def test_graphs_are_exported_once_for_a_size_and_found_again(folder, tmp_path):
    backend, told = opened(folder, tmp_path)
    run_heads(backend, load_manifest(folder), ['stereo'], images(size_hw=(32, 32)))
    assert told == ['exporting encode 32x32 fp32', 'exporting stereo 32x32 fp32']
    assert (tmp_path / 'graphs').stat().st_mode & 0o777 == 0o700
    backend, told = opened(folder, tmp_path)
    run_heads(backend, load_manifest(folder), ['stereo'], images(size_hw=(32, 32)))
    assert not told


def test_a_damaged_graph_is_exported_again(folder, cache):
    files = GraphFiles(folder, load_manifest(folder), 'fp32', cache)
    path = files.path('encode', SIZE_HW)
    whole = path.read_bytes()
    path.write_bytes(whole[:1000])
    backend, told = opened(folder, cache)
    backend.run('encode', {'image': images()[0]})
    assert told == ['exporting encode 64x96 fp32'] and path.read_bytes() == whole


@pytest.mark.parametrize('change', [
    {'files': {'weights.safetensors': 'ab' * 32}}, {'name': 'other'}])
def test_graphs_of_another_model_are_not_found(change, folder, cache):
    from dataclasses import replace
    manifest = load_manifest(folder)
    keys = {GraphFiles(folder, item, precision, cache).key('encode', size_hw)
            for item in (manifest, replace(manifest, **change))
            for precision in ('fp32', 'fp16') for size_hw in (SIZE_HW, SIZE_HW[::-1])}
    assert len(keys) == 8


def test_sessions_of_two_sizes_are_kept(folder, cache):
    backend, _ = opened(folder, cache)
    sizes = [SIZE_HW, (32, 64), SIZE_HW, (32, 32)]
    for size_hw in sizes:
        backend.run('encode', {'image': images(size_hw=size_hw)[0]})
    assert list(backend._sessions) == [SIZE_HW, (32, 32)]


def test_features_of_one_size_outlive_other_sizes(folder, cache):
    backend, _ = opened(folder, cache)
    before = run_heads(backend, load_manifest(folder), ['stereo'], images())
    views = [backend.run('encode', {'image': image})['features'] for image in images()]
    for size_hw in ((32, 64), (32, 32)):
        backend.run('encode', {'image': images(size_hw=size_hw, seed=3)[0]})
    answer = backend.run('stereo', {'features1': views[0], 'features2': views[1]})
    np.testing.assert_array_equal(backend.to_numpy(answer['disparity']),
                                  before['stereo']['disparity'])


WITHOUT_TORCH = """
import sys
for name in ('torch', 'onnx'):
    sys.modules[name] = None   # importing it raises ModuleNotFoundError
import numpy as np
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros import Perception
camera = PinholeCamera(96, 64, 80.0, 80.0, 47.5, 31.5)
image = np.random.default_rng(0).integers(0, 255, (64, 96, 3), np.uint8)
with Perception.open(sys.argv[1], 'onnxruntime', engine_cache_dir=sys.argv[2]) as perception:
    perception.process(image, image, StereoRig(camera, camera, 0.1), 1)
    result = perception.process(image, image, StereoRig(camera, camera, 0.1), 2)
print(result.depth.shape, result.flow.shape)
"""


def without_torch(folder, cache):
    return subprocess.run([sys.executable, '-c', WITHOUT_TORCH, str(folder), str(cache)],
                          text=True, capture_output=True, timeout=60,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_graphs_run_without_pytorch(folder, cache):
    backend, _ = opened(folder, cache)
    run_heads(backend, load_manifest(folder), HEADS, images())
    done = without_torch(folder, cache)
    assert done.stdout == '(64, 96) (64, 96, 2)\n', done.stderr


def test_without_pytorch_and_graphs_the_error_tells_how_to_get_them(folder, tmp_path):
    done = without_torch(folder, tmp_path)
    assert "has to be exported, which needs the package 'torch'" in done.stderr
    assert '`crossview export small --format onnx --size 64x96`' in done.stderr


def test_graphs_beside_the_weights_are_preferred(tmp_path):
    folder = write_small_model(tmp_path / 'small')
    manifest = load_manifest(folder)
    files = GraphFiles(folder, manifest, 'fp32', tmp_path / 'cache')
    cached = files.path('encode', SIZE_HW)
    beside = folder / 'onnx' / cached.parent.name / cached.name
    beside.parent.mkdir(parents=True)
    cached.rename(beside)
    assert files.path('encode', SIZE_HW) == beside


def test_what_export_leaves_beside_the_weights_runs_without_pytorch(tmp_path, capsys):
    folder = write_small_model(tmp_path / 'small')
    assert main(['export', str(folder), '--format', 'onnx', '--size', '60x90']) == 0
    assert sorted(path.name for path in folder.glob('onnx/small-64x96-fp32-*/*')) == [
        'encode.onnx', 'flow.onnx', 'stereo.onnx']
    assert capsys.readouterr().out.count('graph') == 3
    done = without_torch(folder, tmp_path / 'cache')
    assert done.stdout == '(64, 96) (64, 96, 2)\n', done.stderr


@pytest.mark.parametrize('options, message', [
    ({'precision': 'bf16'}, 'no bf16 on a CPU'),
    ({'precision': 'fp8'}, "no precision 'fp8'; expected one of auto, fp32")])
def test_what_it_cannot_do_is_refused(options, message, folder, cache):
    with pytest.raises(BackendError, match=message):
        opened(folder, cache, **options)


def test_a_missing_cuda_provider_is_named(folder, cache):
    import onnxruntime
    if 'CUDAExecutionProvider' in onnxruntime.get_available_providers():
        pytest.skip('this ONNX Runtime may run on CUDA')
    with pytest.raises(BackendError, match=r'finds no CUDA device.*onnxruntime-gpu'):
        open_backend('onnxruntime', folder, load_manifest(folder), BackendOptions('cuda'))


def test_a_missing_package_is_named(folder, cache, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(BackendError, match=r'no module named .onnxruntime.*crossview_ros\[onnx\]'):
        opened(folder, cache)


def test_errors_of_graphs_and_sizes_are_backend_errors(folder, cache):
    backend, _ = opened(folder, cache)
    with pytest.raises(BackendError, match="no graph 'sound'; it has encode, stereo, flow"):
        backend.run('sound', {'image': images()[0]})
    with pytest.raises(BackendError, match="failed in graph 'encode' on cpu"):
        backend.run('encode', {'image': np.zeros((1, *SIZE_HW, 5), np.uint8)})
    with pytest.raises(BackendError, match='33x64: image sides must be multiples of 16'):
        backend.run('encode', {'image': np.zeros((1, 33, 64, 3), np.uint8)})


def test_a_cache_that_cannot_be_written_is_named(folder, tmp_path):
    (tmp_path / 'file').write_text('')   # a file is no folder, for the superuser too
    backend, _ = opened(folder, tmp_path / 'file' / 'cache')
    with pytest.raises(BackendError, match='cannot be written.*engine.cache_dir'):
        backend.run('encode', {'image': images()[0]})


def test_the_manifest_may_widen_a_tolerance(tmp_path):
    manifest = load_manifest(write_small_model(
        tmp_path / 'small', tolerance={'onnxruntime': {'fp16': {'flow': 0.25}}}))
    assert tolerance_of(manifest, 'onnxruntime', 'fp16', 'flow') == 0.25
    assert tolerance_of(manifest, 'onnxruntime', 'fp16', 'disparity') == 2e-2
    assert tolerance_of(manifest, 'tensorrt', 'fp32', 'flow') == 1e-3


def test_a_nan_is_never_within_a_tolerance():
    assert not OutputParity('flow', 'flow', float('nan'), 1.0, 1.0).ok
