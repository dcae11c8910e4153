# SPDX-License-Identifier: Apache-2.0
"""Stereo augmentation (croco.md 8.1): the truth keeps explaining the pair; ranges and chances."""
from dataclasses import replace

from crossview_ros.data.augment_stereo import (
    augment_stereo, coloured, flipped, misaligned, resized, scale_factors, StereoAugmentation)
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.flow import warp_by_disparity
import numpy as np
import pytest
from ramps import stereo_sample

SIZE_HW = (96, 160)
PLAIN = StereoAugmentation((64, 96), scale_probability=0, flip_probability=0,
                           misalign_probability=0, colour_probability=0)


@pytest.fixture
def sample(rng):
    return stereo_sample(rng, SIZE_HW)


def photos(sample):
    """Return the difference that the truth leaves, nothing, and the negated truth."""
    return [np.nanmean(np.abs(sample.left - warp_by_disparity(sample.right,
                                                              sign * sample.disparity)))
            for sign in (1, 0, -1)]


@pytest.mark.parametrize('truth_scale', [1, 2])
@pytest.mark.parametrize('sparse', [False, True])
def test_the_truth_explains_the_pair_after_any_augmentation(rng, truth_scale, sparse):
    sample = stereo_sample(rng, SIZE_HW, truth_scale)
    if sparse:
        sample.disparity[rng.random(sample.disparity.shape) < 0.7] = np.nan
    config = StereoAugmentation((64, 96), misalign_probability=0, own_colour_probability=0)
    for seed in range(25):
        changed = augment_stereo(sample, config, np.random.default_rng(seed))

        assert changed.left.shape == (64, 96, 3) and changed.truth_scale == 1
        truth, none, negated = photos(changed)
        # nearest truth is up to half a pixel off its ramp, images are rounded and interpolated
        assert truth < 0.2 * none and truth < 0.2 * negated, seed


def test_the_unknown_stays_unknown_and_is_no_number_elsewhere(sample):
    sample.disparity[:, :40] = np.nan
    changed = resized(sample, 1.5, 1)

    np.testing.assert_array_equal(np.isnan(changed.disparity[0]), np.arange(240) < 60)


def test_a_small_misalignment_of_the_right_image_moves_it_and_nothing_else(sample):
    config = replace(PLAIN, misalign_probability=1, rotation_deg=(0, 0), shift_px=(2, 2))
    seeds = [np.random.default_rng(3) for _ in range(2)]

    changed, plain = (augment_stereo(sample, c, r) for c, r in zip((config, PLAIN), seeds))

    np.testing.assert_array_equal(changed.right[2:], plain.right[:-2])
    np.testing.assert_array_equal(changed.left, plain.left)
    np.testing.assert_array_equal(changed.disparity, plain.disparity)


def test_the_default_misalignment_stays_within_its_range(sample):
    dots = np.zeros((*SIZE_HW, 3), np.uint8)
    dots[48:51, 79:82] = 255
    moved = []
    for seed in range(200):
        image = misaligned(dots, StereoAugmentation(), np.random.default_rng(seed))[..., 0]
        rows, cols = np.nonzero(image > 0)
        weights = image[rows, cols].astype(float)
        moved.append((weights @ rows / weights.sum() - 49, weights @ cols / weights.sum() - 80))

    rows, cols = np.abs(moved).T
    # 0.1 degrees about the farthest point turn by 0.33 px; 1/32 px: OpenCV's interpolation
    assert 1.8 < rows.max() < 2.0 + 0.33 and cols.max() < 0.33 + 0.04


def test_nothing_drawn_leaves_a_window_of_the_sample(sample, rng):
    changed = augment_stereo(sample, PLAIN, rng)

    (y, x), = [(y, x) for y in range(33) for x in range(65)
               if np.array_equal(changed.left, sample.left[y:y + 64, x:x + 96])]
    np.testing.assert_array_equal(changed.right, sample.right[y:y + 64, x:x + 96])
    np.testing.assert_array_equal(changed.disparity, sample.disparity[y:y + 64, x:x + 96])
    assert changed.rig == sample.rig.cropped(x, y, 96, 64)


def test_every_crop_offset_is_used_the_last_included(rng):
    sample = stereo_sample(rng, (66, 104))
    seen = {augment_stereo(sample, PLAIN, rng).rig.left.cx for _ in range(200)}
    rows = {augment_stereo(sample, PLAIN, rng).rig.left.cy for _ in range(100)}

    assert seen == {70.0 - x for x in range(9)} and rows == {40.0, 39.0, 38.0}


