# SPDX-License-Identifier: Apache-2.0
"""Corners are found where they are, and followed to a fraction of a pixel."""
from crossview_ros.geometry.corners import (
    away_from_hidden, find_corners, follow_corners, levelled, WINDOW_PX)
import numpy as np
import pytest

ROWS, COLS = 120, 160


def pattern(shift_xy=(0.0, 0.0)):
    """Return an image (H, W, 3) of a texture known between pixels, moved by a shift [px]."""
    rng = np.random.default_rng(3)
    v, u = np.mgrid[:ROWS, :COLS].astype(np.float64)
    u, v = u - shift_xy[0], v - shift_xy[1]
    waves = sum(np.sin(u * a + v * b + c) for a, b, c in rng.uniform(-0.9, 0.9, (12, 3)))
    return np.repeat(np.uint8(np.round(120 + 15 * waves))[..., None], 3, 2)


def corners_of(image):
    margin = np.zeros((ROWS, COLS), bool)
    margin[15:-15, 15:-15] = True
    return find_corners(image, margin, 8)


@pytest.mark.parametrize('expose', [lambda image: image,
                                    lambda image: np.uint8(0.6 * image + 30)])
def test_corners_are_followed_to_a_tenth_of_a_pixel_under_any_exposure(expose):
    shift = np.array((4.37, -2.61))
    image1, image2 = levelled(pattern()), levelled(expose(pattern(shift)))
    at = corners_of(image1)
    assert len(at) > 100
    found, ok = follow_corners(image1, image2, at, at + shift + (0.9, -0.7))
    assert ok.mean() > 0.9
    assert np.sqrt(((found - at - shift)[ok] ** 2).mean()) < 0.1


def test_what_the_other_image_does_not_show_is_not_found(rng):
    image1 = levelled(pattern())
    other = pattern()
    other[:, 80:] = rng.integers(0, 256, (ROWS, 80, 3))
    at = corners_of(image1)
    _, ok = follow_corners(image1, levelled(other), at, at)
    left, right = at[:, 0] < 80 - WINDOW_PX - 16, at[:, 0] > 80 + WINDOW_PX
    assert ok[left].mean() > 0.9 and ok[right].mean() < 0.1


def test_there_is_one_corner_in_a_cell_at_most_and_none_where_nothing_is_known():
    image = levelled(pattern())
    known = np.zeros((ROWS, COLS), bool)
    known[:, :80] = True
    at = find_corners(image, known, 8)
    assert len(np.unique(at // 8, axis=0)) == len(at) > 100
    assert at[:, 0].max() < 80


def test_a_plain_wall_has_no_corners():
    image = levelled(np.full((ROWS, COLS, 3), 90, np.uint8))
    at = find_corners(image, np.ones((ROWS, COLS), bool), 8)
    assert at.shape == (0, 2)
    found, ok = follow_corners(image, image, at, at)
    assert found.shape == (0, 2) and ok.shape == (0,)


def test_a_cross_is_a_corner_where_its_lines_meet():
    image = np.zeros((40, 40), np.uint8)
    image[:20, :20] = image[20:, 20:] = 200   # their edges meet between pixels 19 and 20
    at = find_corners(image, np.ones((40, 40), bool), 40)
    assert np.abs(at - 19.5).max() <= 1


def test_windows_that_reach_into_the_hidden_part_are_left_out():
    visible = np.ones((40, 50), bool)
    visible[:, :10] = False
    kept = away_from_hidden(visible)
    half = (WINDOW_PX + 2) // 2
    assert not kept[:, :10 + half].any() and kept[:, 10 + half:].all()
