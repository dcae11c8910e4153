# SPDX-License-Identifier: Apache-2.0
"""One camera answered by a model with a depth head: metres, doubt, odometry."""
import math

from block_matching import BlockMatcher, make_manifest, make_rig, shifted_pair, texture
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.manifest import OutputSpec
from crossview_ros.runtime.monocular import monocular_depth, SHAPE_SHARE
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.task_choice import choose_tasks, heads_of, heads_of_frame
import numpy as np
import pytest

SIZE_HW = (64, 96)
CANONICAL_FOCAL_PX = 50.0
CANONICAL_M = 3.0
LOG_B = math.log(0.05)
OUTPUTS = {'stereo': OutputSpec('px', 'laplace'), 'flow': OutputSpec('px', 'laplace'),
           'depth': OutputSpec('m', 'laplace', focal_px=CANONICAL_FOCAL_PX)}
DT_NS = 100_000_000


class DepthMatcher(BlockMatcher):
    """Sees one canonical depth everywhere, with one doubt."""

    def run(self, graph, inputs):
        if graph != 'depth':
            return super().run(graph, inputs)
        self.graphs.append(graph)
        assert list(inputs) == ['features1']
        shape = (1, 1, *inputs['features1'].inside.shape[:2])
        return {'depth': np.full(shape, CANONICAL_M, np.float32),
                'log_scale': np.full(shape, LOG_B, np.float32)}


def make(heads=('stereo', 'flow', 'depth'), tasks=None, **options):
    manifest = make_manifest(tasks=list(heads), outputs={head: OUTPUTS[head] for head in heads})
    return Perception(DepthMatcher(), manifest, tasks, PerceptionOptions(**options))


def camera_of(size_hw):
    return make_rig(size_hw).left   # 100 px


@pytest.mark.parametrize('size_hw, stretch', [(SIZE_HW, 1), ((128, 192), 2)])
def test_depth_is_that_of_the_canonical_camera_times_the_focal_length_of_the_network_input(
        size_hw, stretch):
    camera = camera_of(size_hw)
    result = make().process(texture(*size_hw), None, camera, 1)
    # an image of twice the size shrinks to the network's, and its focal length with it
    focal_px = camera.fx / stretch
    expected = CANONICAL_M * focal_px / CANONICAL_FOCAL_PX
    assert result.depth.shape == size_hw
    np.testing.assert_allclose(result.depth, expected, rtol=1e-5)


def test_confidence_is_the_probability_of_an_error_of_less_than_a_tenth():
    result = make().process(texture(*SIZE_HW), None, camera_of(SIZE_HW), 1)
    np.testing.assert_allclose(result.confidence, 1 - math.exp(-0.1 / 0.05), rtol=1e-4)
    assert result.disparity is None
    unsure = make(min_confidence=0.9).process(texture(*SIZE_HW), None, camera_of(SIZE_HW), 1)
    assert np.isnan(unsure.depth).all()


def test_limits_hold_for_one_camera_too():
    near, far = (make(**limits).process(texture(*SIZE_HW), None, camera_of(SIZE_HW), 1).depth
                 for limits in ({'min_depth': 7.0}, {'max_depth': 5.0}))
    assert np.isneginf(near).all() and np.isposinf(far).all()


def test_a_pair_is_answered_as_without_the_depth_head():
    left, right = shifted_pair(SIZE_HW, 5)
    with_head, without = make(), make(heads=('stereo', 'flow'))
    for stamp in (1, 2):
        expected = without.process(left, right, make_rig(SIZE_HW), stamp)
        result = with_head.process(left, right, make_rig(SIZE_HW), stamp)
        for name in ('depth', 'disparity', 'confidence', 'flow', 'T_odom_camera'):
            np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    assert 'depth' not in with_head._backend.graphs and 'depth' not in result.timing_ms


def test_odometry_of_one_camera_follows_the_flow_in_metres_of_the_head():
    perception = make()
    wide = texture(64, 140, seed=3)
    camera = camera_of(SIZE_HW)
    results = [perception.process(np.ascontiguousarray(wide[:, 20 + x:116 + x]), None, camera,
                                  (i + 1) * DT_NS) for i, x in enumerate((0, 2, 4))]
    assert [result.status.value for result in results] == ['initialising', 'ok', 'ok']
    assert all(result.flow is not None for result in results[1:])
    # a wall 6 m away that moves 2 px to the left at 100 px: the camera goes 0.12 m to the right
    np.testing.assert_allclose(results[2].T_odom_camera[0, 3], 0.24, rtol=0.1)
    # the scale of the whole view may be wrong, in both steps alike
    sigma = math.sqrt(results[2].covariance[0, 0])
    scale_sigma = math.sqrt(1 - SHAPE_SHARE ** 2) * math.sqrt(2) * 0.05
    assert sigma >= 0.24 * scale_sigma * 0.9


def test_a_model_without_the_head_gives_flow_alone():
    result = make(heads=('stereo', 'flow')).process(
        texture(*SIZE_HW), None, camera_of(SIZE_HW), 1)
    assert result.depth is None and result.status.value == 'off'


@pytest.mark.parametrize('tasks, heads', [
    (None, ('stereo', 'flow', 'depth')), (['depth'], ('depth',)),
    (['odometry'], ('stereo', 'flow', 'depth')),
    (['stereo', 'flow', 'odometry'], ('stereo', 'flow')),
    (['depth', 'flow', 'odometry'], ('flow', 'depth'))])
def test_only_the_heads_that_tasks_need_are_run(tasks, heads):
    manifest = make_manifest(tasks=list(OUTPUTS), outputs=OUTPUTS)
    assert heads_of(manifest, choose_tasks(manifest, tasks)) == heads


def test_a_frame_has_one_source_of_depth():
    assert heads_of_frame(('stereo', 'flow', 'depth'), pair=True) == ('stereo', 'flow')
    assert heads_of_frame(('stereo', 'flow', 'depth'), pair=False) == ('flow', 'depth')
    assert heads_of_frame(('flow', 'depth'), pair=True) == ('flow', 'depth')


def test_warming_up_runs_each_head_on_as_many_views_as_it_reads():
    perception = make()
    perception.warm_up()
    assert set(perception._backend.graphs) == {'encode', 'stereo', 'flow', 'depth'}


def test_tiled_depth_of_one_view_is_refused_in_plain_words():
    with pytest.raises(ConfigError, match='cannot run depth tiled: its manifest has no tiling'):
        make(heads=('depth',), inference_mode='tiled')


def test_without_a_canonical_camera_metres_stay_as_they_are():
    depth = np.full((2, 3), 4.0, np.float32)
    found = monocular_depth(depth, None, camera_of(SIZE_HW), None)
    np.testing.assert_array_equal(found.depth, depth)
    assert found.sigma is None and found.shape_sigma is None
