# SPDX-License-Identifier: Apache-2.0
"""Known motion in, known depth and flow out, at any size; each image is encoded once."""
from block_matching import (
    BASELINE_M, BlockMatcher, FOCAL_PX, LOG_SCALE, make_manifest, make_rig, shifted_pair, texture)
from crossview_ros.errors import BackendError, CalibrationError, ConfigError, MessageError
from crossview_ros.runtime.manifest import OutputSpec
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.results import TrackingStatus
import numpy as np
import pytest

NATIVE_HW = (48, 80)
DISPARITY = 6


def inner(image, margin=24):
    """Cut the border off, where a match lies outside of the other image."""
    margin_rows = min(margin, image.shape[0] // 4)
    return image[margin_rows:-margin_rows, margin:-margin]


def answer(perception, size_hw=NATIVE_HW, disparity=DISPARITY, stamp_ns=1, doffs=0.0):
    """Process one pair of a wall."""
    left, right = shifted_pair(size_hw, disparity)
    return perception.process(left, right, make_rig(size_hw, doffs), stamp_ns)


@pytest.mark.parametrize('size_hw, disparity, grain', [
    (NATIVE_HW, 6, 1.0),      # as it is
    ((61, 83), 6, 1.0),       # odd: padded
    ((128, 192), 16, 3.0),    # twice the working size: half the disparity there
    ((60, 144), 12, 2.0),     # 40 x 96 there
    ((63, 96), 0, 1.0)])      # everything at infinity
def test_disparity_and_depth_are_those_of_the_scene(perception, size_hw, disparity, grain):
    left, right = shifted_pair(size_hw, disparity, grain)
    result = perception().process(left, right, make_rig(size_hw), 1)
    assert result.depth.shape == result.disparity.shape == result.confidence.shape == size_hw
    truth = FOCAL_PX * BASELINE_M / disparity if disparity else np.inf
    # the matcher finds whole pixels of a scaled pair: 2 % for what rounding changes
    np.testing.assert_allclose(np.median(inner(result.depth)), truth, rtol=0.02)
    right_share = np.mean(np.abs(inner(result.disparity) - disparity) < 0.5)
    assert right_share > 0.98


@pytest.mark.parametrize('size_hw', [(8, 200), (200, 24), (16, 3000), (5, 7), (1, 1)])
def test_extreme_sizes_are_answered_at_their_resolution(perception, size_hw):
    perceive = perception()
    left = texture(*size_hw)
    for stamp_ns in (1, 2):
        result = perceive.process(left, left, make_rig(size_hw), stamp_ns)
    assert result.depth.shape == size_hw and result.flow.shape == (*size_hw, 2)
    # both images are one: nothing but infinity, and nothing moves
    assert np.all(result.depth == np.inf) and np.all(result.flow == 0)


@pytest.mark.parametrize('disparity, doffs', [(6, 4.0), (-3, 10.0), (9, -5.0), (6, 0.4)])
def test_doffs_are_respected_also_where_disparity_is_negative(perception, disparity, doffs):
    result = answer(perception(), disparity=disparity, doffs=doffs)
    assert np.median(inner(result.disparity)) == disparity
    # 20 / (d + doffs), float32
    assert np.median(inner(result.depth)) == pytest.approx(20 / (disparity + doffs), rel=1e-5)


def test_confidence_is_the_laplace_probability_in_input_pixels(perception):
    native = answer(perception()).confidence
    assert native == pytest.approx(1 - np.exp(-1 / np.exp(LOG_SCALE)), rel=1e-5)
    doubled = answer(perception(), size_hw=(128, 192)).confidence
    assert doubled == pytest.approx(1 - np.exp(-1 / (2 * np.exp(LOG_SCALE))), rel=1e-5)


def test_flow_is_from_the_previous_left_to_this_left(perception):
    wide = texture(64, 96)
    perceive, rig = perception(['flow']), make_rig(NATIVE_HW)
    view = [np.ascontiguousarray(wide[8 - v:8 - v + 48, 8 - u:8 - u + 80])
            for u, v in ((0, 0), (3, -2))]
    first = perceive.process(view[0], view[0], rig, 1000)
    second = perceive.process(view[1], view[1], rig, 2000)
    assert first.flow is None and first.previous_stamp_ns is None
    assert (second.stamp_ns, second.previous_stamp_ns) == (2000, 1000)
    assert np.mean(inner(second.flow, 8) == (3, -2)) > 0.98
    assert second.flow_confidence == pytest.approx(1 - np.exp(-1 / np.exp(LOG_SCALE)), rel=1e-5)


def test_where_the_left_image_shows_nothing_nothing_is_known(perception):
    perceive, rig = perception(), make_rig(NATIVE_HW)
    view = texture(*NATIVE_HW)
    visible = np.ones(NATIVE_HW, bool)
    visible[:10] = False
    first = perceive.process(view, view, rig, 1000, visible=visible)
    second = perceive.process(view, view, rig, 2000)
    assert np.isnan(first.depth[:10]).all() and np.isnan(first.disparity[:10]).all()
    assert not first.confidence[:10].any() and first.confidence[10:].all()
    # the flow lies on the grid of the image before
    assert np.isnan(second.flow[:10]).all() and np.isfinite(second.flow[10:]).all()
    assert not second.flow_confidence[:10].any()
    assert not np.isnan(second.depth[:10]).all()
    with pytest.raises(MessageError, match='visible must be bool of the size of the left image'):
        perceive.process(view, view, rig, 3000, visible=visible[1:])


def test_each_image_is_encoded_exactly_once(perception, matcher):
    perceive = perception()
    for stamp_ns in range(4):
        answer(perceive, stamp_ns=stamp_ns)
    pair = ['encode', 'encode', 'stereo']
    # the camera rests at the second frame, which has a time: the last one is compared with both
    assert matcher.graphs == pair + 2 * [*pair, 'flow'] + [*pair, 'flow', 'flow']


def test_warm_up_runs_every_graph_and_leaves_no_frame_behind(perception, matcher):
    perceive = perception()
    perceive.warm_up()
    assert matcher.graphs == ['encode', 'stereo', 'flow']
    assert answer(perceive, stamp_ns=1).flow is None


def test_one_camera_gives_flow_and_no_depth(perception, matcher):
    perceive, camera = perception(), make_rig(NATIVE_HW).left
    for stamp_ns in (1, 2):
        result = perceive.process(texture(*NATIVE_HW), None, camera, stamp_ns)
    assert matcher.graphs == ['encode', 'encode', 'flow']
    assert result.flow.shape == (*NATIVE_HW, 2)
    assert result.depth is result.disparity is result.confidence is None


def test_only_the_chosen_tasks_run(perception, matcher):
    stereo = perception(['stereo'])
    for stamp_ns in (1, 2):
        result = answer(stereo, stamp_ns=stamp_ns)
    assert stereo.tasks == ('stereo',) and result.flow is None
    assert matcher.graphs == 2 * ['encode', 'encode', 'stereo']
    matcher.graphs.clear()
    flow = perception(['flow'])
    for stamp_ns in (1, 2):
        result = answer(flow, stamp_ns=stamp_ns)
    assert result.depth is None
    assert matcher.graphs == ['encode', 'encode', 'flow']   # the right image is not needed


def test_what_no_task_gives_is_none(perception):
    result = answer(perception(['stereo', 'flow']))
    assert result.T_prev_cur is result.T_odom_camera is result.covariance is None
    assert result.status is TrackingStatus.OFF


def test_reset_and_a_change_of_size_start_the_flow_anew(perception):
    perceive = perception()
    answer(perceive, stamp_ns=1)
    assert answer(perceive, stamp_ns=2).flow is not None
    perceive.reset()
    assert answer(perceive, stamp_ns=3).flow is None
    assert answer(perceive, size_hw=(40, 80), stamp_ns=4).flow is None
    assert answer(perceive, size_hw=(40, 80), stamp_ns=5).flow.shape == (40, 80, 2)


def test_a_refused_frame_does_not_disturb_the_stream(perception):
    perceive = perception()
    answer(perceive, stamp_ns=1)
    with pytest.raises(MessageError):
        perceive.process(texture(*NATIVE_HW)[..., 0], None, make_rig(NATIVE_HW).left, 2)
    assert answer(perceive, stamp_ns=3).previous_stamp_ns == 1


def test_a_failing_network_does_not_disturb_the_stream(perception, matcher):
    perceive = perception()
    answer(perceive, stamp_ns=1)

    def fail(graph):
        if graph == 'stereo':
            raise BackendError('out of memory')
    matcher.hook = fail
    with pytest.raises(BackendError, match='out of memory'):
        answer(perceive, stamp_ns=2)
    matcher.hook = lambda graph: None
    assert answer(perceive, stamp_ns=3).previous_stamp_ns == 1


def test_stages_are_timed(perception):
    perceive = perception()
    assert list(answer(perceive).timing_ms) == ['prepare', 'encode', 'stereo', 'post', 'odometry']
    timing_ms = answer(perceive, stamp_ns=2).timing_ms
    assert list(timing_ms) == ['prepare', 'encode', 'stereo', 'flow', 'post', 'odometry']
    assert all(value > 0 for value in timing_ms.values())


def test_same_input_same_answer_and_inputs_untouched(perception):
    left, right = shifted_pair(NATIVE_HW, DISPARITY)
    copies = left.copy(), right.copy()
    left.setflags(write=False)
    results = [perception().process(left, right, make_rig(NATIVE_HW), 1) for _ in range(2)]
    np.testing.assert_array_equal(results[0].depth, results[1].depth)
    np.testing.assert_array_equal((left, right), copies)


def test_views_that_are_not_contiguous_are_welcome(perception):
    left, right = shifted_pair(NATIVE_HW, DISPARITY)
    mirrored = [np.ascontiguousarray(image[:, :, ::-1])[:, :, ::-1] for image in (left, right)]
    np.testing.assert_array_equal(
        perception().process(*mirrored, make_rig(NATIVE_HW), 1).depth,
        perception().process(left, right, make_rig(NATIVE_HW), 1).depth)


def test_options_limit_and_mask(perception):
    assert np.all(inner(answer(perception(max_depth=3.0)).depth) == np.inf)   # 20 / 6 = 3.3 m
    assert np.all(inner(answer(perception(min_depth=4.0)).depth) == -np.inf)
    masked = answer(perception(min_confidence=0.99))
    assert np.isnan(masked.depth).all() and np.isnan(masked.disparity).all()
    assert masked.confidence.min() > 0.9
    coarse = BlockMatcher()
    options = perception(inference_size=(24, 40)).options
    answer(Perception(coarse, make_manifest(), options=options))
    assert coarse.input_shapes[0] == (1, 3, 32, 48)


def test_thresholds_change_while_running_and_others_do_not(perception):
    perceive = perception()
    perceive.set_options(max_depth=3.0)
    assert np.all(inner(answer(perceive).depth) == np.inf)
    with pytest.raises(ConfigError, match='num_threads: cannot be changed'):
        perceive.set_options(num_threads=2)
    with pytest.raises(ConfigError, match='min_depth < max_depth'):
        perceive.set_options(min_depth=4.0)
    assert perceive.options.max_depth == 3.0 and perceive.options.min_depth == 0.1


@pytest.mark.parametrize('option, message', [
    ({'min_depth': -1.0}, 'min_depth'), ({'max_depth': float('nan')}, 'max_depth'),
    ({'min_confidence': 1.5}, 'from 0 to 1'), ({'inference_size': (0, 4)}, 'inference_size'),
    ({'num_threads': 0}, 'num_threads')])
def test_options_that_cannot_be_meant_are_refused(perception, option, message):
    with pytest.raises(ConfigError, match=message):
        perception(**option)


def test_min_confidence_needs_a_head_with_doubt(perception):
    outputs = {'stereo': OutputSpec('px'), 'flow': OutputSpec('px')}
    with pytest.raises(ConfigError, match='gives no confidence for stereo'):
        perception(manifest=make_manifest(outputs=outputs), min_confidence=0.1)
    blind = BlockMatcher(log_scale=None)
    result = answer(Perception(blind, make_manifest(outputs=outputs)))
    assert result.confidence is None and np.isfinite(inner(result.depth)).all()


@pytest.mark.parametrize('tasks', [['pose'], ['stereo', 'depht'], []])
def test_tasks_that_the_model_cannot_run_are_refused(perception, tasks):
    with pytest.raises(ConfigError, match="'fake' can run the tasks stereo, flow, odometry here"):
        perception(tasks)


def test_closed_means_closed(perception, matcher):
    with perception() as perceive:
        answer(perceive)
    perceive.close()
    assert matcher.num_closed == 1
    with pytest.raises(BackendError, match='closed'):
        answer(perceive)


IMAGE, RIG = texture(*NATIVE_HW), make_rig(NATIVE_HW)
SMALLER, OTHER_RIG = texture(40, 80), make_rig((40, 80))


@pytest.mark.parametrize('frame, error, message', [
    ((IMAGE.astype(float), IMAGE, RIG, 1), MessageError, r'left image must be \(H, W, 3\) uint8'),
    ((IMAGE, IMAGE[..., 0], RIG, 1), MessageError, r'right .* got shape \(48, 80\) uint8'),
    ((IMAGE[..., :2], IMAGE, RIG, 1), MessageError, r'left .* \(48, 80, 2\)'),
    ((IMAGE.tolist(), IMAGE, RIG, 1), MessageError, 'left image must be a NumPy array'),
    ((None, IMAGE, RIG, 1), MessageError, 'got NoneType'),
    ((IMAGE[:0], IMAGE, RIG, 1), MessageError, 'left image is empty'),
    ((IMAGE, SMALLER, RIG, 1), CalibrationError, 'right image is 80x40 px .* for 80x48'),
    ((SMALLER, SMALLER, RIG, 1), CalibrationError, 'calibration is for 80x48'),
    ((IMAGE, None, OTHER_RIG.left, 1), CalibrationError, 'left image is 80x48 px .* for 80x40'),
    ((IMAGE, None, RIG, 1), CalibrationError, 'a PinholeCamera is expected, got StereoRig'),
    ((IMAGE, IMAGE, RIG.left, 1), CalibrationError, 'needs a StereoRig, got PinholeCamera'),
    ((IMAGE, IMAGE, None, 1), CalibrationError, 'got NoneType'),
    ((IMAGE, IMAGE, RIG, 1.5), MessageError, 'stamp_ns must be a whole number'),
    ((IMAGE, IMAGE, RIG, -1), MessageError, 'stamp_ns'),
    ((IMAGE, IMAGE, RIG, 1, np.zeros((4, 4))), MessageError, r'cloud must be \(N, 3\)'),
    ((IMAGE, IMAGE, RIG, 1, [[1.0, 2.0, 3.0]]), MessageError, 'cloud .* got list')])
def test_inputs_that_cannot_be_answered_are_refused(perception, frame, error, message):
    with pytest.raises(error, match=message):
        perception().process(*frame)


def test_a_cloud_is_accepted(perception):
    assert perception().process(IMAGE, IMAGE, RIG, np.int64(1), np.zeros((0, 3), np.float32))
