# SPDX-License-Identifier: Apache-2.0
"""A pose head beside the flow: one pass of the network, metres, a start for the odometry."""
from dataclasses import replace

from block_matching import make_manifest, make_rig, texture
from crossview_ros.export.model_folder import output_specs
from crossview_ros.export.onnx import graphs_of, save_onnx, write_onnx
from crossview_ros.export.parity import onnx_parity
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.relative_pose import estimate_relative_pose, PoseStatus
from crossview_ros.geometry.se3 import exp_se3, invert, log_se3
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.heads import PoseHeadConfig
from crossview_ros.runtime.learned_motion import LearnedMotion
from crossview_ros.runtime.manifest import OutputSpec
from crossview_ros.runtime.odometry import SeenDepth
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.results import TrackingStatus
from crossview_ros.training.seen_motion import rays, seen_motion
import numpy as np
import pytest
from small_model import small_architecture, write_small_model
from test_visual_odometry import COLS, drive, DT_NS, ExactBackend, RIG, ROWS, STEP
import torch

SIZE_HW = (64, 96)
NOISE_PX = 0.5
RELATIVE = OutputSpec('median depth', 'laplace', focal_px=80.0, metric=False)
METRIC = OutputSpec('m', 'laplace')


def seen(depth_m=3.0, camera=PinholeCamera(96, 64, 160.0, 240.0, 47.5, 31.5)):
    """Return a wall."""
    return SeenDepth(np.full((64, 96), depth_m, np.float32), None, camera, 1)


def test_metres_are_the_answer_times_the_depth_and_the_canonical_lens():
    shift, turn = np.array((0.1, -0.2, 0.3)), exp_se3(np.array((0, 0, 0, 0.02, 0, 0)))
    answer = turn.copy()
    answer[:3, 3] = shift
    # focal lengths of the network's input: 160 / 2, 240 / 1.5
    T = LearnedMotion(answer, (2.0, 1.5), RELATIVE).in_metres(seen())
    np.testing.assert_allclose(T[:3, 3], 3.0 * shift * (80 / 80, 80 / 160, 1))
    np.testing.assert_allclose(log_se3(T)[3:], (0.02 * 80 / 160, 0, 0), atol=1e-12)


def test_a_head_that_knows_metres_is_believed():
    np.testing.assert_allclose(LearnedMotion(STEP, (2.0, 1.5), METRIC).in_metres(seen()), STEP,
                               atol=1e-12)


def test_without_any_depth_there_is_no_answer():
    assert LearnedMotion(STEP, (1.0, 1.0), RELATIVE).in_metres(seen(np.nan)) is None


def test_what_training_asks_for_comes_back_in_metres():
    T = exp_se3(np.array((0.2, -0.1, 0.4, 0.03, -0.02, 0.05)))
    focal = torch.tensor([120.0])
    truth = seen_motion({
        'ray': rays(focal, (64, 96)), 'focal': focal, 'baseline': torch.tensor([0.1]),
        'disparity': torch.full((1, 1, 64, 96), 12 / 3.0),
        'T_previous_left': torch.tensor(T)[None].float()}, 80.0)[0].double().numpy()
    camera = PinholeCamera(96, 64, 120.0, 120.0, 47.5, 31.5)
    back = LearnedMotion(truth, (1.0, 1.0), RELATIVE).in_metres(seen(camera=camera))
    np.testing.assert_allclose(back, T, atol=1e-5)


