# SPDX-License-Identifier: Apache-2.0
"""Graphs that take images as a camera gives them have the numbers of the float path."""
from crossview_ros.cli.main import main
from crossview_ros.export.onnx import graphs_of, save_onnx
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import PoseHeadConfig
from crossview_ros.runtime.manifest import InputNormalisation
import numpy as np
import pytest
from small_model import small_model
import torch

onnx = pytest.importorskip('onnx', reason='the onnx extra is not installed')
runtime = pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
SIZE_HW = (32, 64)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)   # no two channels alike


@pytest.fixture(scope='module')
def model():
    """Return the smallest network with both heads."""
    return small_model()


def noise(batch=1, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (batch, *SIZE_HW, 3), np.uint8)


def by_formula(pixels, channels):
    """Return what the network expects: channels in its order, minus mean, over std."""
    ordered = pixels[..., ::-1] if channels == 'bgr' else pixels
    return torch.from_numpy(((ordered / 255 - MEAN) / STD).transpose(0, 3, 1, 2)
                            .astype(np.float32))


def session(path):
    return runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])


@pytest.mark.parametrize('channels', ['rgb', 'bgr'])
def test_the_encoder_normalises_pixels_itself(model, channels, tmp_path):
    graph, = graphs_of(model, SIZE_HW, only='encode',
                       pixels=InputNormalisation(MEAN, STD, channels))
    save_onnx(graph, tmp_path / 'encode.onnx')
    encode = session(tmp_path / 'encode.onnx')
    only, = encode.get_inputs()
    assert (only.name, only.type, only.shape) == ('image', 'tensor(uint8)', ['batch', 32, 64, 3])
    for batch in (1, 2):
        pixels = noise(batch)
        with torch.no_grad():
            expected = model.encode(by_formula(pixels, channels))
        found = dict(zip((item.name for item in encode.get_outputs()),
                         encode.run(None, {'image': pixels})))
        # float32 rounding of another engine
        np.testing.assert_allclose(found['features.block0'], expected.tokens[0], atol=2e-5)
        np.testing.assert_allclose(found['features.stem1'], expected.stem[1], atol=2e-5)


def test_a_graph_of_two_images_takes_both_as_pixels(model, tmp_path):
    graph, = graphs_of(model.task('stereo'), SIZE_HW, pixels=InputNormalisation(MEAN, STD))
    save_onnx(graph, tmp_path / 'stereo.onnx')
    left, right = noise(seed=1), noise(seed=2)
    with torch.no_grad():
        expected = model.task('stereo')(by_formula(left, 'rgb'), by_formula(right, 'rgb'))
    value, _ = session(tmp_path / 'stereo.onnx').run(None, {'image1': left, 'image2': right})
    np.testing.assert_allclose(value, expected.value, atol=1e-4 * expected.value.abs().max())


def test_graphs_of_features_are_the_same_with_and_without_pixels(model, tmp_path):
    for name, pixels in (('a', None), ('b', InputNormalisation(MEAN, STD))):
        graph, = graphs_of(model, SIZE_HW, only='flow', pixels=pixels)
        save_onnx(graph, tmp_path / name)
    assert (tmp_path / 'a').read_bytes() == (tmp_path / 'b').read_bytes()


def test_the_pose_head_keeps_float32_in_a_graph_from_pixels(tmp_path):
    network = MultiTaskModel(ModelConfig(small_model().config.backbone,
                                         {'pose': PoseHeadConfig(16)})).eval()
    graph, = graphs_of(network.task('pose'), SIZE_HW, pixels=InputNormalisation(MEAN, STD))
    save_onnx(graph, tmp_path / 'pose.onnx', 'fp16')
    written = onnx.load(tmp_path / 'pose.onnx')
    cast = {name for node in written.graph.node if node.op_type == 'Cast'
            for name in (*node.input, *node.output) if 'fp16' in name}
    assert cast and not [name for name in cast if '/head/' in name]


def test_export_verb_writes_graphs_from_pixels(tmp_path, capsys):
    assert main(['export', 'crossview_tiny', '--format', 'onnx', '--size', '32x64', '--pixels',
                 '--out', str(tmp_path)]) == 0
    assert session(tmp_path / 'encode.onnx').get_inputs()[0].type == 'tensor(uint8)'
    assert capsys.readouterr().out.splitlines()[-1].startswith('ok: ')
