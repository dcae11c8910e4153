# SPDX-License-Identifier: Apache-2.0
"""Windows cover every image, and what they give is averaged by their confidence."""
import math

from crossview_ros.errors import CheckpointError
from crossview_ros.geometry.tiling import (
    blend, enlarge, parse_weight, pixel_weight, scaled_size, TileLayout, TilingSpec,
    window_offsets)
import numpy as np
import pytest
import torch
import torch.nn.functional as F


@pytest.mark.parametrize('length, window, overlap, expected', [
    (64, 64, 0.7, [0]),
    (65, 64, 0.0, [0, 1]),
    (128, 64, 0.0, [0, 64]),
    (110, 100, 0.9, [0, 5, 10]),       # (1 - 0.9) * 100 is less than 10: one window more
    (105, 100, 0.975, [0, 2, 5]),      # 2.5 is rounded to the even number
    (107, 100, 0.975, [0, 2, 5, 7])])  # 7 / 3 and 14 / 3
def test_windows_are_spread_evenly_from_end_to_end(length, window, overlap, expected):
    assert window_offsets(length, window, overlap) == expected


@pytest.mark.parametrize('image_hw, window_hw, expected', [
    ((375, 1242), (352, 704), (375, 1242)),
    ((60, 80), (64, 96), (72, 96)),          # too narrow is what counts: 96 / 80
    ((300, 1500), (352, 704), (352, 1760)),  # wide enough, but too low
    ((100, 50), (64, 64), (128, 64)),
    ((1, 1), (32, 64), (64, 64))])
def test_images_grow_until_the_window_fits_in(image_hw, window_hw, expected):
    assert scaled_size(image_hw, window_hw) == expected


@pytest.mark.parametrize('overlap', [0.0, 0.5, 0.9])
def test_every_pixel_is_seen_and_neighbours_share_what_was_asked_for(rng, overlap):
    spec = TilingSpec((32, 64), overlap)
    for image_hw in rng.integers(1, 300, (40, 2)).tolist():
        layout = TileLayout.create(tuple(image_hw), spec)
        seen = np.zeros(layout.scaled_hw, bool)
        for y, x in layout.corners:
            assert 0 <= y <= seen.shape[0] - 32 and 0 <= x <= seen.shape[1] - 64
            seen[y:y + 32, x:x + 64] = True
        assert seen.all()
        for axis, window in ((0, 32), (1, 64)):
            steps = np.diff(sorted({corner[axis] for corner in layout.corners}))
            assert (steps <= (1 - overlap) * window + 1).all()   # offsets are rounded


def test_an_overlap_replaces_the_models():
    spec = TilingSpec((32, 32), 0.0)
    assert len(TileLayout.create((64, 64), spec).corners) == 4
    assert len(TileLayout.create((64, 64), spec, 0.5).corners) == 9


def test_chunks_hold_every_corner_once_and_are_cut_out(rng):
    layout = TileLayout.create((96, 90), TilingSpec((32, 64), 0.0))
    chunks = list(layout.chunks(4))
    assert [len(chunk) for chunk in chunks] == [4, 2] and sum(chunks, ()) == layout.corners
    image = rng.normal(size=(1, 3, 96, 90)).astype(np.float32)
    tiles = layout.cut(image, chunks[0])
    assert tiles.shape == (4, 3, 32, 64) and tiles.flags.c_contiguous
    np.testing.assert_array_equal(tiles[3], image[0, :, 32:64, 26:90])


def test_weights_are_those_of_their_formulas():
    raw = np.array([[-7.0, -1.0, 0.0, 2.5, 9.0]], np.float32)
    sigmoid = [1 / (1 + math.exp(-c / 3)) for c in raw[0].tolist()]
    np.testing.assert_allclose(pixel_weight(raw, 'conf_expsigmoid_15_3')[0],
                               [math.exp(-30 * (s - 0.5)) for s in sigmoid], rtol=1e-5)
    np.testing.assert_allclose(pixel_weight(raw, 'conf_expbeta3')[0],
                               [math.exp(-3 * c) for c in raw[0].tolist()], rtol=1e-5)


@pytest.mark.parametrize('weight', ['conf_expsigmoid_10_5', 'conf_expbeta3'])
def test_extreme_confidence_keeps_the_average_finite(weight):
    layout = TileLayout.create((4, 4), TilingSpec((4, 4)))
    raw = np.full((1, 4, 4), -500, np.float32)
    tiles = [((0, 0), np.full((1, 4, 4), value, np.float32), raw) for value in (100, 300)]
    np.testing.assert_allclose(blend(layout, weight, tiles)[0], 200, rtol=1e-5)


@pytest.mark.parametrize('weight, expected', [
    ('conf_expsigmoid_15_3', (15, 3)), ('conf_expsigmoid_0.5_2.5', (0.5, 2.5)),
    ('conf_expbeta3', (3, None))])
def test_modes_are_read(weight, expected):
    assert parse_weight(weight) == expected


@pytest.mark.parametrize('weight', ['', 'conf_expsigmoid_15', 'conf_expsigmoid_15_0', 'conf_exp3',
                                    'conf_expbeta', 'conf_expbeta3_1', 'conf_expbeta-3', 'mean'])
def test_other_modes_are_refused(weight):
    with pytest.raises(CheckpointError, match='weight must be'):
        TilingSpec((32, 32), weight=weight)


def test_the_average_is_that_of_a_slow_oracle(rng):
    layout = TileLayout.create((9, 11), TilingSpec((4, 6), 0.5))
    tiles = [(corner, rng.normal(size=(2, 4, 6)).astype(np.float32),
              rng.normal(size=(1, 4, 6)).astype(np.float32)) for corner in layout.corners]
    value, log_scale = blend(layout, 'conf_expbeta2', tiles)
    assert value.shape == (1, 2, 9, 11) and log_scale.shape == (1, 1, 9, 11)
    assert value.dtype == log_scale.dtype == np.float32
    for row in range(9):
        for col in range(11):
            seen = [(v[:, row - y, col - x], c[0, row - y, col - x]) for (y, x), v, c in tiles
                    if 0 <= row - y < 4 and 0 <= col - x < 6]
            weights = [math.exp(-2 * c) for _, c in seen]
            for channel in range(2):
                mean = sum(w * v[channel] for w, (v, _) in zip(weights, seen)) / sum(weights)
                assert value[0, channel, row, col] == pytest.approx(mean, abs=1e-5)
            mean = sum(w * c for w, (_, c) in zip(weights, seen)) / sum(weights)
            assert log_scale[0, 0, row, col] == pytest.approx(mean, abs=1e-5)


@pytest.mark.parametrize('size_hw', [(45, 71), (64, 64), (31, 97), (30, 40)])
def test_enlarging_is_torchs_bicubic(rng, size_hw):
    image = rng.normal(size=(1, 3, 30, 40)).astype(np.float32)
    # in float64: torch's float32 places pixels less exactly than OpenCV does
    expected = F.interpolate(torch.from_numpy(image).double(), size_hw, mode='bicubic',
                             align_corners=False, antialias=False)
    enlarged = enlarge(image, size_hw)
    assert enlarged.flags.c_contiguous and enlarged.dtype == np.float32
    np.testing.assert_allclose(enlarged, expected.numpy(), atol=2e-6)
