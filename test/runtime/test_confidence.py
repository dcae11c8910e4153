# SPDX-License-Identifier: Apache-2.0
"""Confidence is the probability that the error stays below one pixel."""
from crossview_ros.runtime.confidence import laplace_confidence
import numpy as np
import pytest


def test_equals_the_mass_of_the_laplace_density_within_a_pixel():
    error_px = np.linspace(-1, 1, 200001)
    for scale in (0.05, 0.3, 1.0, 7.0):
        density = np.exp(-np.abs(error_px) / scale) / (2 * scale)
        mass = np.sum((density[1:] + density[:-1]) / 2 * np.diff(error_px))
        # float32 of the result; the trapezoids are far finer
        assert laplace_confidence(np.float32(np.log(scale))) == pytest.approx(mass, abs=1e-6)


def test_falls_with_doubt_within_zero_and_one():
    log_scale = np.linspace(-5, 5, 101, dtype=np.float32)
    confidence = laplace_confidence(log_scale)
    assert confidence.dtype == np.float32
    assert np.all(np.diff(confidence) <= 0) and 0 < confidence[-1] < confidence[0] <= 1


def test_extremes_are_sure_and_unsure_and_nan_is_unsure():
    log_scale = np.array([-np.inf, -1000, 1000, np.inf, np.nan], np.float32)
    np.testing.assert_array_equal(laplace_confidence(log_scale), [1, 1, 0, 0, 0])
    assert np.isnan(log_scale[-1])
