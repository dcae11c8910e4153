# SPDX-License-Identifier: Apache-2.0
"""Promises of the matching head."""
from crossview_ros.networks.croco import EncoderFeatures
from crossview_ros.networks.heads import MatchingHead, MatchingHeadConfig
from crossview_ros.networks.heads.refinement import (
    convex_upsample, row_volumes, row_windows, warped_window)
import numpy as np
import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize('search, shift', [('row', (0, 3)), ('plane', (-1, 2))])
def test_correlation_finds_a_known_shift(search, shift):
    torch.manual_seed(0)
    head = MatchingHead(MatchingHeadConfig(search), 16, 8, (8, 16))
    map2 = torch.randn(1, 128, 12, 16)
    map1 = torch.roll(map2, shift, dims=(2, 3))   # map1(x) = map2(x - shift)
    with torch.no_grad():
        head.log_temperature.fill_(4.6)
        offset, certainty = head._match(map1, map2)
    inner = (slice(None), slice(None), slice(2, -2), slice(4, -4))
    expected = [-shift[1]] if search == 'row' else [-shift[1], -shift[0]]
    for channel, value in enumerate(expected):
        assert (offset[inner][:, channel] - value).abs().max() < 0.05
    assert certainty[inner].min() > 0.95


def test_local_correlation_peaks_at_the_estimate():
    torch.manual_seed(0)
    map2 = F.normalize(torch.randn(1, 32, 6, 20), dim=1)
    map1 = torch.roll(map2, 2, dims=3)
    flow = torch.tensor((-1.0, 0.0)).view(1, 2, 1, 1).expand(1, 2, 6, 20)
    window = warped_window(map1, map2, flow, (0, 4))
    # the true offset is -2, one step left of the estimate: entry 4 - 1
    assert (window[..., 4:-4].argmax(1) == 3).all()


def test_row_windows_are_the_interpolated_correlations_around_each_estimate():
    torch.manual_seed(0)
    map1, map2 = torch.randn(2, 2, 5, 3, 16).unbind()
    offset = 6 * torch.randn(2, 1, 3, 16)
    window = row_windows(row_volumes(map1, map2, 2), torch.arange(16) + offset[:, 0], 3).numpy()
    assert window.shape == (2, 14, 3, 16)
    places = np.arange(16)
    for level in range(2):
        halved = map2.numpy() if level == 0 else map2.unflatten(3, (8, 2)).mean(4).numpy()
        centres = 2 ** level * (np.arange(16 // 2 ** level) + 0.5) - 0.5
        for b, y, x in np.ndindex(2, 3, 16):
            scores = np.einsum('c,cw->w', map1[b, :, y, x].numpy(), halved[b, :, y]) / 5 ** 0.5
            step = 2 ** level
            around = np.concatenate(([centres[0] - step], centres, [centres[-1] + step]))
            at = places[x] + offset[b, 0, y, x].item() + step * np.arange(-3, 4)
            expected = np.interp(at, around, np.pad(scores, 1), 0, 0)
            np.testing.assert_allclose(window[b, 7 * level:7 * level + 7, y, x], expected,
                                       atol=1e-5)


def test_a_head_with_all_options_sees_its_own_state_and_the_coarse_map():
    torch.manual_seed(0)
    head = MatchingHead(MatchingHeadConfig(
        'row', 16, 8, fine_hidden_dim=8, fine_dim=8, fine_radius=2, coarse_iterations=2,
        fine_iterations=3, fused=True, recurrent=True, fine_levels=2, volume_groups=4,
        half_dim=8, half_hidden_dim=8), 24, 16, (8, 12, 16))
    tokens = torch.randn(2, 2, 4 * 6, 24)
    views = [EncoderFeatures([], [torch.randn(2, 12, 16, 24), torch.randn(2, 16, 8, 12),
                                  torch.randn(2, 8, 32, 48)], (4, 6)) for _ in range(2)]
    out = head(*tokens, *views)
    assert out.value.shape == (2, 1, 64, 96)
    assert len(out.intermediate) == 1 + 1 + 1 + 3
    sum(v.sum() for v in (out.value, out.log_scale, *out.intermediate)).backward()
    assert not [name for name, p in head.named_parameters() if p.grad is None]


def test_levels_and_volume_need_a_row():
    with pytest.raises(ValueError, match="1 with search 'plane'"):
        MatchingHeadConfig('plane', fine_levels=2)
    with pytest.raises(ValueError, match="0 with search 'plane', got 4"):
        MatchingHeadConfig('plane', volume_groups=4)
    with pytest.raises(ValueError, match='volume_groups must divide fine_dim'):
        MatchingHeadConfig('row', fine_dim=30, volume_groups=4)


def test_convex_upsampling_keeps_a_constant_and_the_value_range():
    torch.manual_seed(0)
    mask = torch.randn(2, 9 * 16, 5, 6)
    torch.testing.assert_close(convex_upsample(torch.full((2, 1, 5, 6), 7.0), mask, 4),
                               torch.full((2, 1, 20, 24), 7.0))
    field = torch.rand(2, 2, 5, 6)
    fine = convex_upsample(field, mask, 4)
    assert fine.min() >= field.min() and fine.max() <= field.max()


def test_convex_upsampling_puts_each_block_where_its_pixel_is():
    mask = torch.full((1, 9 * 4, 3, 3), -100.0)
    mask.view(1, 9, 4, 3, 3)[:, 4] = 100.0        # all weight on the pixel itself
    field = torch.arange(9.0).view(1, 1, 3, 3)
    expected = F.interpolate(field, scale_factor=2.0, mode='nearest')
    torch.testing.assert_close(convex_upsample(field, mask, 2), expected)


@pytest.mark.parametrize('patch_size', [8, 16])
@pytest.mark.parametrize('search, channels', [('row', 1), ('plane', 2)])
def test_head_gives_full_size_output_and_gradients_everywhere(search, channels, patch_size):
    torch.manual_seed(0)
    head = MatchingHead(MatchingHeadConfig(search, feature_dim=16, hidden_dim=8, fine_dim=8,
                                           fine_radius=2), 24, patch_size, (8, 12, 16))
    rows, cols = 64 // patch_size, 96 // patch_size

    def view():
        return EncoderFeatures([], [torch.randn(2, 12, 16, 24), torch.randn(2, 16, 8, 12)],
                               (rows, cols))

    tokens = torch.randn(2, 2, rows * cols, 24)
    out = head(tokens[0], tokens[1], view(), view())
    assert out.value.shape == (2, channels, 64, 96)
    assert out.log_scale.shape == (2, 1, 64, 96)
    assert all(value.shape == out.value.shape for value in out.intermediate)
    (out.value.sum() + out.log_scale.sum() + sum(v.sum() for v in out.intermediate)).backward()
    without = [name for name, p in head.named_parameters() if p.grad is None]
    assert not without
