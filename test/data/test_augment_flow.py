# SPDX-License-Identifier: Apache-2.0
"""Flow augmentation (croco.md 8.2): the truth keeps explaining the images; golden resizing."""
from dataclasses import replace
import json

from crossview_ros.data.augment_flow import (
    augment_flow, coloured, flipped, FlowAugmentation, resize_flow, scale_factors)
from crossview_ros.geometry.flow import warp_image
import numpy as np
import pytest
from ramps import flow_sample

SIZE_HW = (96, 128)
PLAIN = FlowAugmentation((64, 96), scale_probability=0, flip_x_probability=0,
                         flip_y_probability=0, brightness=(1, 1), contrast=(1, 1),
                         saturation=(1, 1), hue=(0, 0))


@pytest.fixture
def sample(rng):
    return flow_sample(rng, SIZE_HW)


@pytest.mark.parametrize('truth_scale', [1, 2])
@pytest.mark.parametrize('sparse', [False, True])
def test_the_truth_explains_the_images_after_any_augmentation(rng, truth_scale, sparse):
    sample = flow_sample(rng, SIZE_HW, truth_scale)
    if sparse:
        sample.flow[rng.random(sample.flow.shape[:2]) < 0.5] = np.nan
    config = FlowAugmentation((64, 80), own_colour_probability=0)
    for seed in range(25):
        changed = augment_flow(sample, config, np.random.default_rng(seed))

        assert changed.image1.shape == (64, 80, 3) and changed.truth_scale == 1
        truth, none, negated = (
            np.nanmean(np.abs(changed.image1 - warp_image(changed.image2, sign * changed.flow)))
            for sign in (1, 0, -1))
        assert truth < 0.25 * none and truth < 0.25 * negated, seed
        assert np.isnan(changed.flow).any() == sparse


@pytest.mark.parametrize('kind', ['dense', 'sparse'])
def test_resized_flow_equals_the_golden_one(shared_dir, kind):
    path = shared_dir / 'reference/golden/croco/misc.npz'
    if not path.is_file():
        pytest.skip(f'no golden file {path}')
    golden = np.load(path)
    cases = json.loads(str(golden['meta_json']))['flowresize']
    for k, (sx, sy, factor) in enumerate(cases):
        wanted = golden[f'flowresize/{kind}_{k}']

        found = resize_flow(golden[f'flowresize/{kind}_in'], sx, sy, int(factor))

        np.testing.assert_array_equal(np.isfinite(found), np.isfinite(wanted))
        finite = np.isfinite(wanted)
        np.testing.assert_allclose(found[finite], wanted[finite], atol=1e-4)


def test_scattered_flow_lands_on_its_rounded_place_the_later_value_wins():
    flow = np.full((5, 6, 2), np.nan, np.float32)
    flow[2, 3], flow[2, 4], flow[0, 4], flow[4, 5] = (1, 2), (3, 4), (5, 6), (7, 8)

    small = resize_flow(flow, 0.5, 1.0)     # x: 3 -> 1.5 -> 2 (even), 4 -> 2, 5 -> 2.5 -> 2

    wanted = np.full((5, 3, 2), np.nan, np.float32)
    wanted[2, 2] = 1.5, 4                   # (4, 2) overwrote (3, 2); row 0 is lost
    wanted[4, 2] = 3.5, 8
    np.testing.assert_array_equal(small, wanted)


def test_nothing_drawn_leaves_a_window_of_the_sample(sample, rng):
    changed = augment_flow(sample, PLAIN, rng)

    (y, x), = [(y, x) for y in range(33) for x in range(33)
               if np.array_equal(changed.flow, sample.flow[y:y + 64, x:x + 96])]
    np.testing.assert_array_equal(changed.image1, sample.image1[y:y + 64, x:x + 96])
    np.testing.assert_array_equal(changed.image2, sample.image2[y:y + 64, x:x + 96])


