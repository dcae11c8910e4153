# SPDX-License-Identifier: Apache-2.0
"""Augmented batches stay true: what the fields say still holds between the changed images."""
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.training.augmentation import (
    change_brightness, change_contrast, change_saturation, colour_jitter, crop_and_scale, erase,
    photometric, random_crops)
import pytest
import torch

ROWS, COLS = 48, 64


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


@pytest.fixture
def draw(generator):
    return Draw(generator)


def ramp_batch():
    """Make views whose red is u and green is v: a pixel's colour tells where it came from."""
    u = torch.arange(COLS).float().expand(ROWS, COLS) / COLS
    v = torch.arange(ROWS).float()[:, None].expand(ROWS, COLS) / ROWS
    left = torch.stack((u, v, torch.zeros_like(u)))[None].repeat(2, 1, 1, 1)
    disparity, flow = 4.0, (3.0, -2.0)
    # right(u) = left(u + d); left(x) = previous(x - flow)
    return {
        'left': left,
        'right': left + torch.tensor([disparity / COLS, 0, 0]).view(3, 1, 1),
        'previous': left + torch.tensor([flow[0] / COLS, flow[1] / ROWS, 0]).view(3, 1, 1),
        'disparity': torch.full((2, 1, ROWS, COLS), disparity),
        'flow': torch.tensor(flow).view(2, 1, 1).repeat(2, 1, ROWS, COLS),
        'left_occluded': torch.zeros(2, 1, ROWS, COLS, dtype=torch.bool),
        'previous_occluded': torch.zeros(2, 1, ROWS, COLS, dtype=torch.bool)}


@pytest.mark.parametrize('scale', [0.9, 1.0, 1.37])
@pytest.mark.parametrize('seed', [0, 1, 2, 5])   # with and without the flip
def test_disparity_and_flow_hold_between_the_changed_images(scale, seed):
    batch = crop_and_scale(ramp_batch(), (32, 40), (scale, scale),
                           torch.Generator().manual_seed(seed))
    assert batch['left'].shape == (2, 3, 32, 40)
    inner = (0, slice(0, 2), slice(8, 24), slice(12, 28))
    left = batch['left'][inner]
    per_column = (left[0, :, -1] - left[0, :, 0]).mean().item() / 15
    per_row = (left[1, -1] - left[1, 0]).mean().item() / 15
    disparity = batch['disparity'][0, 0, 16, 20].item()
    # the colour at u - d of the right image is the colour at u of the left one
    assert (batch['right'][inner] - left)[0].mean().item() \
        == pytest.approx(disparity * per_column, rel=0.02)   # resampling ripples a slope
    du, dv = batch['flow'][0, :, 16, 20].tolist()
    moved = (batch['previous'][inner] - left).mean((1, 2)).tolist()
    assert moved == pytest.approx([du * per_column, dv * per_row], rel=0.02)


def test_unknown_flow_stays_unknown_and_masks_stay_masks(generator):
    batch = ramp_batch()
    batch['flow'][:, :, :24] = torch.nan
    batch['left_occluded'][:, :, :, :32] = True
    out = crop_and_scale(batch, (ROWS, COLS), (1.0, 1.0), generator)
    assert torch.isnan(out['flow']).float().mean().item() == 0.5
    assert out['left_occluded'].dtype == torch.bool
    assert out['left_occluded'].float().mean().item() == 0.5


def test_photometric_change_keeps_the_range_and_the_fields(draw):
    batch = {**ramp_batch(), 'left': torch.rand(2, 3, ROWS, COLS)}
    out = photometric(batch, 1.0, draw)
    for view in ('left', 'right', 'previous'):
        assert out[view].min() >= 0 and out[view].max() <= 1
        assert not torch.equal(out[view], batch[view])
    assert out['disparity'] is batch['disparity']


def test_strength_zero_leaves_images_alone(draw):
    batch = {'left': torch.rand(2, 3, 8, 8).clamp(min=1e-4)}
    assert torch.allclose(photometric(batch, 0.0, draw)['left'], batch['left'], atol=1e-6)


def test_erased_rectangle_has_the_mean_colour_and_other_views_are_untouched(draw):
    batch = ramp_batch()
    out = erase(batch, ('right',), 1.0, draw)
    changed = (out['right'] != batch['right']).any(1)
    assert 0.005 < changed.float().mean().item() < 0.2
    for i in range(2):
        mean = batch['right'][i].mean((1, 2))
        assert torch.allclose(out['right'][i][:, changed[i]], mean[:, None])
    assert out['left'] is batch['left']
    assert torch.equal(erase(batch, ('right',), 0.0, draw)['right'], batch['right'])


def test_each_image_is_cropped_at_its_own_place(draw):
    image = ramp_batch()['left'][:1]
    crops = random_crops(image.repeat(64, 1, 1, 1), (32, 40), (1.0, 1.0), draw)
    assert crops.shape == (64, 3, 32, 40)
    corners = {(round(crop[1, 0, 0].item() * ROWS), round(crop[0, 0, 0].item() * COLS))
               for crop in crops}
    assert all(0 <= top <= 16 and 0 <= left <= 24 for top, left in corners)
    assert len(corners) > 40   # of 17 * 25 places
    top, left = (round(crops[0, c, 0, 0].item() * s) for c, s in ((1, ROWS), (0, COLS)))
    assert torch.equal(crops[0], image[0, :, top:top + 32, left:left + 40])   # no resampling


def test_crops_may_be_enlarged_before(draw):
    crops = random_crops(ramp_batch()['left'], (32, 40), (2.0, 2.0), draw)
    per_column = (crops[:, 0, :, -1] - crops[:, 0, :, 0]).mean().item() / 39
    assert per_column == pytest.approx(0.5 / COLS, rel=0.02)   # half of the ramp's slope


def test_colour_changes_blend_as_their_names_say():
    image = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1).repeat(1, 1, 2)
    image[:, :, 1] = 0.1
    grey = 0.299 * 0.2 + 0.587 * 0.4 + 0.114 * 0.6   # ITU-R BT.601
    torch.testing.assert_close(change_brightness(image, 1.3)[:, 0, 0],
                               torch.tensor([0.26, 0.52, 0.78]))
    assert change_brightness(image, 2.0).max() == 1
    mean = (grey + 0.1) / 2
    torch.testing.assert_close(change_contrast(image, 0.5)[:, 0, 0],
                               torch.tensor([(v + mean) / 2 for v in (0.2, 0.4, 0.6)]))
    torch.testing.assert_close(change_saturation(image, 0.0)[:, 0, 0], torch.full((3,), grey))
    torch.testing.assert_close(change_saturation(image, 1.4)[:, 0, 1], torch.full((3,), 0.1))


def test_colours_of_each_image_change_on_their_own(generator, draw):
    image = torch.rand(1, 3, 8, 8, generator=generator) / 2
    changed = colour_jitter(image.repeat(20, 1, 1, 1), 0.4, draw)
    assert len({round(value.item(), 6) for value in changed.mean((1, 2, 3))}) == 20
    assert torch.allclose(colour_jitter(image, 0.0, draw), image, atol=1e-6)
