# SPDX-License-Identifier: Apache-2.0
"""
Sampling, neighbours and interpolation on point clouds (simipu.md 2.1 to 2.3).

Every function takes a batch of clouds, runs on any device and always gives the same answer. The
only loop over points is that of farthest point sampling, whose steps depend on each other.
"""
from collections.abc import Callable

import torch
from torch import Tensor

# Distances held at once: 1 MiB, so that they stay in a CPU's cache; 256 MiB keep a GPU busy.
_MAX_PAIRS = {'cpu': 1 << 18, 'cuda': 1 << 26}


@torch.no_grad()
def farthest_points(xyz: Tensor, num_samples: int, start: int = 0) -> Tensor:
    """
    Pick points one by one, each the farthest from those picked before (D-FPS).

    :param xyz: (B, N, 3) [m].
    :param num_samples: How many; beyond the number of distinct points, points repeat.
    :param start: Index of the first point.
    :return: (B, num_samples) int64; of equally far points the one with the lowest index.
    :raises ValueError: For an empty or not finite cloud, or an impossible count or start.

    Source: simipu.md 2.2; Eldar et al., The Farthest Point Strategy, IEEE TIP 1997.
    """
    _check_cloud('xyz', xyz)
    axes = xyz.transpose(1, 2).contiguous()   # (B, 3, N): the sum below runs over rows
    offset, distance = torch.empty_like(axes), torch.empty_like(axes[:, 0])

    def distance_to(current: Tensor) -> Tensor:
        torch.sub(axes, axes.gather(2, current.expand(-1, 3)[..., None]), out=offset)
        return torch.sum(offset.square_(), 1, out=distance)

    return _pick_farthest(xyz.shape[:2], num_samples, start, xyz, distance_to)


@torch.no_grad()
def farthest_features(xyz: Tensor, features: Tensor, num_samples: int, start: int = 0) -> Tensor:
    """
    Pick points as `farthest_points`, far in position and feature together (F-FPS).

    :param xyz: (B, N, 3) [m].
    :param features: (B, C, N), taken as C further coordinates without any scaling.
    :return: (B, num_samples) int64.
    :raises ValueError: As `farthest_points`.

    Source: simipu.md 2.2; Yang et al., 3DSSD, CVPR 2020, section 3.2.
    """
    _check_cloud('xyz', xyz)
    _check_cloud('features', features)
    pairs = squared_distances(torch.cat((xyz, features.transpose(1, 2)), 2))
    rows = torch.arange(len(xyz), device=xyz.device)
    return _pick_farthest(xyz.shape[:2], num_samples, start, pairs,
                          lambda current: pairs[rows, current[:, 0]])


def squared_distances(points: Tensor) -> Tensor:
    """Return (B, N, N) squared distances of (B, N, C) points, by |a|^2 + |b|^2 - 2 a b."""
    norm = points.square().sum(2)
    with torch.autocast(points.device.type, enabled=False):
        return torch.baddbmm(norm[:, :, None] + norm[:, None], points, points.transpose(1, 2),
                             alpha=-2)


@torch.no_grad()
def ball_query(xyz: Tensor, centers: Tensor, min_radius: float, max_radius: float,
               num_neighbours: int) -> Tensor:
    """
    List the first points, by index, whose distance lies in [min_radius, max_radius).

    A point at distance zero always counts. Where there are fewer than asked for, the first one
    fills the rest; where there is none, index 0 does.

    :param xyz: (B, N, 3) [m].
    :param centers: (B, M, 3) [m].
    :return: (B, M, num_neighbours) int64.
    :raises ValueError: For an empty or not finite cloud, or an empty ring.

    Source: simipu.md 2.1.
    """
    _check_cloud('xyz', xyz)
    _check_cloud('centers', centers)
    if not 0 <= min_radius < max_radius or num_neighbours < 1:
        raise ValueError(f'expected 0 <= min_radius < max_radius and at least one neighbour, got '
                         f'{min_radius}, {max_radius} and {num_neighbours}')
    return torch.cat([_first_in_ring(xyz, chunk, min_radius, max_radius, num_neighbours)
                      for chunk in _chunks(centers, xyz)], 1)


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """
    Pick values by point.

    :param values: (B, C, N).
    :param index: (B, ...) int64 in [0, N).
    :return: (B, C, ...).
    """
    batch, channels, _ = values.shape
    flat = index.reshape(batch, 1, -1).expand(-1, channels, -1)
    return values.gather(2, flat).reshape(batch, channels, *index.shape[1:])


