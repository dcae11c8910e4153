# SPDX-License-Identifier: Apache-2.0
"""Promises of the flaws that rendered images get."""
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.training.camera_flaws import (
    add_flaws, BLOCK, compress, ROW_SHIFT_PX, shift_rows)
import numpy as np
import pytest
from scipy.fft import dctn
import torch


def views(count=4, size_hw=(36, 52)):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, count, 3, 6, 8, generator=generator)
    fine = torch.nn.functional.interpolate(coarse.flatten(0, 1), size_hw, mode='bicubic')
    return dict(zip(('previous', 'left', 'right'), fine.clamp(0, 1).unflatten(0, (3, count))))


def draw(**more):
    return Draw(torch.Generator().manual_seed(1), **more)


def test_no_strength_changes_nothing():
    batch = views()
    assert add_flaws(batch, 0.0, draw()) is batch


def test_flaws_change_each_view_and_leave_the_truth():
    batch = {**views(), 'disparity': torch.rand(4, 1, 36, 52)}
    out = add_flaws(batch, 1.0, draw())
    assert out['disparity'] is batch['disparity']
    for name in ('previous', 'left', 'right'):
        assert out[name].shape == batch[name].shape
        assert 0 <= out[name].min() and out[name].max() <= 1
        assert (out[name] - batch[name]).abs().amax((1, 2, 3)).min() > 1e-3


def test_a_process_that_makes_some_rows_makes_the_same_ones():
    batch = views()
    whole = add_flaws(batch, 1.0, draw())
    part = add_flaws({name: view[1:3] for name, view in batch.items()}, 1.0,
                     draw(rows=range(1, 3), batch=4))
    for name, view in part.items():
        torch.testing.assert_close(view, whole[name][1:3])


def test_rows_move_by_what_the_rectification_errs_and_columns_stay():
    rows, cols = 40, 30
    y = torch.arange(rows, dtype=torch.float32)[:, None].expand(rows, cols)
    x = torch.arange(cols, dtype=torch.float32).expand(rows, cols)
    image = torch.stack((y, x, y))[None]
    out = shift_rows(image, torch.tensor([[2.0, 0.0, 0.0]]))
    inner = (0, slice(None), slice(3, -3), slice(3, -3))
    torch.testing.assert_close(out[inner][0], image[inner][0] + 2 * ROW_SHIFT_PX)
    turned = shift_rows(image, torch.tensor([[0.0, 1.0, 1.0]]))
    torch.testing.assert_close(turned[inner][1], image[inner][1])
    assert turned[0, 0, 20, 0] < turned[0, 0, 20, -1]


def test_compression_leaves_multiples_of_the_step_in_each_block():
    generator = torch.Generator().manual_seed(3)
    image = torch.rand(2, 3, 24, 32, generator=generator, dtype=torch.float64)
    step = torch.tensor([0.0, 0.05], dtype=torch.float64)
    out = compress(image, step).numpy()
    np.testing.assert_allclose(out[0], image[0], atol=1e-12)
    order = np.arange(BLOCK)
    steps = 0.05 * (1 + 0.5 * (order[:, None] + order)) * BLOCK / 2
    for top, left in np.ndindex(3, 4):
        at = np.s_[1, 1, 8 * top:8 * top + 8, 8 * left:8 * left + 8]
        before, after = (dctn(x[at], norm='ortho') for x in (image.numpy(), out))
        np.testing.assert_allclose(after, np.round(before / steps) * steps, atol=1e-9)


@pytest.mark.parametrize('size_hw', [(9, 13), (16, 8)])
def test_compression_takes_images_that_are_no_multiple_of_a_block(size_hw):
    image = torch.full((1, 3, *size_hw), 0.5)
    torch.testing.assert_close(compress(image, torch.tensor([0.5])), image)
