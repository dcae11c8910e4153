# SPDX-License-Identifier: Apache-2.0
"""Answers that are roughly right become sharp; where the images tell nothing they stay."""
from crossview_ros.geometry.near_matching import (
    carried_over, disparity_near, flow_near, hidden_on_right, LEAST_SIDE_PX, REACH_PX)
import cv2
import numpy as np
import pytest

ROWS, COLS = 96, 160


def texture(seed=0, grain=1.5):
    """Return smooth random texture, (ROWS, COLS + 64, 3) uint8."""
    noise = np.random.default_rng(seed).normal(size=(ROWS, COLS + 64, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), grain)
    return np.clip(128 + 40 * smooth / smooth.std(), 0, 255).astype(np.uint8)


def slanted_pair():
    """Return a pair of a slanted wall, and its disparity (ROWS, COLS)."""
    right = texture()[:, 32:32 + COLS]
    x, y = np.meshgrid(np.arange(COLS, dtype=np.float32), np.arange(ROWS, dtype=np.float32))
    disparity = 6 + 0.05 * x + 0.03 * y
    wide = texture()
    left = cv2.remap(wide, x - disparity + 32, y, cv2.INTER_CUBIC)
    return left, right, disparity


def errors(answer, truth):
    """Return the distances, without a border in which matches leave the image."""
    difference = (answer - truth)[8:-8, 24:-24]
    return np.abs(difference) if difference.ndim == 2 else np.linalg.norm(difference, axis=-1)


@pytest.mark.parametrize('wrong_by', [-5.0, -0.7, 0.0, 1.4, 5.0])
def test_a_disparity_within_reach_becomes_right(wrong_by):
    left, right, truth = slanted_pair()
    refined = disparity_near(left, right, truth + np.float32(wrong_by))
    assert refined.dtype == np.float32 and refined.shape == truth.shape
    error = errors(refined, truth)
    assert np.median(error) < 0.1 and np.mean(error < 0.5) > 0.97


def test_the_answer_is_sharpened_where_it_is_blurred():
    wide = texture()
    left, truth = wide[:, 32:32 + COLS].copy(), np.full((ROWS, COLS), 4, np.float32)
    right = wide[:, 36:36 + COLS].copy()
    truth[30:66, 60:110] = 10   # a square before the wall
    square = texture(1)[30:66, 60:110]
    left[30:66, 60:110], right[30:66, 50:100] = square, square
    blurred = cv2.GaussianBlur(truth, (0, 0), 6)
    before, after = (errors(answer, truth) > 1 for answer in (
        blurred, disparity_near(left, right, blurred)))
    assert after.mean() < 0.35 * before.mean()


def test_a_darker_right_image_is_matched_all_the_same():
    left, right, truth = slanted_pair()
    darker = np.clip(0.7 * right.astype(np.float32) + 6, 0, 255).astype(np.uint8)
    assert np.median(errors(disparity_near(left, darker, truth + 2), truth)) < 0.3


def test_plain_walls_and_what_is_beyond_reach_keep_their_answer():
    left, right, truth = slanted_pair()
    plain = np.full_like(left, 128)
    answer = truth + np.float32(0.3)
    np.testing.assert_allclose(disparity_near(plain, plain, answer), answer, atol=1e-4)
    far = disparity_near(left, right, truth + 3 * REACH_PX)
    assert np.mean(np.abs(far - truth - 3 * REACH_PX) <= REACH_PX) > 0.99


def test_nothing_is_beyond_infinity():
    left, right, truth = slanted_pair()
    refined = disparity_near(left, np.roll(right, 9, 1), truth - 5)   # as if truth were less by 9
    assert (truth - 9)[10, 30] < 0 and refined.min() >= 0


