# SPDX-License-Identifier: Apache-2.0
"""The TensorRT backends give the numbers of PyTorch, on a GPU that is faked (fake_gpu.py)."""
import hashlib
import shutil

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.errors import BackendError
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.runtime.backends import BackendOptions, engines, open_backend
from crossview_ros.runtime.manifest import load_manifest, MANIFEST, ModelManifest
from crossview_ros.runtime.parity import run_heads
import numpy as np
import pytest
import torch

trt_rtx = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
import fake_gpu  # noqa: E402, I100

SIZE_HW = (32, 64)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return the folder of the smallest model with both heads, weights random."""
    torch.manual_seed(0)
    head = {'feature_dim': 16, 'hidden_dim': 16, 'fine_hidden_dim': 16, 'fine_dim': 8,
            'coarse_iterations': 1, 'fine_iterations': 1}
    backbone = CroCoConfig(
        enc_embed_dim=32, enc_num_layers=1, enc_num_heads=2, dec_embed_dim=32, dec_num_layers=1,
        dec_num_heads=2, position='rope', stem='conv', stem_dims=(8, 8, 16), residual_init='zero')
    model = MultiTaskModel(ModelConfig(backbone, {
        'stereo': MatchingHeadConfig('row', **head)})).eval()
    weights = tmp_path_factory.mktemp('model') / 'weights.safetensors'
    save_weights(weights, model.config, model.state_dict())
    manifest = ModelManifest(
        name='small', architecture=to_dict(model.config), tasks=['stereo'],
        size_multiple=32, default_size_hw=SIZE_HW,
        normalisation=to_dict(model.config.normalisation),
        outputs={'stereo': {'unit': 'px', 'log_scale': 'laplace'}},
        files={weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()},
        licence='Apache-2.0')
    (weights.parent / MANIFEST).write_text(dump_yaml(to_dict(manifest)))
    return weights.parent


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """Return a cache folder that the tests of this file share: each engine is built once."""
    return tmp_path_factory.mktemp('cache')


def images(batch=1, size_hw=SIZE_HW):
    """Return two views, (B, H, W, 3) uint8."""
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (batch, *size_hw, 3), np.uint8) for _ in range(2)]


def answer(backend, folder, pair):
    """Return the outputs of the head."""
    return run_heads(backend, load_manifest(folder), ['stereo'], pair)['stereo']


def expected(folder, pair):
    """Return what PyTorch gives."""
    backend = open_backend('torch', folder, load_manifest(folder), BackendOptions(device='cpu'))
    return answer(backend, folder, pair)


def assert_close(actual, right, share=1e-3):
    """Compare outputs by the issue's rule: max |a - b| <= share of max |b|."""
    assert actual.keys() == right.keys()
    for name, value in right.items():
        np.testing.assert_allclose(actual[name], value, rtol=0, atol=share * np.abs(value).max())


@pytest.fixture
def trt(monkeypatch):
    """Return the fake TensorRT that the backends will find."""
    return fake_gpu.install(monkeypatch, trt_rtx)


@pytest.fixture
def opened(folder, cache, trt):
    """Return a function that opens the backend."""
    def make(precision='fp32', **options):
        return open_backend('tensorrt_rtx', folder, load_manifest(folder), BackendOptions(
            precision=precision, **{'cache_dir': cache, 'max_batch': 2, **options}))
    return make


@pytest.fixture
def unverified(opened, folder, cache, tmp_path):
    """Return a copy of the cache with engines that nobody has compared yet."""
    answer(opened(), folder, images())
    shutil.copytree(cache, tmp_path / 'cache')
    for verdict in (tmp_path / 'cache').rglob('*.parity.json'):
        verdict.unlink()
    return tmp_path / 'cache'


def test_features_and_heads_meet_at_the_right_addresses(opened, folder):
    backend = opened()
    assert_close(answer(backend, folder, images()), expected(folder, images()))
    assert (backend.device, backend.precision) == ('cuda', 'fp32')


def test_features_of_an_earlier_image_keep_their_memory(opened, folder):
    backend = opened()
    first, second = images()
    kept = backend.run('encode', {'image': first})['features']
    for number in range(3):   # memory that is free is used again
        backend.run('encode', {'image': number + second})
    late = backend.run('encode', {'image': second})['features']
    outputs = backend.run('stereo', {'features1': kept, 'features2': late})
    assert_close({name: backend.to_numpy(handle) for name, handle in outputs.items()},
                 expected(folder, [first, second]))


