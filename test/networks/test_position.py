# SPDX-License-Identifier: Apache-2.0
"""Promises of the position table of CroCo v1 and the rotary positions of v2."""
import json
import math

from crossview_ros.networks.position import cosine_table, grid_positions, RoPE2D, rotate
import numpy as np
import pytest
import torch

CPU = torch.device('cpu')


def golden(shared_dir, name):
    with np.load(shared_dir / 'reference' / 'golden' / 'croco' / name) as file:
        data = {key: file[key] for key in file.files}
    return data, json.loads(str(data['meta_json']))


def slow_rotation(x, row, col, base):
    """Rotate one head's channels by loops in float64, straight from croco.md 1.4."""
    half = len(x) // 2
    out = np.empty(len(x))
    for start, coordinate in ((0, row), (half, col)):
        for i in range(half // 2):
            angle = coordinate / base ** (2 * i / half)
            u, v = x[start + i], x[start + i + half // 2]
            out[start + i] = u * math.cos(angle) - v * math.sin(angle)
            out[start + i + half // 2] = v * math.cos(angle) + u * math.sin(angle)
    return out


def test_positions_are_row_then_column_in_reading_order():
    assert grid_positions((2, 3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]


@pytest.mark.parametrize('case', range(3))
def test_cosine_table_is_the_reference_table(shared_dir, case):
    data, meta = golden(shared_dir, 'misc.npz')
    dim, rows, cols = meta['posembed'][case]
    # both are float64 values cast to float32
    np.testing.assert_allclose(cosine_table(dim, (rows, cols)), data[f'posembed/{case}'],
                               atol=2e-6)


def test_cosine_table_has_the_column_first_and_sines_before_cosines():
    rows, cols, dim = 3, 5, 8
    table = cosine_table(dim, (rows, cols))
    y, x = 2, 4
    expected = [f(t * w) for t in (x, y) for f in (math.sin, math.cos) for w in (1.0, 0.01)]
    assert table.shape == (15, dim) and table.dtype == torch.float32
    np.testing.assert_allclose(table[y * cols + x], expected, atol=1e-7)


@pytest.mark.parametrize('case', range(5))
def test_rope_turns_tokens_as_the_reference_does(shared_dir, case):
    data, meta = golden(shared_dir, 'rope.npz')
    tokens, pos, expected = (torch.from_numpy(data[f'c{case}/{k}'])
                             for k in ('tokens', 'pos', 'out'))
    grid_hw = tuple((pos.flatten(0, 1).amax(0) + 1).tolist())
    tables = RoPE2D(tokens.shape[-1], meta['cases'][case]['base'])(grid_hw, CPU)
    index = pos[..., 0] * grid_hw[1] + pos[..., 1]
    out = rotate(tokens, tuple(t[index][:, None] for t in tables))
    # the golden README's tolerance for rope
    torch.testing.assert_close(out, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize('base, dim', [(100.0, 16), (7.5, 4)])
def test_rope_agrees_with_loops(rng, base, dim):
    grid_hw = (3, 4)
    x = rng.normal(size=(2, 2, 12, dim))
    out = rotate(torch.from_numpy(x), RoPE2D(dim, base)(grid_hw, CPU))
    for b, head, n in np.ndindex(2, 2, 12):
        expected = slow_rotation(x[b, head, n], n // 4, n % 4, base)
        np.testing.assert_allclose(out[b, head, n], expected, atol=2e-6)   # float32 tables


def test_rotated_products_depend_on_the_offset_only(rng):
    q, k = torch.from_numpy(rng.normal(size=(2, 1, 1, 1, 16)))
    tables = RoPE2D(16)((6, 7), CPU)

    def product(q_at, k_at):
        q_turned, k_turned = (
            rotate(x, tuple(t[r * 7 + c][None] for t in tables))
            for x, (r, c) in ((q, q_at), (k, k_at)))
        return (q_turned * k_turned).sum().item()

    assert product((1, 2), (3, 5)) == pytest.approx(product((2, 3), (4, 6)), abs=1e-5)
    assert abs(product((1, 2), (3, 5)) - product((1, 2), (5, 3))) > 1e-2


def test_rope_has_no_weights_and_keeps_its_tables():
    rope = RoPE2D(8)
    first = rope((2, 3), CPU)
    assert not rope.state_dict()
    assert rope((2, 3), CPU)[0] is first[0] and rope((3, 2), CPU)[0] is not first[0]


def test_tables_made_for_inference_serve_training():
    rope = RoPE2D(8)
    with torch.inference_mode():
        rope((2, 3), CPU)
    x = torch.randn(1, 1, 6, 8, requires_grad=True)
    rotate(x, rope((2, 3), CPU)).square().sum().backward()
    torch.testing.assert_close(x.grad, 2 * x)   # a rotation keeps lengths


def test_rotation_keeps_half_precision():
    x = torch.randn(1, 2, 6, 8)
    tables = RoPE2D(8)((2, 3), CPU)
    out = rotate(x.bfloat16(), tables)
    assert out.dtype == torch.bfloat16
    # bfloat16 has 8 bits: three roundings of values below 4
    torch.testing.assert_close(out.float(), rotate(x, tables), atol=0.06, rtol=0)


def test_odd_widths_are_refused():
    with pytest.raises(ValueError, match='multiple of 4, got 6'):
        cosine_table(6, (2, 2))
    with pytest.raises(ValueError, match='multiple of 4, got 6'):
        RoPE2D(6)
