# SPDX-License-Identifier: Apache-2.0
"""Windows are answered like whole images, and features are computed once and reused."""
from block_matching import BlockMatcher, LOG_SCALE, make_manifest, make_rig, shifted_pair, texture
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.input_adapter import normalise
from crossview_ros.runtime.manifest import TilingSpec
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
import numpy as np
import pytest

WINDOW_HW = (48, 80)
TILED = {task: TilingSpec(WINDOW_HW, 0.5) for task in ('stereo', 'flow')}


@pytest.fixture
def tiled(matcher):
    """Return a function that makes a tiled Perception on the block matcher."""
    def make(tasks=None, tiling=TILED, **options):
        return Perception(matcher, make_manifest(tiling=tiling), tasks, PerceptionOptions(
            inference_mode='tiled', tile_batch=1, **options))
    return make


@pytest.mark.parametrize('size_hw, disparity', [
    ((48, 80), 6),      # one window
    ((100, 210), 4),    # larger than what the model takes as a whole
    ((49, 81), 3)])
def test_large_images_are_answered_at_full_resolution(tiled, matcher, size_hw, disparity):
    left, right = shifted_pair(size_hw, disparity)
    result = tiled(['stereo']).process(left, right, make_rig(size_hw), 1)
    assert set(matcher.input_shapes) == {(1, 3, *WINDOW_HW)}
    assert result.disparity.shape == result.depth.shape == result.confidence.shape == size_hw
    inside = result.disparity[8:-8, 32:-8]
    assert np.mean(np.abs(inside - disparity) < 0.5) > 0.9
    assert result.confidence == pytest.approx(1 - np.exp(-1 / np.exp(LOG_SCALE)), rel=1e-5)


def test_small_images_are_enlarged_and_the_answer_is_in_their_pixels(tiled, matcher):
    left, right = shifted_pair((24, 60), 3, grain=2.0)
    result = tiled(['stereo']).process(left, right, make_rig((24, 60)), 1)
    # 24 -> 48 rows need a factor of 2: 48 x 120
    assert set(matcher.input_shapes) == {(1, 3, *WINDOW_HW)} and len(matcher.input_shapes) == 4
    assert result.disparity.shape == (24, 60)
    assert np.median(result.disparity[4:-4, 24:-6]) == pytest.approx(3, abs=0.1)
    assert result.confidence == pytest.approx(1 - np.exp(-1 / (np.exp(LOG_SCALE) / 2)), rel=1e-5)


class PixelMatcher(BlockMatcher):
    """Takes what a camera gives, and normalises it as the manifest says."""

    takes_pixels = True

    def run(self, graph, inputs):
        """Normalise, then go on like the other one."""
        if graph == 'encode':
            assert inputs['image'].dtype == np.uint8 and inputs['image'].flags.c_contiguous
            inputs = {'image': normalise(inputs['image'], make_manifest().normalisation)}
        return super().run(graph, inputs)


@pytest.mark.parametrize('mode', ['single', 'tiled'])
@pytest.mark.parametrize('size_hw', [(48, 80), (61, 97), (100, 210)])
def test_a_backend_that_takes_pixels_sees_the_same(mode, size_hw):
    left, right = shifted_pair(size_hw, 4)
    disparities = []
    for matcher in (BlockMatcher(), PixelMatcher()):
        perception = Perception(matcher, make_manifest(tiling=TILED), ['stereo'],
                                PerceptionOptions(inference_mode=mode, tile_batch=1))
        disparities.append(perception.process(left, right, make_rig(size_hw), 1).disparity)
    np.testing.assert_array_equal(*disparities)


def test_images_shrink_to_the_inference_size_first(tiled, matcher):
    left, right = shifted_pair((128, 192), 16, grain=3.0)
    result = tiled(['stereo'], inference_size=(64, 96)).process(left, right,
                                                                make_rig((128, 192)), 1)
    assert len(matcher.input_shapes) == 2 * 4   # 64 x 96 px: two rows of two windows
    assert result.disparity.shape == (128, 192)
    assert np.median(result.disparity[8:-8, 40:-8]) == pytest.approx(16, abs=0.5)