def test_memory_of_dropped_arrays_is_used_again(opened, folder, trt):
    backend = opened()
    answer(backend, folder, images())
    answer(backend, folder, images())
    left = trt.cuda.left
    for _ in range(3):
        answer(backend, folder, images())
    assert trt.cuda.left == left


def test_closing_frees_all_memory_and_twice_held_arrays_do_no_harm(opened, trt):
    backend = opened()
    kept = backend.run('encode', {'image': images()[0]})
    backend.close()
    assert trt.cuda.memory == {}
    del kept
    assert trt.cuda.memory == {}


def test_a_batch_up_to_the_limit_runs(opened, folder):
    assert_close(answer(opened(), folder, images(2)), expected(folder, images(2)))


def test_engines_come_from_the_cache_the_second_time(opened, folder, trt):
    answer(opened(), folder, images())
    built = trt.num_builds
    answer(opened(), folder, images())
    assert trt.num_builds == built


def test_wrong_engines_are_refused_with_the_figures(opened, folder, trt, unverified):
    trt.offset = 1.0
    for _ in range(2):   # the second time by the verdict that was kept
        with pytest.raises(BackendError,
                           match=r'fp32 .*stereo disparity \d.*tolerance 1.0e-03'):
            answer(opened(cache_dir=unverified), folder, images())
        trt.offset = 0.0


def test_auto_takes_the_next_precision_when_one_is_wrong(opened, folder, trt, unverified,
                                                         monkeypatch, caplog):
    monkeypatch.setattr(engines, 'PRECISIONS', ('fp16', 'fp32'))   # the fake has no bf16
    trt.quick = True
    told = []

    def progress(text):
        told.append(text)
        trt.offset = float('fp16' in text)   # the fp16 engines are wrong

    backend = opened('auto', cache_dir=unverified, progress=progress)
    assert_close(answer(backend, folder, images()), expected(folder, images()))
    assert backend.precision == 'fp32'
    assert 'fp16' in caplog.text and 'too far' in caplog.text
    assert any(text.startswith('building stereo 32x64 fp16: ') for text in told)


def test_a_size_that_comes_later_gets_its_own_engines(opened, folder, trt, tmp_path):
    trt.quick = True
    backend = opened(cache_dir=tmp_path)
    for size_hw in (SIZE_HW, (64, 64)):
        pair = images(size_hw=size_hw)
        assert_close(answer(backend, folder, pair), expected(folder, pair))


def test_what_is_missing_is_said(folder, monkeypatch, opened):
    with pytest.raises(BackendError, match='runs on a GPU only'):
        opened(device='cpu')
    with pytest.raises(BackendError, match="no graph 'flow'"):
        opened().run('flow', {'image': images()[0]})
    monkeypatch.undo()
    with pytest.raises(BackendError, match='CUDA|tensorrt'):
        open_backend('tensorrt', folder, load_manifest(folder))


def test_a_float_image_is_refused_since_an_engine_would_read_its_bytes(opened):
    with pytest.raises(BackendError, match=r"'image' must be \(B, H, W, 3\) uint8 RGB, got"):
        opened().run('encode', {'image': np.zeros((1, 3, *SIZE_HW), np.float32)})


def test_a_quarter_of_the_bytes_of_float32_goes_to_the_gpu(opened, trt):
    backend, sizes = opened(), []
    copy = trt.cuda.cudaMemcpyAsync
    trt.cuda.cudaMemcpyAsync = lambda to, source, num_bytes, kind, stream: (
        sizes.append((kind, num_bytes)), copy(to, source, num_bytes, kind, stream))[1]
    backend.run('encode', {'image': images()[0]})
    to_device = trt.cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
    assert [size for kind, size in sizes if kind == to_device] == [3 * SIZE_HW[0] * SIZE_HW[1]]


def test_a_data_centre_gpu_is_refused_by_rtx(folder, cache, monkeypatch):
    fake_gpu.install(monkeypatch, trt_rtx, capability=(9, 0))
    backend = open_backend('tensorrt_rtx', folder, load_manifest(folder),
                           BackendOptions(precision='fp32', cache_dir=cache))
    with pytest.raises(BackendError, match="9.0.*backend 'tensorrt'"):
        backend.run('encode', {'image': images()[0]})