def relative_positions(xyz: Tensor, centers: Tensor, index: Tensor) -> Tensor:
    """
    Return where the neighbours lie, seen from their centre.

    :param xyz: (B, N, 3) [m].
    :param centers: (B, M, 3) [m].
    :param index: (B, M, K) int64, as of `ball_query`.
    :return: (B, 3, M, K) [m].
    """
    return gather_points(xyz.transpose(1, 2), index) - centers.transpose(1, 2)[..., None]


def three_nearest(unknown: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """
    Find the three nearest known points of each point.

    :param unknown: (B, N, 3) [m].
    :param known: (B, M, 3) [m], M >= 3.
    :return: Distances (B, N, 3) [m], increasing, and indices (B, N, 3) int64.
    :raises ValueError: For fewer than three known points, or clouds that are not finite.
    """
    _check_cloud('unknown', unknown)
    _check_cloud('known', known)
    if known.shape[1] < 3:
        raise ValueError(f'expected at least 3 known points, got {known.shape[1]}')
    found = [_pair_distances(known, chunk).topk(3, largest=False)
             for chunk in _chunks(unknown, known)]
    return (torch.cat([squared for squared, _ in found], 1).sqrt(),
            torch.cat([index for _, index in found], 1))


def interpolation_weights(distance: Tensor) -> Tensor:
    """Weigh neighbours at (B, N, 3) [m] by their inverse distance; each sum is 1."""
    weight = 1 / (distance + 1e-8)
    return weight / weight.sum(2, keepdim=True)


def interpolate_features(unknown: Tensor, known: Tensor, features: Tensor) -> Tensor:
    """
    Spread features of known points over others, from the three nearest ones.

    :param unknown: (B, N, 3) [m].
    :param known: (B, M, 3) [m].
    :param features: (B, C, M).
    :return: (B, C, N).

    Source: simipu.md 2.3; Qi et al., PointNet++, NeurIPS 2017, eq. 2 with p = 1.
    """
    distance, index = three_nearest(unknown, known)
    return (gather_points(features, index) * interpolation_weights(distance)[:, None]).sum(3)


def _check_cloud(name: str, values: Tensor) -> None:
    if values.dim() != 3 or 0 in values.shape:
        raise ValueError(f'{name} must be a batch of at least one point, got '
                         f'{tuple(values.shape)}')
    if not bool(values.isfinite().all()):
        raise ValueError(f'{name} has coordinates that are not finite; drop such points first')


def _pick_farthest(shape: tuple[int, int], num_samples: int, start: int, like: Tensor,
                   distance_to: Callable[[Tensor], Tensor]) -> Tensor:
    batch, num_points = shape
    if num_samples < 1 or not 0 <= start < num_points:
        raise ValueError(f'expected at least one sample and a start in [0, {num_points}), got '
                         f'{num_samples} and {start}')
    nearest = torch.full((batch, num_points), torch.inf, dtype=like.dtype, device=like.device)
    current = torch.full((batch, 1), start, device=like.device)
    picked = torch.empty((batch, num_samples), dtype=torch.int64, device=like.device)
    picked[:, :1] = current
    for i in range(1, num_samples):
        torch.minimum(nearest, distance_to(current), out=nearest)
        current = nearest.argmax(1, keepdim=True)
        picked[:, i:i + 1] = current
    return picked


def _chunks(centers: Tensor, xyz: Tensor) -> tuple[Tensor, ...]:
    pairs = _MAX_PAIRS.get(xyz.device.type, _MAX_PAIRS['cpu'])
    return centers.split(max(1, pairs // (xyz.shape[0] * xyz.shape[1])), 1)


def _pair_distances(xyz: Tensor, centers: Tensor) -> Tensor:
    """Return (B, M, N) squared distances, by coordinate: exactly zero for equal points."""
    total = (centers[:, :, None, 0] - xyz[:, None, :, 0]).square_()
    for axis in (1, 2):
        total += (centers[:, :, None, axis] - xyz[:, None, :, axis]).square_()
    return total


def _first_in_ring(xyz: Tensor, centers: Tensor, min_radius: float, max_radius: float,
                   num_neighbours: int) -> Tensor:
    squared = _pair_distances(xyz, centers)
    hit = squared < max_radius ** 2
    if min_radius > 0:
        hit &= (squared >= min_radius ** 2) | (squared == 0)
    batch, num_centers, _ = hit.shape
    row, point = hit.flatten(0, 1).nonzero(as_tuple=True)   # sorted by row, then by point
    count = torch.bincount(row, minlength=batch * num_centers)
    rank = torch.arange(len(row), device=row.device) - (count.cumsum(0) - count)[row]
    first = torch.zeros_like(count)
    first[row[rank == 0]] = point[rank == 0]
    index = first[:, None].repeat(1, num_neighbours)
    kept = rank < num_neighbours
    index[row[kept], rank[kept]] = point[kept]
    return index.view(batch, num_centers, num_neighbours)
