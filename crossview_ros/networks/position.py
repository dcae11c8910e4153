# SPDX-License-Identifier: Apache-2.0
"""Positions of patch tokens: the 2-D sine-cosine table of CroCo v1 and the 2-D RoPE of v2."""
import numpy as np
import torch
from torch import nn, Tensor


def grid_positions(grid_hw: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Return the (row, column) of each patch, row-major: (N, 2) int64."""
    rows, cols = (torch.arange(n, device=device) for n in grid_hw)
    return torch.cartesian_prod(rows, cols)


def cosine_table(dim: int, grid_hw: tuple[int, int]) -> Tensor:
    """
    Return the fixed position table that is added to tokens: (N, dim) float32.

    The column fills the first half of the channels, the row the second; each as sines, then
    cosines (croco.md 1.3; MAE, He et al. 2022). ``dim`` must be a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f'a cosine table needs a width that is a multiple of 4, got {dim}')
    frequencies = 10000.0 ** (-np.arange(dim // 4, dtype=np.float64) / (dim // 4))
    rows, cols = np.mgrid[:grid_hw[0], :grid_hw[1]].reshape(2, -1).astype(np.float64)
    halves = [fn(axis[:, None] * frequencies) for axis in (cols, rows) for fn in (np.sin, np.cos)]
    return torch.from_numpy(np.concatenate(halves, 1).astype(np.float32))


class RoPE2D(nn.Module):
    """
    Rotary tables for a patch grid: the first half of a head turns with the row, the second with
    the column.

    Within a half of m channels, channel i is paired with i + m/2 and turns by
    t / base^(2 i / m) (croco.md 1.4; RoFormer, Su et al. 2021, in two dimensions). There are no
    parameters and nothing in the state dict; tables are kept for the grids seen, so that a
    forward pass reads constants. Not for use by several threads on a grid not seen before.
    """

    def __init__(self, head_dim: int, base: float = 100.0):
        """
        Fix the frequencies.

        :param head_dim: Channels of a head, a multiple of 4.
        """
        super().__init__()
        if head_dim % 4:
            raise ValueError(f'RoPE needs head channels that are a multiple of 4, got {head_dim}')
        self.head_dim, self.base = head_dim, base
        self._tables: dict = {}

    def forward(self, grid_hw: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return cos and sin, (N, head_dim) float32 each; the sign of rotation is in sin."""
        key = (tuple(grid_hw), str(device))
        if key not in self._tables:
            with torch.inference_mode(False):   # the table also serves later training
                self._tables[key] = self._make(grid_hw, device)
        return self._tables[key]

    def _make(self, grid_hw: tuple[int, int], device: torch.device) -> tuple[Tensor, Tensor]:
        quarter = self.head_dim // 4
        exponents = torch.arange(quarter, dtype=torch.float32, device=device) / quarter
        frequencies = 1.0 / self.base ** exponents
        angles = grid_positions(grid_hw, device).float()[:, :, None] * frequencies  # (N, 2, d/4)
        cos, sin = angles.cos(), angles.sin()
        cos = torch.cat((cos, cos), -1).flatten(1)
        sin = torch.cat((-sin, sin), -1).flatten(1)
        return cos, sin


def rotate(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    """
    Apply rotary tables.

    :param x: (B, heads, N, head_dim).
    :param table: cos and sin, (N, head_dim) or (B, 1, N, head_dim).
    """
    cos, sin = (t.to(x.dtype) for t in table)
    a, b, c, d = x.chunk(4, -1)
    return x * cos + torch.cat((b, a, d, c), -1) * sin