def test_flow_reuses_the_features_of_the_windows_of_the_previous_image(tiled, matcher):
    wide, size_hw = texture(120, 200), (96, 160)
    views = [np.ascontiguousarray(wide[8 - v:104 - v, 8 - u:168 - u])
             for u, v in ((0, 0), (3, -2))]
    perceive = tiled(['flow'])
    perceive.process(views[0], None, make_rig(size_hw).left, 1)
    num_windows = 3 * 3
    assert matcher.graphs == num_windows * ['encode']
    result = perceive.process(views[1], None, make_rig(size_hw).left, 2)
    assert matcher.graphs == 2 * num_windows * ['encode'] + num_windows * ['flow']
    assert np.mean(np.abs(result.flow[8:-8, 8:-8] - (3, -2)).max(-1) < 0.5) > 0.9


def test_tasks_of_one_network_and_one_window_share_their_features(tiled, matcher):
    left, right = shifted_pair(WINDOW_HW, 6)
    perceive = tiled()
    for stamp_ns in (1, 2):
        perceive.process(left, right, make_rig(WINDOW_HW), stamp_ns)
    assert matcher.graphs == ['encode', 'encode', 'stereo', 'encode', 'encode', 'stereo', 'flow']


def test_tasks_with_windows_of_their_own_are_cut_apart(tiled, matcher):
    left, right = shifted_pair((64, 96), 6)
    tiling = {'stereo': TilingSpec((64, 96)), 'flow': TilingSpec((32, 96), 0.0)}
    perceive = tiled(tiling=tiling)
    for stamp_ns in (1, 2):
        result = perceive.process(left, right, make_rig((64, 96)), stamp_ns)
    # left for stereo, left for flow (two windows), right for stereo
    shapes = [(1, 3, 64, 96), (1, 3, 32, 96), (1, 3, 32, 96), (1, 3, 64, 96)]
    assert matcher.input_shapes == 2 * shapes
    assert result.flow.shape == (64, 96, 2) and np.abs(result.flow).max() < 1e-5


def test_a_change_of_size_starts_the_flow_anew(tiled):
    perceive = tiled(['flow'])
    for stamp_ns, size_hw in ((1, (60, 90)), (2, (60, 91))):
        result = perceive.process(texture(*size_hw), None, make_rig(size_hw).left, stamp_ns)
    assert result.flow is None


def test_warm_up_runs_every_graph(tiled, matcher):
    tiled().warm_up()
    assert matcher.graphs == ['encode', 'stereo', 'flow']


@pytest.mark.parametrize('tiling', [{}, {'flow': TilingSpec(WINDOW_HW)}])
def test_a_model_without_tiling_is_refused_in_plain_words(tiled, tiling):
    with pytest.raises(ConfigError, match="model 'fake' cannot run .*stereo tiled"):
        tiled(tiling=tiling)


def test_the_shipped_model_runs_single_only(root):
    with pytest.raises(ConfigError, match='cannot run depth, flow, stereo tiled'):
        Perception.open(root / 'models' / 'crossview_tiny', inference_mode='tiled')


@pytest.mark.parametrize('options, message', [
    ({'inference_mode': 'both'}, "one of single, tiled, got 'both'"),
    ({'tile_overlap': 1.0}, r'tile_overlap must be in \[0, 1\)'),
    ({'tile_overlap': -0.1}, r'tile_overlap must be in \[0, 1\)'),
    ({'tile_batch': 0}, 'tile_batch must be at least 1')])
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        PerceptionOptions(**options)


def test_a_model_of_one_size_gets_every_image_at_that_size():
    manifest, matcher = make_manifest(fixed_size_hw=(64, 96)), BlockMatcher()
    perceive = Perception(matcher, manifest, ['stereo'])
    for size_hw in ((48, 80), (61, 83), (128, 150)):
        result = perceive.process(*shifted_pair(size_hw, 4), make_rig(size_hw), 1)
        assert result.disparity.shape == size_hw
    assert set(matcher.input_shapes) == {(1, 3, 64, 96)}


def test_a_model_of_one_size_is_not_run_at_another():
    manifest = make_manifest(fixed_size_hw=(64, 96))
    with pytest.raises(ConfigError, match=r'take 96x64 px \(w x h\) only, .* 80x48'):
        Perception(BlockMatcher(), manifest, options=PerceptionOptions(inference_size=(48, 80)))
    Perception(BlockMatcher(), manifest, options=PerceptionOptions(inference_size=(64, 96)))