def test_every_crop_offset_is_used_the_last_included(rng):
    sample = flow_sample(rng, (66, 98))
    corners = {tuple(augment_flow(sample, PLAIN, rng).flow[0, 0]) for _ in range(200)}

    assert corners == {tuple(sample.flow[y, x]) for y in range(3) for x in range(3)}


@pytest.mark.parametrize('axis, component', [(1, 0), (0, 1)])
def test_a_flip_changes_the_sign_of_its_component(sample, axis, component):
    turned = flipped(sample, axis)

    back = np.flip(turned.flow, axis)
    np.testing.assert_array_equal(back[..., component], -sample.flow[..., component])
    np.testing.assert_array_equal(back[..., 1 - component], sample.flow[..., 1 - component])
    np.testing.assert_array_equal(turned.image2, np.flip(sample.image2, axis))


def test_flips_come_as_often_as_specified(sample):
    rng = np.random.default_rng(0)
    config = replace(PLAIN, flip_x_probability=0.5, flip_y_probability=0.1)
    flows = [augment_flow(sample, config, rng).flow for _ in range(400)]

    # du/dx = 0.02 and dv/dy = 0.01 keep their sign under any flip, u itself (> 0) does not
    assert np.mean([flow[..., 0].mean() < 0 for flow in flows]) == pytest.approx(0.5, abs=0.08)
    # dv/dx = 0.03 changes its sign with one flip, not with both
    odd = np.mean([flow[0, -1, 1] < flow[0, 0, 1] for flow in flows])
    assert odd == pytest.approx(0.5 * 0.9 + 0.5 * 0.1, abs=0.08)


def test_scales_are_drawn_as_specified_and_the_crop_fits_with_its_margin():
    rng = np.random.default_rng(0)
    config = FlowAugmentation((320, 384))
    factors = np.array([scale_factors((1000, 1200), config, rng) for _ in range(4000)])

    unscaled = (factors == 1).all(1)
    assert unscaled.mean() == pytest.approx(0.2, abs=0.025)   # 4 standard deviations
    scaled = factors[~unscaled]
    alike = scaled[:, 0] == scaled[:, 1]
    assert alike.mean() == pytest.approx(0.2, abs=0.03)
    assert 2 ** -0.2 <= scaled[alike].min() and scaled[alike].max() <= 2 ** 0.5
    stretch = np.log2(scaled[:, 0] / scaled[:, 1])
    assert 0.37 < stretch.max() <= 0.4 and -0.4 <= stretch.min() < -0.37
    tight = np.array([scale_factors((321, 385), config, rng) for _ in range(200)])
    lowest = max(328 / 321, 392 / 385)
    assert (np.isclose(tight, 1) | (tight >= lowest)).all() and np.isclose(tight, lowest).any()


def test_images_smaller_than_the_crop_are_enlarged_even_if_no_scale_is_drawn(rng):
    sample = flow_sample(rng, (60, 80))

    assert augment_flow(sample, PLAIN, rng).image1.shape == (64, 96, 3)


def test_colours_change_alike_or_each_on_its_own(rng):
    image1, image2 = rng.uniform(0.2, 0.8, (2, 8, 9, 3)).astype(np.float32)
    image2[0] = image1[0]

    config = FlowAugmentation()
    one, two = coloured(image1, image2, replace(config, own_colour_probability=0), rng)
    np.testing.assert_allclose(one[0], two[0], atol=1e-6)     # equal colours stay equal
    assert np.abs(one - image1).max() > 0.01
    one, two = coloured(image1, image2, replace(config, own_colour_probability=1), rng)
    assert np.abs(one[0] - two[0]).max() > 0.01


def test_colours_are_changed_alike_in_four_of_five_pairs(rng):
    image = rng.uniform(0.2, 0.8, (8, 9, 3)).astype(np.float32)
    draws = [coloured(image, image, FlowAugmentation(), rng) for _ in range(500)]

    alike = np.mean([np.allclose(one, two, atol=1e-6) for one, two in draws])
    assert alike == pytest.approx(0.8, abs=0.07)
