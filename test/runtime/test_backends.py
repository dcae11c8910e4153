# SPDX-License-Identifier: Apache-2.0
"""Backends open by name, say what is missing, and give the numbers of the network."""
import os
from pathlib import Path
import subprocess
import sys
import threading

from block_matching import make_rig, shifted_pair, texture
from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.errors import BackendError, CheckpointError, ConfigError
from crossview_ros.runtime.backends import BackendOptions, open_backend, OUTPUT_OF_TASK
from crossview_ros.runtime.manifest import load_manifest, MANIFEST
from crossview_ros.runtime.perception import Perception
import numpy as np
import pytest
from small_model import SIZE_HW, small_model, write_small_model
import torch

ROOT = Path(__file__).resolve().parents[2]
CPU = BackendOptions('cpu')


@pytest.fixture(scope='module')
def model():
    """Return a network with random weights that fp16 holds exactly."""
    return small_model()


@pytest.fixture
def folder(model, tmp_path):
    """Return its model folder."""
    return write_small_model(tmp_path / 'small', model)


def reference(model, task, first, second):
    """Run the network itself on (H, W, 3) uint8 images."""
    norm = model.config.normalisation
    views = [torch.from_numpy(((image / 255 - norm.mean) / norm.std).astype(np.float32))
             .permute(2, 0, 1)[None] for image in (first, second)]
    with torch.no_grad():
        return model.task(task)(*views)


def test_torch_gives_the_numbers_of_the_network(model, folder):
    left, right = shifted_pair(SIZE_HW, 8)
    later = texture(*SIZE_HW, seed=5)
    perception = Perception.open(folder, 'torch', 'cpu')
    assert (perception.backend_name, perception.device) == ('torch', 'cpu')
    first = perception.process(left, right, make_rig(SIZE_HW), 1)
    second = perception.process(later, right, make_rig(SIZE_HW), 2)
    stereo, flow = reference(model, 'stereo', left, right), reference(model, 'flow', left, later)
    # The views go through the encoder one by one instead of in one batch: rounding of float32.
    disparity = np.maximum(stereo.value[0, 0].numpy(), 1e-3)
    np.testing.assert_allclose(first.disparity, disparity, atol=1e-3)
    confidence = 1 - np.exp(-1 / np.exp(stereo.log_scale[0, 0].numpy()))
    np.testing.assert_allclose(first.confidence, confidence, atol=1e-4)
    np.testing.assert_allclose(second.flow, flow.value[0].permute(1, 2, 0).numpy(), atol=1e-3)


def test_every_graph_of_a_backend_gives_the_shapes_that_are_promised(folder):
    for name in ('torch', 'onnxruntime'):
        backend = open_backend(name, folder, load_manifest(folder), CPU)
        image = np.zeros((1, 64, 32, 3), np.uint8)
        features = [backend.run('encode', {'image': image})['features'] for _ in range(2)]
        for graph, channels in (('stereo', 1), ('flow', 2)):
            outputs = backend.run(graph, {'features1': features[0], 'features2': features[1]})
            assert set(outputs) == {OUTPUT_OF_TASK[graph], 'log_scale'}
            arrays = {key: backend.to_numpy(value) for key, value in outputs.items()}
            assert arrays[OUTPUT_OF_TASK[graph]].shape == (1, channels, 64, 32)
            assert arrays['log_scale'].shape == (1, 1, 64, 32)
            assert all(array.dtype == np.float32 and array.flags.c_contiguous
                       for array in arrays.values())
        with pytest.raises(BackendError, match="no graph 'sound'"):
            backend.run('sound', {'features1': features[0], 'features2': features[1]})
        backend.wait()
        backend.close()


def test_a_run_that_fails_is_a_backend_error(folder):
    backend = open_backend('torch', folder, load_manifest(folder), CPU)
    with pytest.raises(BackendError, match="failed in graph 'encode' on cpu") as caught:
        backend.run('encode', {'image': np.zeros((1, 5, 64, 64), np.float32)})
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_num_threads_holds_in_the_thread_that_runs(folder):
    before, seen = torch.get_num_threads(), []
    perception = Perception.open(folder, 'torch', 'cpu', num_threads=before + 1)

    def work():
        left, right = shifted_pair(SIZE_HW, 8)
        perception.process(left, right, make_rig(SIZE_HW), 1)
        seen.append(torch.get_num_threads())
    thread = threading.Thread(target=work)
    thread.start()
    thread.join(30)
    torch.set_num_threads(before)
    assert seen == [before + 1]


