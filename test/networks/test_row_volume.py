# SPDX-License-Identifier: Apache-2.0
"""Tests of the regularised volume of disparities."""
from crossview_ros.networks.heads.volume import group_correlation, RowVolume
import numpy as np
import torch
import torch.nn.functional as F


def test_group_correlation_is_the_cosine_with_what_lies_further_left():
    torch.manual_seed(0)
    map1, map2 = torch.randn(2, 2, 6, 3, 10).unbind()
    volume = group_correlation(map1, map2, 2, 4).numpy()
    assert volume.shape == (2, 2, 4, 3, 10)
    unit1, unit2 = (F.normalize(m, dim=1).numpy() for m in (map1, map2))
    for b, g, d, y, x in np.ndindex(volume.shape):
        channels = slice(3 * g, 3 * g + 3)
        expected = 2 * unit1[b, channels, y, x] @ unit2[b, channels, y, x - d] if x >= d else 0
        np.testing.assert_allclose(volume[b, g, d, y, x], expected, atol=1e-5)


def test_more_disparities_than_columns_find_nothing_there():
    map1 = torch.ones(1, 4, 2, 4)
    volume = group_correlation(map1, map1, 1, 8)
    assert (volume[0, 0, 4:] == 0).all()
    assert torch.allclose(volume[0, 0, 0], torch.ones(2, 4))


def test_at_the_start_it_says_what_the_coarse_stage_says():
    torch.manual_seed(0)
    coarse = torch.rand(1, 1, 8, 16) * 8 + 6
    out = RowVolume(8, 4, 4, 1.5)(*torch.randn(2, 1, 8, 8, 16), torch.zeros(1, 4, 4, 8), coarse)
    assert (out.disparity - coarse).abs().max() < 0.3


def test_a_volume_learns_to_match():
    torch.manual_seed(0)
    volume = RowVolume(8, 4, 4, 0.5)
    optimizer = torch.optim.Adam(volume.parameters(), 5e-3)
    coarse, nothing = torch.zeros(2, 4, 4, 8), torch.zeros(2, 1, 8, 16)
    errors = []
    for _ in range(60):
        fine2 = torch.randn(2, 8, 8, 16)
        shift = int(torch.randint(1, 6, ()))
        out = volume(torch.roll(fine2, shift, 3), fine2, coarse, nothing)
        errors.append((out.disparity[..., 6:] - shift).abs().mean())
        optimizer.zero_grad()
        errors[-1].backward()
        optimizer.step()
    assert out.scores[0].shape == (2, 8, 16, 8) and out.scores[1].shape == (2, 8, 16, 4)
    assert sum(errors[-10:]) < 0.5 * sum(errors[:10])