def network_with_pose():
    """Return the smallest network with three heads, whose answers are none of the trivial."""
    architecture = small_architecture()
    torch.manual_seed(0)
    model = MultiTaskModel(replace(architecture, heads={
        **architecture.heads, 'pose': PoseHeadConfig(16, focal_px=80.0)})).eval()
    torch.nn.init.normal_(model.heads['pose'].leave.weight, std=0.02)
    return model.half().float()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return the model folder of `network_with_pose`."""
    model = network_with_pose()
    return write_small_model(tmp_path_factory.mktemp('models') / 'posed', model,
                             tasks=list(model.tasks), outputs=output_specs(model.config))


@pytest.mark.parametrize('backend', ['torch', 'onnxruntime'])
def test_backends_answer_the_pose_with_the_flow(folder, tmp_path, backend):
    pytest.importorskip(backend)
    perception = Perception.open(folder, backend, 'cpu', engine_cache_dir=str(tmp_path))
    graphs, run = [], perception._backend.run
    perception._backend.run = lambda graph, inputs: graphs.append(graph) or run(graph, inputs)
    images = [texture(*SIZE_HW, seed=seed) for seed in range(2)]
    encoded = [perception._inference.encode(perception._inference.prepare(image), ['flow'])
               for image in images]
    found = perception._inference.predict('flow', *encoded).T_1_2
    assert graphs == ['encode', 'encode', 'flow']
    model = network_with_pose()
    norm = model.config.normalisation
    views = [torch.from_numpy(((image / 255 - norm.mean) / norm.std).astype(np.float32))
             .permute(2, 0, 1)[None] for image in images]
    with torch.inference_mode():
        expected = model.task('pose')(*views).T_1_2[0].numpy()
    assert np.abs(expected - np.eye(4)).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_a_frame_runs_no_more_graphs_than_without_the_head(folder, tmp_path):
    plain = write_small_model(tmp_path / 'plain')
    graphs = {}
    for path in (folder, plain):
        perception = Perception.open(path, 'torch', 'cpu')
        ran, run = graphs.setdefault(path, []), perception._backend.run
        perception._backend.run = lambda graph, inputs: ran.append(graph) or run(graph, inputs)
        for stamp in range(1, 4):
            image = texture(*SIZE_HW, seed=stamp)
            perception.process(image, image, make_rig(SIZE_HW), stamp * DT_NS)
    for ran in graphs.values():   # keyframes differ with the answers, so flows may
        assert ran.count('encode') == 6 and ran.count('stereo') == 3
        assert set(ran) == {'encode', 'stereo', 'flow'}


def test_windows_of_an_image_have_no_pose(folder):
    tiling = {task: {'window_hw': SIZE_HW} for task in ('stereo', 'flow')}
    model = network_with_pose()
    path = write_small_model(folder.parent / 'tiled', model, tasks=list(model.tasks),
                             outputs=output_specs(model.config), tiling=tiling)
    perception = Perception.open(path, 'torch', 'cpu', inference_mode='tiled')
    image = texture(96, 128)
    results = [perception.process(image, image, make_rig((96, 128)), stamp) for stamp in (1, 2)]
    assert results[1].flow is not None


def test_the_exported_flow_has_the_numbers_of_both_heads(tmp_path):
    model = network_with_pose()
    graph = graphs_of(model, SIZE_HW, only='flow')[0]
    assert graph.outputs == ('flow', 'log_scale', 'T_1_2')
    path = write_onnx(graph, tmp_path)
    for batch in (1, 2):
        again = graphs_of(model, SIZE_HW, batch, seed=batch, only='flow')[0]
        parities = onnx_parity(again, path, num_threads=1)
        assert [parity.output for parity in parities] == list(graph.outputs)
        assert all(parity.max_error <= 1e-4 * parity.max_value for parity in parities)


def test_the_pose_keeps_float32_where_products_are_half(tmp_path):
    onnx = pytest.importorskip('onnx')
    save_onnx(graphs_of(network_with_pose(), SIZE_HW, only='flow')[0], tmp_path / 'a.onnx', 'fp16')
    graph = onnx.load(tmp_path / 'a.onnx').graph
    weights = {item.name: item.data_type for item in graph.initializer}
    writer = {name: node for node in graph.node for name in node.output}
    # products between the answer and the last block of the decoder
    products, left = {}, [writer['T_1_2']]
    while left:
        node = left.pop()
        if '/decoder/' in node.name or node.name in products:
            continue
        products[node.name] = [weights[name] for name in node.input if name in weights
                               and node.op_type in ('Gemm', 'MatMul')]
        left += [writer[name] for name in node.input if name in writer]
    kinds = [kind for found in products.values() for kind in found]
    assert len(kinds) >= 4 and set(kinds) == {onnx.TensorProto.FLOAT}
    assert onnx.TensorProto.FLOAT16 in weights.values()


def test_graphs_of_a_model_with_both_heads_need_none_of_the_pose_alone(folder, tmp_path):
    from crossview_ros.runtime.backends.graph_files import GraphFiles
    from crossview_ros.runtime.manifest import load_manifest
    graphs = GraphFiles(folder, load_manifest(folder), 'fp32', tmp_path).graphs
    assert set(graphs) == {'encode', 'stereo', 'flow'}


class PosedBackend(ExactBackend):
    """Answers a pose beside the flow, of which a share may be random and the rest is rough."""

    def __init__(self, answer=None, wrong=0.0, seed=0):
        super().__init__()
        self.answer, self.wrong, self.seed = answer, wrong, seed

    def run(self, graph, inputs):
        """Run a graph."""
        outputs = super().run(graph, inputs)
        if graph == 'flow':
            rng = np.random.default_rng(self.seed)
            flow = outputs['flow']
            flow += rng.normal(0, NOISE_PX, flow.shape)
            lost = rng.random((ROWS, COLS)) < self.wrong
            flow[..., lost] = rng.uniform(-20, 20, (2, int(lost.sum())))
            outputs['log_scale'][:] = np.log(NOISE_PX)
            if self.answer is not None:
                outputs['T_1_2'] = np.asarray(self.answer, np.float32)[None]
        return outputs


def path_of(backend, spec=METRIC, frames=5):
    """Return the results of a drive."""
    manifest = make_manifest(
        default_size_hw=(ROWS, COLS), tasks=['stereo', 'flow', 'pose'],
        outputs={**dict.fromkeys(('stereo', 'flow'), OutputSpec('px', 'laplace')), 'pose': spec})
    perception = Perception(backend, manifest, None, PerceptionOptions())
    return drive(perception, range(1, frames * DT_NS, DT_NS))


@pytest.mark.parametrize('answer', [np.eye(4), exp_se3(np.array((2.0, 1, -3, 0.5, -0.4, 1)))])
def test_an_untrained_head_does_no_harm(answer):
    plain, posed = (path_of(PosedBackend(value)) for value in (None, answer))
    for without, result in zip(plain, posed, strict=True):
        assert result.status is without.status
        np.testing.assert_array_equal(result.T_odom_camera, without.T_odom_camera)
        np.testing.assert_array_equal(result.covariance, without.covariance)


@pytest.mark.parametrize('seed', [1, 2, 7])   # where chance finds nothing
def test_a_true_answer_finds_the_camera_where_chance_does_not(seed):
    relative = STEP.copy()
    relative[:3, 3] /= 5.0   # the median depth [m]
    lens = replace(RELATIVE, focal_px=RIG.left.fx)
    alone, *helped = (path_of(PosedBackend(answer, 0.78, seed), spec, frames=2)[-1]
                      for answer, spec in ((None, METRIC), (STEP, METRIC), (relative, lens)))
    assert alone.status is TrackingStatus.LOST
    for result in helped:
        assert result.status is TrackingStatus.OK
        error = log_se3(invert(result.T_prev_cur) @ STEP)
        assert error @ np.linalg.solve(result.covariance_rel, error) < 22.5   # 99.9 % of chi2


def test_other_starts_win_only_where_they_fit_best():
    rng = np.random.default_rng(0)
    camera = RIG.left
    depth = (5 + rng.random((ROWS, COLS))).astype(np.float32)
    still = rng.normal(0, 0.1, (ROWS, COLS, 2)).astype(np.float32)
    found = [estimate_relative_pose(still, depth, camera, others=others)
             for others in ((), (STEP,), (STEP, np.eye(4)))]
    for pose in found:
        assert pose.status is PoseStatus.OK
        np.testing.assert_array_equal(pose.T_prev_cur, found[0].T_prev_cur)


def test_a_network_without_the_head_answers_no_pose(tmp_path):
    perception = Perception.open(write_small_model(tmp_path / 'plain'), 'torch', 'cpu')
    image = perception._inference.encode(
        perception._inference.prepare(texture(*SIZE_HW)), ['flow'])
    assert perception._inference.predict('flow', image, image).T_1_2 is None
