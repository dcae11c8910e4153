# SPDX-License-Identifier: Apache-2.0
"""Depth follows Z = f B / (d + doffs), and every pixel that has none says why (REP 117)."""
from block_matching import make_rig, shifted_pair
from crossview_ros.runtime.depth import align_right, stereo_depth
from crossview_ros.runtime.options import PerceptionOptions
import numpy as np
import pytest

SIZE_HW = (2, 4)
SURE = np.full(SIZE_HW, -3.0, np.float32)


def disparities(*values):
    """Return a (2, 4) image: the values, then 10 px."""
    image = np.full(SIZE_HW, 10.0, np.float32)
    image.flat[:len(values)] = values
    return image


def depth_of(disparity, log_scale=SURE, doffs=0.0, **options):
    """Run the code under test on the rig with f B = 20 px m."""
    return stereo_depth(disparity, log_scale, make_rig(SIZE_HW, doffs),
                        PerceptionOptions(**options))


def test_depth_is_focal_length_times_baseline_over_disparity():
    result = depth_of(disparities(1, 2, 5))
    np.testing.assert_allclose(result.depth.flat[:4], [20, 10, 4, 2], rtol=1e-6)
    np.testing.assert_array_equal(result.disparity, disparities(1, 2, 5))
    assert {result.depth.dtype, result.disparity.dtype, result.confidence.dtype} == \
        {np.dtype(np.float32)}


@pytest.mark.parametrize('doffs', [-4.0, 2.5, 30.0])
def test_doffs_are_added_to_the_disparity(doffs):
    result = depth_of(disparities(8 - doffs, 4 - doffs), doffs=doffs)
    np.testing.assert_allclose(result.depth.flat[:2], [2.5, 5], rtol=1e-5)
    np.testing.assert_allclose(result.disparity.flat[:2], [8 - doffs, 4 - doffs], rtol=1e-5)


def test_out_of_range_is_infinite_with_the_sign_of_the_side():
    result = depth_of(disparities(0.2, 0.5, 30), min_depth=1.0, max_depth=80.0)
    np.testing.assert_array_equal(result.depth.flat[:3], [np.inf, 40, -np.inf])
    assert np.isfinite(result.disparity).all()


@pytest.mark.parametrize('doffs', [0.0, 6.0])
def test_a_match_near_infinity_is_far_and_not_invalid(doffs):
    result = depth_of(disparities(0.0, -0.9, 1e-30) - np.float32(doffs), doffs=doffs)
    np.testing.assert_array_equal(result.depth.flat[:3], np.inf)
    shift = result.disparity.flat[:3] + np.float32(doffs)
    assert np.all(shift > 0) and np.all(shift < 0.01)


def test_a_match_far_behind_infinity_is_invalid_unless_the_head_doubts_it():
    log_scale = SURE.copy()
    log_scale.flat[1] = np.log(5)
    result = depth_of(disparities(-4, -4), log_scale)
    np.testing.assert_array_equal(result.depth.flat[:2], [np.nan, np.inf])
    assert np.isnan(result.disparity.flat[0]) and result.disparity.flat[1] > 0


def test_no_finite_prediction_no_depth():
    result = depth_of(disparities(np.nan, np.inf, -np.inf))
    assert np.isnan(result.depth.flat[0]) and np.isnan(result.depth.flat[2])
    assert np.isnan(result.disparity.flat[:3]).all()
    assert np.isnan(result.depth.flat[1])   # infinite disparity is no match, not "too near"
    assert np.isfinite(result.depth.flat[3:]).all()


def test_min_confidence_masks_depth_and_disparity_but_not_confidence():
    log_scale = SURE.copy()
    log_scale.flat[:2] = np.log(2)    # P = 1 - exp(-1/2) = 0.393
    result = depth_of(disparities(10, 0.0), log_scale, min_confidence=0.4)
    for image in (result.depth, result.disparity):
        assert np.isnan(image.flat[:2]).all() and np.isfinite(image.flat[2:]).all()
    np.testing.assert_allclose(result.confidence.flat[:2], 1 - np.exp(-0.5), rtol=1e-6)
    assert np.isfinite(depth_of(disparities(), log_scale, min_confidence=0.39).depth).all()


def test_without_log_scale_there_is_depth_and_no_confidence():
    result = depth_of(disparities(5, -0.5, -1.5), log_scale=None)
    np.testing.assert_array_equal(result.depth.flat[:3], [4, np.inf, np.nan])
    assert result.confidence is None


def test_inputs_are_left_alone():
    disparity, log_scale = disparities(-5, 0, np.nan), SURE.copy()
    depth_of(disparity, log_scale, min_confidence=0.99999)
    np.testing.assert_array_equal(disparity, disparities(-5, 0, np.nan))
    np.testing.assert_array_equal(log_scale, SURE)


@pytest.mark.parametrize('doffs, shift', [(5.0, 5), (-5.4, -5), (0.4, 0)])
def test_aligned_right_image_is_that_of_equal_principal_points(doffs, shift):
    size_hw = (8, 40)
    left, right = shifted_pair(size_hw, disparity=3)
    aligned, shift_px = align_right(right, make_rig(size_hw, doffs))
    assert shift_px == shift
    expected = shifted_pair(size_hw, disparity=3 + shift)[1]
    inner = slice(max(0, -shift), size_hw[1] - max(0, shift))
    np.testing.assert_array_equal(aligned[:, inner], expected[:, inner])
    assert aligned is right if shift == 0 else not np.shares_memory(aligned, right)


def test_doffs_beyond_the_image_leave_an_image():
    right = shifted_pair((8, 40), 0)[1]
    for doffs in (1e6, -1e6):
        assert align_right(right, make_rig((8, 40), doffs))[0].shape == right.shape
