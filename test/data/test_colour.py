# SPDX-License-Identifier: Apache-2.0
"""Colour changes follow their definitions and leave the image alone at factor 1."""
from crossview_ros.data.colour import (
    change_brightness, change_contrast, change_gamma, change_hue, change_saturation, CHANGES,
    to_float, to_uint8)
import numpy as np
import pytest

PIXELS = np.array([[[0.2, 0.4, 0.6], [0.9, 0.1, 0.5]]], np.float32)


@pytest.mark.parametrize('kind', CHANGES)
def test_the_neutral_factor_changes_nothing(kind):
    np.testing.assert_allclose(CHANGES[kind](PIXELS, 0 if kind == 'hue' else 1), PIXELS, atol=1e-6)


@pytest.mark.parametrize('kind', CHANGES)
@pytest.mark.parametrize('factor', [-0.16, 0.16, 0.5, 2.0])
def test_values_stay_in_range_and_the_argument_is_not_changed(kind, factor, rng):
    if kind == 'hue':
        factor /= 5     # two whole turns would change nothing
    elif factor < 0:
        factor = -factor
    image = rng.random((6, 7, 3)).astype(np.float32)
    before = image.copy()

    changed = CHANGES[kind](image, factor)

    assert changed.dtype == np.float32 and 0 <= changed.min() and changed.max() <= 1
    assert np.abs(changed - image).max() > 0.01
    np.testing.assert_array_equal(image, before)


def test_definitions():
    grey = PIXELS @ np.array([0.2989, 0.587, 0.114])

    np.testing.assert_allclose(change_brightness(PIXELS, 0.5), PIXELS / 2, atol=1e-6)
    assert change_brightness(PIXELS, 2)[0, 1, 0] == 1
    np.testing.assert_allclose(change_gamma(PIXELS, 2), PIXELS ** 2, atol=1e-6)
    np.testing.assert_allclose(change_contrast(PIXELS, 0.8), 0.8 * PIXELS + 0.2 * grey.mean(),
                               atol=1e-6)
    np.testing.assert_allclose(change_saturation(PIXELS, 0.8),
                               0.8 * PIXELS + 0.2 * grey[..., None], atol=1e-6)


def test_a_third_of_the_colour_circle_turns_red_green_and_green_blue():
    red = np.array([[[0.8, 0.2, 0.2]]], np.float32)

    np.testing.assert_allclose(change_hue(red, 1 / 3), red[..., [1, 0, 2]], atol=1e-5)
    np.testing.assert_allclose(change_hue(red, -1 / 3), red[..., [1, 2, 0]], atol=1e-5)


def test_eight_bits_come_back_unchanged():
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, -1)

    np.testing.assert_array_equal(to_uint8(to_float(values)), values)
