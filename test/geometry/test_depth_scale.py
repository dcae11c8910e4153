# SPDX-License-Identifier: Apache-2.0
"""Scale of a depth image from points, most of which must be right."""
from crossview_ros.geometry.depth_scale import DepthScale, fit_depth_scale
import numpy as np
import pytest

RNG_SEED = 3


@pytest.fixture
def depth():
    return np.random.default_rng(RNG_SEED).uniform(2, 60, 500)


def test_factor_and_exponent_are_found_without_noise(depth):
    scale = fit_depth_scale(depth, 1.7 * depth ** 1.2)
    assert scale.exponent == pytest.approx(1.2, rel=1e-3)
    assert scale.factor == pytest.approx(1.7, rel=1e-2)
    np.testing.assert_allclose(scale.apply(depth), 1.7 * depth ** 1.2, rtol=2e-3)


def test_a_third_of_wrong_points_changes_little(depth):
    rng = np.random.default_rng(RNG_SEED + 1)
    measured = 0.5 * depth
    measured[:165] = rng.uniform(0.5, 80, 165)
    scale = fit_depth_scale(depth, measured)
    np.testing.assert_allclose(scale.apply(depth), 0.5 * depth, rtol=0.05)


def test_sigma_is_the_spread_of_the_points(depth):
    rng = np.random.default_rng(RNG_SEED + 2)
    scale = fit_depth_scale(depth, depth * np.exp(rng.normal(0, 0.1, len(depth))))
    assert scale.sigma == pytest.approx(0.1, rel=0.2)


def test_points_on_one_wall_tell_a_factor_and_no_exponent():
    rng = np.random.default_rng(RNG_SEED)
    depth = 10 * np.exp(rng.normal(0, 0.002, 400))
    scale = fit_depth_scale(depth, 20 * np.exp(rng.normal(0, 0.05, 400)))
    assert scale.exponent == pytest.approx(1, abs=0.1)
    assert scale.apply(np.float32(10)) == pytest.approx(20, rel=0.02)


def test_too_few_points_tell_nothing():
    assert fit_depth_scale(np.ones(5), np.ones(5)) is None


def test_an_image_that_has_nothing_to_do_with_the_points_is_doubted(depth):
    measured = np.exp(np.random.default_rng(RNG_SEED + 3).uniform(0, 4.5, len(depth)))
    assert fit_depth_scale(depth, measured).sigma > 0.8


def test_unknown_and_infinite_depth_is_left_out(depth):
    image = depth.copy()
    image[::4], image[1::4] = np.nan, np.inf
    assert fit_depth_scale(image, 3 * depth).factor == pytest.approx(3, rel=1e-3)


def test_apply_keeps_what_is_not_a_number():
    scaled = DepthScale(2.0, 1.1, 0.1).apply(np.array([np.nan, np.inf, 1.0]))
    np.testing.assert_allclose(scaled, [np.nan, np.inf, 2.0])
