# SPDX-License-Identifier: Apache-2.0
"""Tasks with networks of their own run behind the same interface, on what each one needs."""
from block_matching import make_rig, texture
from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import load_model
from crossview_ros.runtime.backends import BackendOptions, open_backend
from crossview_ros.runtime.perception import Perception
from dpt_folders import random_network, write_folder
import numpy as np
import pytest
import torch
import torch.nn.functional as F

SIZE_HW = (64, 96)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture
def folder(tmp_path):
    """Return a model folder with a stereo and a flow network."""
    networks = {task: random_network(task, seed) for seed, task in enumerate(('stereo', 'flow'))}
    write_folder(tmp_path / 'both', networks, dict.fromkeys(networks, SIZE_HW))
    return tmp_path / 'both'


@pytest.fixture
def ran(monkeypatch):
    """Return the graphs that the torch backend runs, as they come."""
    from crossview_ros.runtime.backends.torch_ import TorchBackend
    graphs, run = [], TorchBackend.run

    def listed(self, graph, inputs):
        graphs.append(graph)
        return run(self, graph, inputs)
    monkeypatch.setattr(TorchBackend, 'run', listed)
    return graphs


def reference(folder, task, first, second, enlarged_hw=None):
    """Run one network on (H, W, 3) uint8 images; return value (C, H, W) and raw (H, W)."""
    views = [torch.from_numpy(((image / 255 - MEAN) / STD).astype(np.float32))
             .permute(2, 0, 1)[None] for image in (first, second)]
    if enlarged_hw is not None:
        views = [F.interpolate(view, enlarged_hw, mode='bicubic') for view in views]
    with torch.no_grad():
        out = load_model(folder / f'{task}.safetensors')(*views)
    return out.value[0].numpy(), out.log_scale[0, 0].numpy()


def test_each_task_gives_the_numbers_of_its_own_network(folder):
    left, right, later = (texture(*SIZE_HW, seed=seed) for seed in range(3))
    perception = Perception.open(folder, 'torch', 'cpu', refine_flow=False)
    first = perception.process(left, right, make_rig(SIZE_HW), 1)
    second = perception.process(later, right, make_rig(SIZE_HW), 2)
    disparity, raw = reference(folder, 'stereo', left, right)
    known = np.isfinite(first.disparity)
    expected = np.maximum(disparity[0], 1e-3)   # what lies behind infinity is there
    np.testing.assert_allclose(first.disparity[known], expected[known], atol=1e-4)
    # bounded2 of croco.md 6.2
    scale = np.exp(6 * (1 / (1 + np.exp(-raw / 3)) - 0.5))
    np.testing.assert_allclose(first.confidence, 1 - np.exp(-1 / scale), atol=1e-5)
    flow, raw = reference(folder, 'flow', left, later)
    np.testing.assert_allclose(second.flow, flow.transpose(1, 2, 0), atol=1e-4)
    scale = 3.75 / (1 + np.exp(-raw)) + 0.25   # bounded
    np.testing.assert_allclose(second.flow_confidence, 1 - np.exp(-1 / scale), atol=1e-5)


@pytest.mark.parametrize('mode', ['single', 'tiled'])
def test_images_are_encoded_once_by_each_network_that_needs_them(folder, ran, mode):
    perception = Perception.open(folder, 'torch', 'cpu', inference_mode=mode)
    image = texture(*SIZE_HW)
    for stamp_ns in (1, 2):
        perception.process(image, image, make_rig(SIZE_HW), stamp_ns)
    frame = ['encode_stereo', 'encode_flow', 'encode_stereo', 'stereo']
    assert ran == [*frame, *frame, 'flow']


@pytest.mark.parametrize('task, graphs', [
    ('stereo', ['encode_stereo', 'encode_stereo', 'stereo']), ('flow', ['encode_flow'])])
def test_a_task_alone_needs_only_its_own_files(folder, ran, task, graphs):
    other = {'stereo': 'flow', 'flow': 'stereo'}[task]
    (folder / f'{other}.safetensors').unlink()
    perception = Perception.open(folder, 'torch', 'cpu', tasks=[task])
    image = texture(*SIZE_HW)
    perception.process(image, image, make_rig(SIZE_HW), 1)
    assert ran == graphs
    with pytest.raises(CheckpointError, match=f'{other}.safetensors: the manifest lists'):
        Perception.open(folder, 'torch', 'cpu')


def test_a_network_without_its_task_is_refused(tmp_path):
    manifest = write_folder(tmp_path, {'stereo': random_network('flow')}, {'stereo': SIZE_HW})
    with pytest.raises(CheckpointError, match=r"promises tasks \['stereo'\], but the weights"):
        open_backend('torch', tmp_path, manifest, BackendOptions('cpu'))


def test_features_keep_only_the_blocks_that_a_head_reads(folder):
    from crossview_ros.runtime.manifest import load_manifest
    backend = open_backend('torch', folder, load_manifest(folder), BackendOptions('cpu'))
    image = np.zeros((1, 3, *SIZE_HW), np.float32)
    tokens = backend.run('encode_flow', {'image': image})['features'].tokens
    # three blocks; hooks at 0 and 2, the last
    assert [block is None for block in tokens] == [False, True, False]


def test_tiles_of_any_batch_give_one_answer(folder):
    size_hw = (100, 150)
    left, right = texture(*size_hw), texture(*size_hw, seed=1)
    results = []
    for tile_batch in (1, 3, 64):
        perception = Perception.open(folder, 'torch', 'cpu', inference_mode='tiled',
                                     tile_batch=tile_batch, refine_flow=False)
        perception.process(left, right, make_rig(size_hw), 1)
        results.append(perception.process(right, left, make_rig(size_hw), 2))
    for result in results[1:]:
        np.testing.assert_allclose(result.confidence, results[0].confidence, atol=1e-5)
        np.testing.assert_allclose(result.flow, results[0].flow, atol=1e-4)
    assert results[0].flow.shape == (*size_hw, 2)


def test_small_images_are_answered_by_the_enlarged_ones(folder):
    size_hw = (32, 48)   # half of the window
    left, right = texture(*size_hw), texture(*size_hw, seed=1)
    perception = Perception.open(folder, 'torch', 'cpu', inference_mode='tiled', tasks=['stereo'])
    confidence = perception.process(left, right, make_rig(size_hw), 1).confidence
    _, raw = reference(folder, 'stereo', left, right, enlarged_hw=SIZE_HW)
    log_scale = 6 * (torch.sigmoid(torch.from_numpy(raw) / 3) - 0.5)
    shrunk = F.interpolate(log_scale[None, None], size_hw, mode='bicubic')[0, 0].numpy()
    # a pixel of the network is half a pixel of the image
    np.testing.assert_allclose(confidence, 1 - np.exp(-1 / (np.exp(shrunk) / 2)), atol=1e-4)
