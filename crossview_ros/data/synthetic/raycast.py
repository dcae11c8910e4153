# SPDX-License-Identifier: Apache-2.0
"""Cast groups of neighbouring rays into scenes and find the first surface that each ray meets."""
from dataclasses import dataclass

from crossview_ros.data.synthetic.scene import BOX, CYLINDER, ELLIPSOID, product, Scenes
import torch
from torch import Tensor

FAR = 1e6    # [m] a ray that leaves the room
NEAR = 1e-3  # in units of the ray's direction: nothing is seen nearer than this

BEFORE = 0.9995   # a surface before this share of the way hides the point behind it


@dataclass(frozen=True)
class Rays:
    """G groups of K neighbouring rays; the rays of a group share scene and origin."""

    scene: Tensor       # (G,) int64
    origin: Tensor      # (G, 3) world [m]
    direction: Tensor   # (G, 3, K) world; its length is the unit of distances


@dataclass(frozen=True)
class Hits:
    """The first surface on each ray."""

    distance: Tensor    # (G, K) in units of the ray's direction; FAR where nothing is hit
    primitive: Tensor   # (G, K) int64


@dataclass(frozen=True)
class Placed:
    """Scenes at one moment, ready to be hit: the maps from the world to the unit shapes."""

    scenes: Scenes
    to_unit: Tensor     # (B, P, 3, 3)
    centre: Tensor      # (B, P, 3) world [m]
    radius: Tensor      # (B, P) [m] of the bounding balls


def place(scenes: Scenes, time_s: Tensor) -> Placed:
    """Move the primitives to where they are at times (B,) [s]."""
    rotation, centre = scenes.pose(time_s)
    to_unit = rotation.transpose(-1, -2) / scenes.half_size[..., None]
    return Placed(scenes, to_unit, centre, scenes.bounding_radius())


def find_candidates(placed: Placed, rays: Rays) -> Tensor:
    """
    Say which primitives the rays of a group may hit, at least.

    :return: (G, P) bool. The cone around a group's rays is compared with bounding balls.
    """
    unit = rays.direction / length(rays.direction, 1)[:, None]
    axis = unit.mean(-1)
    axis = axis / axis.norm(dim=-1, keepdim=True)
    spread = torch.acos((unit * axis[..., None]).sum(1).amin(-1).clamp(-1, 1))
    offset = placed.centre[rays.scene] - rays.origin[:, None]            # (G, P, 3)
    distance = length(offset, -1)
    aside = torch.acos(((offset * axis[:, None]).sum(-1) / distance).clamp(-1, 1))
    radius = placed.radius[rays.scene]
    width = torch.asin((radius / distance).clamp(max=1))
    # 1e-3 rad: room for the rounding of acos near 1
    return (aside <= width + spread[:, None] + 1e-3) | (distance <= radius)


def cast(placed: Placed, rays: Rays, candidates: Tensor | None = None) -> Hits:
    """
    Find the first surface that each ray meets.

    :param candidates: (G, P) bool from `find_candidates`, of these or of wider groups.
    """
    if candidates is None:
        candidates = find_candidates(placed, rays)
    room = placed.centre.shape[1] - 1
    distance = _room(*_unit_rays(placed, rays.scene, torch.full_like(rays.scene, room),
                                 rays.origin, rays.direction))
    primitive = torch.full(distance.shape, room, device=distance.device)
    for kind, (first, last) in placed.scenes.ranges().items():
        _cast_kind(placed, rays, candidates[:, first:last], first, INTERSECTIONS[kind], distance,
                   primitive)
    return Hits(distance, primitive)


