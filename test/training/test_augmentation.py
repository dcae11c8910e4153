# SPDX-License-Identifier: Apache-2.0
"""Augmented batches stay true: what the fields say still holds between the changed images."""
from crossview_ros.training.augmentation import crop_and_scale, erase, photometric
import pytest
import torch

ROWS, COLS = 48, 64


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(3)


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


def test_photometric_change_keeps_the_range_and_the_fields(generator):
    batch = {**ramp_batch(), 'left': torch.rand(2, 3, ROWS, COLS)}
    out = photometric(batch, 1.0, generator)
    for view in ('left', 'right', 'previous'):
        assert out[view].min() >= 0 and out[view].max() <= 1
        assert not torch.equal(out[view], batch[view])
    assert out['disparity'] is batch['disparity']


def test_strength_zero_leaves_images_alone(generator):
    batch = {'left': torch.rand(2, 3, 8, 8).clamp(min=1e-4)}
    assert torch.allclose(photometric(batch, 0.0, generator)['left'], batch['left'], atol=1e-6)


def test_erased_rectangle_has_the_mean_colour_and_other_views_are_untouched(generator):
    batch = ramp_batch()
    out = erase(batch, ('right',), 1.0, generator)
    changed = (out['right'] != batch['right']).any(1)
    assert 0.005 < changed.float().mean().item() < 0.2
    for i in range(2):
        mean = batch['right'][i].mean((1, 2))
        assert torch.allclose(out['right'][i][:, changed[i]], mean[:, None])
    assert out['left'] is batch['left']
    assert torch.equal(erase(batch, ('right',), 0.0, generator)['right'], batch['right'])
