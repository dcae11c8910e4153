# SPDX-License-Identifier: Apache-2.0
"""Promises of the matching head."""
from crossview_ros.networks.croco import EncoderFeatures
from crossview_ros.networks.heads import MatchingHead, MatchingHeadConfig
from crossview_ros.networks.heads.matching import convex_upsample
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
    head = MatchingHead(MatchingHeadConfig('row'), 16, 8, (8, 16))
    map2 = F.normalize(torch.randn(1, 32, 6, 20), dim=1)
    map1 = torch.roll(map2, 2, dims=3)
    window = head._local_correlation(map1, map2, torch.full((1, 1, 6, 20), -1.0), radius=4)
    # the true offset is -2, one step left of the estimate: entry 4 - 1
    assert (window[..., 4:-4].argmax(1) == 3).all()


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
