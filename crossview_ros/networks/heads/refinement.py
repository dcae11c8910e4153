# SPDX-License-Identifier: Apache-2.0
"""Refine an offset field between two views: what is near its ends, a correction, upsampling."""
from crossview_ros.networks.layers import draw_normal
import torch
from torch import nn, Tensor
import torch.nn.functional as F


class Refiner(nn.Module):
    """Read a correction of an offset field, and how to upsample it, from its surroundings."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, factor: int):
        super().__init__()
        self.enter = nn.Conv2d(in_dim, hidden_dim, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Conv2d(hidden_dim, hidden_dim, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.leave = nn.Conv2d(hidden_dim, out_dim, 3, padding=1)
        self.mask = nn.Conv2d(hidden_dim, 9 * factor ** 2, 1)
        for layer in (self.enter, *self.body):
            draw_normal(layer.weight)
            nn.init.zeros_(layer.bias)
        draw_normal(self.leave.weight, 1e-3)   # start from the estimate as it is
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.enter(x))
        for layer in self.body:
            hidden = hidden + F.relu(layer(hidden))
        return self.leave(hidden).float(), hidden, self.mask(hidden)


def convex_upsample(field: Tensor, mask: Tensor, factor: int) -> Tensor:
    """
    Upsample each pixel as a learned convex combination of its 3x3 neighbours.

    :param field: (B, C, h, w); the values are not scaled.
    :param mask: (B, 9 * factor^2, h, w) logits.
    :return: (B, C, factor h, factor w).

    Source: RAFT, Teed and Deng, ECCV 2020, section 3.3.
    """
    rows, cols = size_of(field)
    weights = mask.float().unflatten(1, (1, 9, factor ** 2)).softmax(2)
    padded = F.pad(field, (1, 1, 1, 1), mode='replicate')
    neighbours = torch.stack([padded[:, :, i:i + rows, j:j + cols]
                              for i in range(3) for j in range(3)], 2)     # (B, C, 9, h, w)
    fine = (weights * neighbours[:, :, :, None]).sum(2)          # (B, C, factor^2, h, w)
    return F.pixel_shuffle(fine.flatten(1, 2), factor)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """
    Move view 2 onto view 1: out(x) = image(x + flow(x)), bilinear, zero outside.

    :param image: (B, C, H, W) float32 of view 2.
    :param flow: (B, 2, H, W) float32 [px], view 1 -> view 2.
    """
    rows, cols = size_of(image)
    x = torch.arange(cols, device=image.device, dtype=flow.dtype)
    y = torch.arange(rows, device=image.device, dtype=flow.dtype)[:, None]
    grid = torch.stack((2 * (x + flow[:, 0]) / (cols - 1) - 1,
                        2 * (y + flow[:, 1]) / (rows - 1) - 1), -1)
    return F.grid_sample(image, grid, align_corners=True)


def warped_window(map1: Tensor, map2: Tensor, flow: Tensor, reach_yx: tuple[int, int]) -> Tensor:
    """
    Correlate view 1 with view 2, moved by a flow, at all steps up to a reach.

    :param map1: (B, C, h, w) features of view 1; ``map2`` of view 2.
    :param flow: (B, 2, h, w) [px of the maps], view 1 -> view 2.
    :param reach_yx: Largest step [px of the maps].
    :return: (B, (2 reach_y + 1) (2 reach_x + 1), h, w).
    """
    rows, cols = size_of(map1)
    reach_y, reach_x = reach_yx
    moved = F.pad(warp(map2.float(), flow), (reach_x, reach_x, reach_y, reach_y))
    map1 = map1.float() * map1.shape[1] ** -0.5
    window = [(map1 * moved[:, :, i:i + rows, j:j + cols]).sum(1)
              for i in range(2 * reach_y + 1) for j in range(2 * reach_x + 1)]
    return torch.stack(window, 1)


@torch.autocast('cpu', enabled=False)    # sums over channels need fp32
@torch.autocast('cuda', enabled=False)
def row_volumes(map1: Tensor, map2: Tensor, num_levels: int) -> list[Tensor]:
    """
    Correlate each pixel with its whole row of view 2; each level halves that row's resolution.

    :param map1: (B, C, h, w) features of view 1; ``map2`` of view 2.
    :return: (B, h, w, w), (B, h, w, w / 2), ...

    Source: RAFT-Stereo, Lipson et al., 3DV 2021, section 3.2.
    """
    scores = map1.float().permute(0, 2, 3, 1) @ map2.float().permute(0, 2, 1, 3)
    volumes = [scores * map1.shape[1] ** -0.5]
    for _ in range(num_levels - 1):
        volumes.append((volumes[-1][..., ::2] + volumes[-1][..., 1::2]) / 2)
    return volumes


def row_windows(volumes: list[Tensor], place: Tensor, reach: int) -> Tensor:
    """
    Read the scores around a place in each pixel's row, linearly interpolated, zero outside.

    :param volumes: (B, h, w, D), (B, h, w, D / 2), ..., as `row_volumes` gives them.
    :param place: (B, h, w), in [0, D - 1] where it lies inside; entries are at whole numbers.
    :param reach: Steps to either side, in entries of each level.
    :return: (B, levels (2 reach + 1), h, w).
    """
    steps = torch.arange(-reach, reach + 2, device=place.device, dtype=place.dtype)
    windows = []
    for level, volume in enumerate(volumes):
        centre = ((place + 0.5) / 2 ** level - 0.5)[..., None]             # (B, h, w, 1)
        low = centre.floor()
        at = low + steps
        last = volume.shape[-1] - 1
        values = volume.gather(-1, at.clamp(0, last).long()) * ((at >= 0) & (at <= last))
        windows.append(torch.lerp(values[..., :-1], values[..., 1:], centre - low))
    return torch.cat(windows, -1).permute(0, 3, 1, 2)


def size_of(x: Tensor) -> tuple[int, int]:
    """Return rows and columns as plain integers; tracing makes them tensors."""
    return int(x.shape[-2]), int(x.shape[-1])
