# SPDX-License-Identifier: Apache-2.0
"""How well image features find their points among those of their frame, beside chance."""
from typing import NamedTuple

from crossview_ros.networks.image_sampling import project_points, transform_points
from crossview_ros.networks.simipu import Projections
import torch
from torch import nn, Tensor

NEAR_CELLS = 2.0        # a match so near in the image counts
HIDDEN_SHARE = 0.05     # a point so much farther than the image's depth is not seen in it


class Matches(NamedTuple):
    """What the image features of one batch find among the points of their own frames."""

    pixels: Tensor      # (B, N, 2) (u, v) [px] of the network's image
    best: Tensor        # (B, N) int64: the point most alike the image feature at a point
    in_tenth: Tensor    # (B, N) bool: whether the point itself is among the best tenth
    seen: Tensor        # (B, N) bool: whether the camera sees the point


@torch.no_grad()
def find_matches(output: Projections, batch: dict[str, Tensor]) -> Matches:
    """
    Compare the image feature at each point with all points of its frame.

    :param batch: Of `SimIPU.forward`; ``depth`` (B, H, W) [m] of the original image, where it is
        known, tells which points the camera sees, else all are taken as seen.
    """
    frames, count = output.xyz.shape[:2]
    image, points = (nn.functional.normalize(rows.float(), dim=1).unflatten(0, (frames, count))
                     for rows in (output.inter_query, output.inter_key))
    likeness = image @ points.transpose(1, 2)
    own = torch.arange(count, device=likeness.device)[:, None]
    tenth = likeness.topk(max(1, count // 10), 2).indices
    pixels = project_points(output.xyz, batch['lidar_to_image'], batch['image_transform'])
    return Matches(pixels, likeness.argmax(2), (tenth == own).any(2), _seen(output.xyz, batch))


def match_sums(matches: Matches, cell_px: float) -> dict[str, float]:
    """
    Add up what `match_metrics` divides.

    :param cell_px: Side of a cell of the feature map, in pixels of the network's image.
    """
    pixels, seen = matches.pixels, matches.seen
    found = pixels.gather(1, matches.best[..., None].expand(-1, -1, 2))
    near = (found - pixels).norm(dim=2) <= NEAR_CELLS * cell_px
    # what a point drawn at random would give
    chance = (torch.cdist(pixels, pixels) <= NEAR_CELLS * cell_px).float().mean(2)
    count = pixels.shape[1]
    sums = {'top10th': matches.in_tenth[seen], 'near': near[seen], 'near_chance': chance[seen],
            'top10th_chance': torch.full_like(chance, max(1, count // 10) / count)[seen]}
    return {**{name: float(value.sum()) for name, value in sums.items()},
            'queries': float(seen.sum())}


def match_metrics(sums: dict[str, float]) -> dict[str, float]:
    """Turn sums over batches into percent; each beside what chance would give."""
    queries = max(1.0, sums['queries'])
    names = {'top10th': 'inter_top10th_percent', 'top10th_chance': 'inter_top10th_chance_percent',
             'near': 'match_within_2_cells_percent',
             'near_chance': 'match_within_2_cells_chance_percent'}
    return {name: 100 * sums[key] / queries for key, name in names.items()}


def _seen(xyz: Tensor, batch: dict[str, Tensor]) -> Tensor:
    if 'depth' not in batch:
        return torch.ones(xyz.shape[:2], dtype=torch.bool, device=xyz.device)
    depth = batch['depth'].float()
    homogeneous = transform_points(batch['lidar_to_image'], xyz)
    z = homogeneous[..., 2]
    rows, cols = depth.shape[1:]
    u, v = (homogeneous[..., :2] / z[..., None]).round().long().unbind(2)
    index = v.clamp(0, rows - 1) * cols + u.clamp(0, cols - 1)
    return z <= (1 + HIDDEN_SHARE) * depth.flatten(1).gather(1, index)