@pytest.mark.parametrize('wrong_by', [(0.0, 0.0), (1.5, -1.0), (-4.0, 3.0)])
def test_a_flow_becomes_right(wrong_by):
    wide = cv2.cvtColor(texture(), cv2.COLOR_RGB2GRAY)
    image1, image2 = wide[:, 32:32 + COLS], np.roll(wide, -3, 0)[:, 20:20 + COLS]
    truth = np.float32((12, -3))
    refined = flow_near(image1, image2, np.broadcast_to(
        truth + np.float32(wrong_by), (ROWS, COLS, 2)))
    assert refined.dtype == np.float32
    error = errors(refined, truth)
    assert np.median(error) < 0.15 and np.mean(error < 1) > 0.95


def test_what_is_unsure_begins_at_what_is_around_it():
    answer = np.broadcast_to(np.float32((12, 0)), (ROWS, COLS, 2)).copy()
    answer[30:60, 60:100] = -25, 20
    confidence = np.full((ROWS, COLS), 0.8, np.float32)
    np.testing.assert_array_equal(carried_over(answer, confidence), answer)
    confidence[30:60, 60:100] = 0.02
    start = carried_over(answer, confidence)
    assert np.abs(start[30:60, 60:100] - (12, 0)).max() < 4   # was 37 and 20 px away
    np.testing.assert_array_equal(start[:30], answer[:30])
    grey = cv2.cvtColor(texture(), cv2.COLOR_RGB2GRAY)
    refined = flow_near(grey[:, 32:32 + COLS], grey[:, 20:20 + COLS], answer, confidence)
    assert np.mean(errors(refined, (12, 0)) < 0.5) > 0.98
    nothing = flow_near(grey, grey, np.zeros((*grey.shape, 2), np.float32), 0 * grey)
    assert np.isfinite(nothing).all()


def test_what_the_right_image_does_not_show():
    disparity = np.full((2, 40), 3.0, np.float32)
    disparity[0, 20:30] = 8   # something nearer: it hides what is 5 px left of it
    hidden = hidden_on_right(disparity)
    expected = np.zeros((2, 40), bool)
    expected[:, :3], expected[0, 17:20] = True, True   # and not the 2 px at the rim
    np.testing.assert_array_equal(hidden[:, :20], expected[:, :20])
    assert not hidden[:, 20:].any()


def test_hidden_places_keep_their_answer():
    left, right, truth = slanted_pair()
    answer = truth + 2
    kept = disparity_near(left, right, answer)[:, :5]   # disparities are from 6 px on
    np.testing.assert_array_equal(kept, answer[:, :5])


def test_what_is_unknown_stays_so_and_spoils_nothing():
    left, right, truth = slanted_pair()
    hole = truth + 1
    hole[20:30, 60:80] = np.nan
    refined = disparity_near(left, right, hole)
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(hole))
    assert np.nanmedian(errors(refined, truth)) < 0.1
    grey = cv2.cvtColor(left, cv2.COLOR_RGB2GRAY)
    flow = np.zeros((ROWS, COLS, 2), np.float32)
    flow[20:30, 60:80, 0] = np.nan
    refined = flow_near(grey, grey, flow)
    np.testing.assert_array_equal(np.isnan(refined), np.isnan(flow))
    assert np.nanmax(np.abs(refined)) < 0.5


@pytest.mark.parametrize('shape', [(1, 1), (LEAST_SIDE_PX - 1, 400), (400, LEAST_SIDE_PX - 1),
                                   (LEAST_SIDE_PX, LEAST_SIDE_PX), (49, 51), (200, 48)])
def test_images_of_any_size_are_taken(shape):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    disparity, flow = np.zeros(shape, np.float32), np.zeros((*shape, 2), np.float32)
    assert np.abs(disparity_near(image, image, disparity)).max() < 0.5
    assert np.abs(flow_near(image[..., 0].copy(), image[..., 0].copy(), flow)).max() < 0.5
    unknown = np.full(shape, np.nan, np.float32)
    assert np.isnan(disparity_near(image, image, unknown)).all()