@pytest.mark.parametrize('size_hw, low, high', [((400, 900), 1.0, 2.0),
                                                ((800, 900), 2 ** -0.2, 2 ** 0.4)])
def test_scale_is_drawn_half_of_the_time_from_the_range_of_the_size(size_hw, low, high):
    rng = np.random.default_rng(0)
    config = StereoAugmentation((352, 704))
    factors = np.array([scale_factors(size_hw, config, rng) for _ in range(2000)])

    fx, fy = factors.T
    assert (fy == 1).all()
    assert np.mean(fx != 1) == pytest.approx(0.5, abs=0.04)   # 3.6 standard deviations
    drawn = fx[fx != 1]
    assert low <= drawn.min() < low * 1.01 and high * 0.99 < drawn.max() <= high


def test_narrow_images_are_widened_and_low_ones_stretched_to_the_crop_and_a_margin(rng):
    config = StereoAugmentation((352, 704), scale_probability=0)

    assert scale_factors((400, 600), config, rng) == (712 / 600, 1.0)
    assert scale_factors((300, 800), config, rng) == (1.0, 360 / 300)
    small = stereo_sample(rng, (300, 600))
    assert augment_stereo(small, config, rng).left.shape == (352, 704, 3)


def test_scale_multiplies_disparity_and_keeps_depth(sample):
    changed = resized(sample, 1.5, 1)

    assert changed.left.shape == (96, 240, 3)
    # OpenCV's nearest pixel of x is floor(x / f)
    np.testing.assert_allclose(changed.disparity,
                               1.5 * sample.disparity[:, np.arange(240) * 2 // 3], rtol=1e-6)
    assert changed.rig.left.fx == 225 and changed.rig.left.fy == 150


def test_a_flip_turns_images_truth_and_camera_over(sample):
    turned = flipped(sample)

    np.testing.assert_array_equal(turned.disparity, sample.disparity[::-1])
    np.testing.assert_allclose(turned.rig.left.rays(),
                               sample.rig.left.rays()[::-1] * (1, -1, 1), atol=1e-12)
    again = flipped(turned)
    np.testing.assert_array_equal(again.left, sample.left)
    assert again.rig == sample.rig


@pytest.mark.parametrize('probability', [0.0, 0.5, 1.0])
def test_flips_come_as_often_as_asked(sample, probability):
    rng = np.random.default_rng(0)
    config = replace(PLAIN, flip_probability=probability)
    # rows of the ramp grow downwards; upside down they fall
    share = np.mean([np.ptp(d[:, 0]) and d[-1, 0] < d[0, 0] for d in (
        augment_stereo(sample, config, rng).disparity for _ in range(300))])

    assert share == pytest.approx(probability, abs=0.1)


def test_shared_colour_changes_both_images_alike_and_own_ones_do_not(rng):
    image = rng.uniform(0.2, 0.8, (8, 9, 3)).astype(np.float32)
    sure = StereoAugmentation(colour_probability=1)

    left, right = coloured(image, image, replace(sure, own_colour_probability=0), rng)
    np.testing.assert_array_equal(left, right)
    assert np.abs(left - image).max() > 0.01
    left, right = coloured(image, image, replace(sure, own_colour_probability=1), rng)
    assert np.abs(left - right).max() > 0.01
    left, right = coloured(image, image, replace(sure, colour_probability=0), rng)
    assert left is image and right is image


def test_the_right_images_own_saturation_never_turns_colours_into_their_opposites():
    red = np.zeros((4, 5, 3), np.float32) + (0.6, 0.4, 0.4)
    config = StereoAugmentation(colour_probability=1, own_colour_probability=1, hue=(0, 0))
    for seed in range(100):
        right = coloured(red, red, config, np.random.default_rng(seed))[1]
        assert (right[..., 0] > right[..., 1]).all()


def test_equal_seeds_give_equal_samples_and_arguments_stay(sample):
    before = sample.left.copy()
    one, two = (augment_stereo(sample, StereoAugmentation((64, 96)), np.random.default_rng(5))
                for _ in range(2))

    np.testing.assert_array_equal(one.left, two.left)
    np.testing.assert_array_equal(one.disparity, two.disparity)
    np.testing.assert_array_equal(sample.left, before)


@pytest.mark.parametrize('settings, message', [
    ({'flip_probability': 1.5}, 'flip_probability must be in'),
    ({'hue': (0.2, -0.2)}, 'hue must be'), ({'crop_hw': (0, 5)}, 'crop_hw must be positive')])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        StereoAugmentation(**settings)