def _cast_kind(placed: Placed, rays: Rays, candidates: Tensor, first: int, intersect,
               distance: Tensor, primitive: Tensor) -> None:
    """Lower distance and primitive in place, one candidate of every group at a time."""
    number = candidates.sum(1)
    order = number.argsort(descending=True)
    groups = int((number > 0).sum())
    if not groups:
        return
    order = order[:groups]
    number = number[order]
    # the candidates of each group first, (groups, P of this kind)
    ranked = candidates[order].byte().argsort(1, descending=True) + first
    scene, origin, direction = rays.scene[order], rays.origin[order], rays.direction[order]
    best, which = distance[order], primitive[order]
    ends = (number[:, None] > torch.arange(int(number[0]), device=number.device)).sum(0).tolist()
    for rank, end in enumerate(ends):
        shape = ranked[:end, rank]
        found = intersect(*_unit_rays(placed, scene[:end], shape, origin[:end], direction[:end]))
        which[:end] = torch.where(found < best[:end], shape[:, None], which[:end])
        best[:end] = torch.minimum(found, best[:end])
    distance[order] = best
    primitive[order] = which


def _unit_rays(placed: Placed, scene: Tensor, shape: Tensor, origin: Tensor,
               direction: Tensor) -> tuple[Tensor, Tensor]:
    """Return start (n, 3, 1) and direction (n, 3, K) in the frames of unit shapes."""
    to_unit = placed.to_unit[scene, shape]
    start = product(to_unit, (origin - placed.centre[scene, shape])[..., None])
    return start, product(to_unit, direction)


def _slabs(start: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
    """Return where rays enter and leave |x| <= 1 along each axis: two of (n, 3, K)."""
    inverse = 1 / torch.where(ray.abs() < 1e-9, 1e-9, ray)
    middle, reach = -start * inverse, inverse.abs()
    return middle - reach, middle + reach


def _box(start: Tensor, ray: Tensor) -> Tensor:
    enter, leave = _slabs(start, ray)
    enter = torch.maximum(torch.maximum(enter[:, 0], enter[:, 1]), enter[:, 2])
    leave = torch.minimum(torch.minimum(leave[:, 0], leave[:, 1]), leave[:, 2])
    return torch.where((leave > enter) & (enter > NEAR), enter, FAR)


def _room(start: Tensor, ray: Tensor) -> Tensor:
    _, leave = _slabs(start, ray)
    leave = torch.minimum(torch.minimum(leave[:, 0], leave[:, 1]), leave[:, 2])
    return torch.where(leave > NEAR, leave, FAR)


def _ellipsoid(start: Tensor, ray: Tensor) -> Tensor:
    a = ray.square().sum(1)
    b = (ray * start).sum(1)
    c = start.square().sum(1) - 1
    root = b.square() - a * c
    distance = (-b - root.clamp(min=0).sqrt()) / a
    return torch.where((root > 0) & (distance > NEAR), distance, FAR)


def _cylinder(start: Tensor, ray: Tensor) -> Tensor:
    round_start, round_ray = start[:, ::2], ray[:, ::2]                  # x and z
    a = round_ray.square().sum(1).clamp(min=1e-12)
    b = (round_ray * round_start).sum(1)
    root = b.square() - a * (round_start.square().sum(1) - 1)
    width = root.clamp(min=0).sqrt() / a
    enter, leave = _slabs(start[:, 1:2], ray[:, 1:2])
    enter = torch.maximum(enter[:, 0], -b / a - width)
    leave = torch.minimum(leave[:, 0], -b / a + width)
    return torch.where((root > 0) & (leave > enter) & (enter > NEAR), enter, FAR)


def length(vectors: Tensor, dim: int) -> Tensor:
    """Return Euclidean lengths along a short dimension (Tensor.norm is ten times slower there)."""
    return vectors.square().sum(dim).sqrt()


def is_hidden(placed: Placed, rays: Rays) -> Tensor:
    """Say which of the points origin + direction another surface hides: (G, K) bool."""
    return cast(placed, rays).distance < BEFORE


INTERSECTIONS = {BOX: _box, ELLIPSOID: _ellipsoid, CYLINDER: _cylinder}
