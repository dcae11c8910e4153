# SPDX-License-Identifier: Apache-2.0
"""Disparity, depth, sigma and the limits of a depth image."""
from dataclasses import replace

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.stereo import (
    apply_depth_limits, depth_sigma, depth_to_disparity, disparity_to_depth)
import numpy as np
import pytest

CAMERA = PinholeCamera(64, 48, 100.0, 100.0, 31.5, 23.5)
RIG = StereoRig(CAMERA, CAMERA, 0.2)                       # Z = 20 / d
SHIFTED = StereoRig(CAMERA, replace(CAMERA, cx=36.5), 0.2)   # Z = 20 / (d + 5)


def image(*values):
    return np.array([values], np.float32)


def test_depth_is_focal_length_times_baseline_over_disparity():
    depth = disparity_to_depth(image(1, 2, 40), RIG)
    np.testing.assert_allclose(depth, [[20, 10, 0.5]])
    assert depth.dtype == np.float32


def test_depth_is_nan_where_disparity_is_zero_negative_or_not_finite():
    depth = disparity_to_depth(image(0, -3, np.nan, np.inf, -np.inf), RIG)
    assert np.isnan(depth).all()


def test_principal_points_that_differ_move_the_disparity_of_infinity():
    depth = disparity_to_depth(image(0, 5, -4, -5, -6), SHIFTED)
    np.testing.assert_allclose(depth, [[4, 2, 20, np.nan, np.nan]])


@pytest.mark.parametrize('rig', [RIG, SHIFTED])
def test_disparity_to_depth_and_back_is_the_same(rig, rng):
    disparity = rng.uniform(0.5, 60, (48, 64)).astype(np.float32)
    disparity[3, 4] = np.nan
    back = depth_to_disparity(disparity_to_depth(disparity, rig), rig)
    np.testing.assert_allclose(back, disparity, rtol=1e-5)   # a few float32 roundings
    assert back.dtype == np.float32


def test_disparity_is_nan_where_there_is_no_depth():
    assert np.isnan(depth_to_disparity(image(0, -1, np.nan, np.inf, -np.inf), SHIFTED)).all()


@pytest.mark.parametrize('rig', [RIG, SHIFTED])
def test_sigma_of_depth_is_the_slope_times_sigma_of_disparity(rig):
    disparity, step = np.linspace(2, 50, 20, dtype=np.float64), 1e-5
    focal_baseline = 100.0 * 0.2
    slope = (focal_baseline / (disparity + rig.doffs - step)
             - focal_baseline / (disparity + rig.doffs + step)) / (2 * step)
    sigma = depth_sigma(disparity[None].astype(np.float32), np.full((1, 20), 0.5, np.float32), rig)
    np.testing.assert_allclose(sigma[0], 0.5 * slope, rtol=1e-5)
    assert sigma.dtype == np.float32


def test_sigma_is_nan_where_disparity_is_invalid():
    assert np.isnan(depth_sigma(image(0, np.nan, -1), image(1, 1, 1), RIG)).all()


def test_depth_out_of_limits_is_infinite_and_nan_stays():
    depth = image(0.1, 0.5, 3, 10, 10.5, np.nan, np.inf, -np.inf)
    before = depth.copy()
    limited = apply_depth_limits(depth, 0.5, 10)
    np.testing.assert_array_equal(limited, [[-np.inf, 0.5, 3, 10, np.inf, np.nan, np.inf,
                                             -np.inf]])
    np.testing.assert_array_equal(depth, before)


@pytest.mark.parametrize('limits', [(2, 1), (1, 1), (-1, 5), (float('nan'), 5), (1, float('nan'))])
def test_contradicting_limits_are_refused(limits):
    with pytest.raises(CalibrationError, match='depth limits must be 0 <= min < max'):
        apply_depth_limits(image(1), *limits)
