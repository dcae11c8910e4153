# SPDX-License-Identifier: Apache-2.0
"""Positions of patch tokens: the 2-D sine-cosine table of CroCo v1 and the 2-D RoPE of v2."""
import torch
from torch import nn, Tensor


def grid_positions(grid_hw: tuple[int, int], device: torch.device | None = None) -> Tensor:
    """Return the (row, column) of each patch, row-major: (N, 2) int64."""
    rows, cols = grid_hw
    index = torch.arange(rows * cols, device=device)
    return torch.stack((index // cols, index % cols), 1)   # cartesian_prod has no ONNX form


def cosine_table(dim: int, grid_hw: tuple[int, int]) -> Tensor:
    """
    Return the fixed position table that is added to tokens: (N, dim) float32.

    The column fills the first half of the channels, the row the second; each as sines, then
    cosines (croco.md 1.3; MAE, He et al. 2022). ``dim`` must be a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f'a cosine table needs a width that is a multiple of 4, got {dim}')
    cpu = torch.device('cpu')   # real values even where a model is built on the meta device
    exponents = torch.arange(dim // 4, dtype=torch.float64, device=cpu) / (dim // 4)
    rows, cols = grid_positions(grid_hw, cpu).double().unbind(1)
    angles = [axis[:, None] * 10000.0 ** -exponents for axis in (cols, rows)]
    return torch.cat([fn(a) for a in angles for fn in (torch.sin, torch.cos)], 1).float()


class RoPE2D(nn.Module):
    """
    Rotary tables for a patch grid.

    The first half of a head's channels turns with the row, the second half with the column.
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
        if key in self._tables:
            return self._tables[key]
        with torch.inference_mode(False):   # the table also serves later training
            table = self._make(grid_hw, device)
        if not torch.jit.is_tracing():   # what a trace makes belongs to its graph
            self._tables[key] = table
        return table

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
    return torch.addcmul(x * cos, torch.cat((b, a, d, c), -1), sin)
