# SPDX-License-Identifier: Apache-2.0
"""Confidence is the probability that the error stays below one pixel."""
import math

from crossview_ros.runtime.confidence import laplace_confidence, laplace_log_scale
from crossview_ros.runtime.manifest import OutputSpec
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


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize('spec, log_b', [
    (OutputSpec('px', 'laplace'), lambda c: c),
    (OutputSpec('px', 'laplace_bounded'), lambda c: math.log(3.75 * sigmoid(c) + 0.25)),
    (OutputSpec('px', 'laplace_bounded', (1.0, 2.0)), lambda c: math.log(sigmoid(c) + 1)),
    (OutputSpec('px', 'laplace_bounded2'), lambda c: 6 * (sigmoid(c / 3) - 0.5)),
    (OutputSpec('px', 'laplace_bounded2', (2.0, 5.0)), lambda c: 4 * (sigmoid(c / 5) - 0.5))])
def test_the_raw_channel_becomes_the_log_of_the_scale_that_its_loss_defines(spec, log_b):
    # formulas of croco.md 6.2, with their default constants and with others
    raw = np.linspace(-20, 20, 41, dtype=np.float32).reshape(1, 1, 41)
    found = laplace_log_scale(raw, spec)
    assert found.dtype == np.float32 and found.shape == raw.shape
    np.testing.assert_allclose(found.ravel(), [log_b(c) for c in raw.ravel().tolist()], atol=2e-6)


@pytest.mark.parametrize('kind, lowest, highest', [
    ('laplace_bounded', math.log(0.25), math.log(4)), ('laplace_bounded2', -3, 3)])
def test_bounds_hold_for_any_raw_value(kind, lowest, highest):
    found = laplace_log_scale(np.array([-1e30, 1e30], np.float32), OutputSpec('px', kind))
    np.testing.assert_allclose(found, [lowest, highest], rtol=1e-6)