@pytest.mark.gpu
def test_cuda_gives_the_numbers_of_the_cpu(folder):
    left, right = shifted_pair(SIZE_HW, 8)
    results = []
    for device in ('cpu', 'cuda'):
        perception = Perception.open(folder, 'torch', device)
        perception.process(left, right, make_rig(SIZE_HW), 1)
        results.append(perception.process(right, left, make_rig(SIZE_HW), 2))
    # float32 convolutions and matrix products may run in TF32, 10 bits of mantissa
    np.testing.assert_allclose(results[1].flow, results[0].flow, atol=0.5)
    np.testing.assert_allclose(np.median(results[1].disparity - results[0].disparity), 0, atol=0.1)


def test_options_and_names_reach_the_backend(folder, registered):
    with Perception.open(folder, backend='block_matcher', device='cpu', num_threads=3) as opened:
        assert opened.backend_name == 'block_matcher'
    assert registered == [(folder, 'small', BackendOptions('cpu', 3))]


@pytest.mark.parametrize('arguments, error, message', [
    ({'backend': 'abacus'}, BackendError, "no backend 'abacus'; known: auto, onnxruntime"),
    ({'device': 'tpu'}, BackendError, "no device 'tpu'; expected one of auto, cpu, cuda"),
    ({'tasks': ['pose']}, ConfigError, "model 'small' can run the tasks stereo, flow"),
    ({'max_dept': 3}, ConfigError, "unknown key 'max_dept'; did you mean 'max_depth'"),
    ({'max_depth': 'far'}, ConfigError, 'max_depth')])
def test_what_cannot_be_opened_says_why(folder, arguments, error, message):
    with pytest.raises(error, match=message):
        Perception.open(folder, **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a CUDA device')
def test_cuda_is_refused_where_there_is_none(folder):
    with pytest.raises(BackendError, match='finds no CUDA device'):
        Perception.open(folder, 'torch', 'cuda')


def test_a_missing_package_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, 'crossview_ros.networks.checkpoint', None)
    with pytest.raises(BackendError, match="backend 'torch' cannot be opened: no module named"):
        Perception.open(folder, 'torch')


def test_changed_weights_are_refused_before_they_are_read(folder):
    weights = folder / 'weights.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1] + b'\x55')
    with pytest.raises(CheckpointError, match='expected sha256'):
        Perception.open(folder)


def test_a_manifest_that_promises_a_missing_head_is_refused(folder, model):
    manifest = to_dict(load_manifest(folder))
    manifest['tasks'].append('pose')
    manifest['outputs']['pose'] = {'unit': 'm'}
    (folder / MANIFEST).write_text(dump_yaml(manifest))
    with pytest.raises(CheckpointError, match=r"promises tasks \['pose'\]"):
        open_backend('torch', folder, load_manifest(folder), CPU)


def test_a_weight_file_alone_is_no_model(folder):
    with pytest.raises(CheckpointError, match='expected a model folder'):
        Perception.open(folder / 'weights.safetensors')
    with pytest.raises(CheckpointError, match="no model 'nowhere'"):
        Perception.open('nowhere')


@pytest.mark.parametrize('code', [
    'import crossview_ros.runtime.perception',
    'import crossview_ros\ncrossview_ros.Perception'])
def test_perception_is_imported_without_torch_and_ros(code):
    assert not {'torch', 'rclpy', 'onnxruntime', 'tensorrt'} & modules_after(code)


def test_the_package_is_imported_without_anything_heavy():
    assert not {'torch', 'rclpy', 'numpy', 'cv2', 'yaml', 'pydantic'} & \
        modules_after('import crossview_ros')


def modules_after(code):
    """Run code in a fresh process; return the names of the modules that are loaded then."""
    done = subprocess.run(
        [sys.executable, '-c', f'{code}\nimport sys\nprint(*sys.modules)'], text=True,
        capture_output=True, timeout=60, env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=True)
    return set(done.stdout.split())


def test_the_package_names_what_it_exports():
    import crossview_ros
    assert crossview_ros.Perception is Perception
    assert crossview_ros.__version__ == '0.1.0'
    with pytest.raises(AttributeError, match="no attribute 'Perceptron'"):
        crossview_ros.Perceptron
