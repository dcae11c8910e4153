# SPDX-License-Identifier: Apache-2.0
"""Colour surfaces: mip-mapped textures under ambient and directional light."""
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.raycast import Hits, is_hidden, length, Placed, Rays
from crossview_ros.data.synthetic.reflections import add_reflections
from crossview_ros.data.synthetic.scene import CYLINDER, ELLIPSOID
from crossview_ros.data.synthetic.textures import TextureAtlas
import torch
from torch import Tensor
import torch.nn.functional as F


def shade(placed: Placed, atlas: TextureAtlas, rays: Rays, hits: Hits,
          pixel_angle: Tensor) -> tuple[Tensor, Tensor]:
    """
    Colour the hits: texture times (ambient plus Lambertian) light.

    :param pixel_angle: (G,) side of a pixel at unit distance, in units of the ray's direction.
    :return: (G, K, 3) colour in [0, 1], and (G, K) int64 number that changes only where the
        colour jumps: at borders of faces and of shadows.
    """
    flat = rays.scene[:, None] * placed.centre.shape[1] + hits.primitive
    columns = F.embedding(flat, _table(placed)).movedim(-1, 0).contiguous()   # (C, G, K)
    to_unit, centre, half = columns[:9], columns[9:12], columns[12:15]
    size, origin_s, origin_t = columns[15:18]
    direction = rays.direction.movedim(1, 0)
    offset = rays.origin.T[..., None] + direction * hits.distance - centre
    local = torch.stack([sum(to_unit[3 * i + j] * offset[j] for j in range(3)) for i in range(3)])
    normal, face, st = _surface(placed, hits.primitive, local, half)
    world = torch.stack([sum(to_unit[3 * i + j] * normal[i] for i in range(3))
                         for j in range(3)])
    steepness, unit = length(world, 0), length(direction, 0)
    facing = -(world * direction).sum(0) / steepness
    distance = hits.distance * unit
    slant = (facing.abs() / unit).clamp(min=0.1)
    # between the short and the long side of the pixel's footprint: neither blur nor aliasing wins
    footprint = distance * pixel_angle[:, None] / slant.sqrt() / size
    texture = columns[18:24].gather(0, face[None])[0].long()
    st = torch.stack((st[0] / size + origin_s, st[1] / size + origin_t), -1)
    colour = atlas.sample(texture, st, footprint)
    lamp = placed.scenes.light[rays.scene]                                    # (G, 3)
    beam = (rays.origin - lamp).T[..., None] + direction * hits.distance
    lambert = -(world * beam).sum(0) / (steepness * length(beam, 0))
    lambert = (lambert * facing.sign()).clamp(min=0)
    dark = is_hidden(placed, Rays(rays.scene, lamp, beam.movedim(0, 1))) & (lambert > 0)
    ambient, shadow = (value[rays.scene][:, None]
                       for value in (placed.scenes.ambient, placed.scenes.shadow))
    brightness = ambient + (1 - ambient) * lambert * (1 - shadow * dark)
    colour = colour * brightness[..., None]
    if placed.scenes.gloss is not None:
        gloss = placed.scenes.gloss[rays.scene].gather(1, hits.primitive)
        colour = add_reflections(colour, gloss, placed.scenes, atlas, rays, world / steepness,
                                 beam, torch.where(dark, 1 - shadow, 1.0), pixel_angle)
    return colour, 2 * (hits.primitive * 6 + face) + dark


def expose(images: dict[str, Tensor], metered: str, draw: Draw) -> dict[str, Tensor]:
    """
    Bend the tone curve of all views of a scene alike, as a camera's exposure control would.

    :param images: (B, 3, H, W) in [0, 1] by view.
    :param metered: The view whose brightness decides.
    """
    mean = images[metered].mean((1, 2, 3), keepdim=True)
    wish = draw.uniform(mean.shape, 0.25, 0.6)
    gamma = (wish.log() / mean.clamp(0.02, 0.98).log()).clamp(0.4, 1.4)
    return {name: image.clamp(min=1e-4) ** gamma for name, image in images.items()}


def _table(placed: Placed) -> Tensor:
    """Return what shading looks up for each primitive, one row each: (B * P, 24)."""
    scenes = placed.scenes
    return torch.cat((placed.to_unit.flatten(2), placed.centre, scenes.half_size,
                      scenes.texture_size[..., None], scenes.texture_origin,
                      scenes.texture.float()), -1).flatten(0, 1)


def _surface(placed: Placed, primitive: Tensor, local: Tensor,
             half: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """
    Describe the surface at a point of the unit shape.

    :return: Outward normal (3, G, K) in the unit frame (any length), face number (G, K), texture
        coordinates s and t [m].
    """
    x, y, z = local
    first, last = placed.scenes.ranges()[ELLIPSOID]
    ball = (primitive >= first) & (primitive < last)
    first, last = placed.scenes.ranges()[CYLINDER]
    tube = (primitive >= first) & (primitive < last)
    across, up, along = x.abs(), y.abs(), z.abs()
    cap = up > torch.where(tube, torch.hypot(x, z), torch.maximum(across, along))
    axis = torch.where(cap, 1, torch.where(across > along, 0, 2))
    axis = torch.where(ball | (tube & ~cap), 2, axis)
    chosen = local.gather(0, axis[None])[0]
    flat = torch.zeros_like(local).scatter_(0, axis[None], chosen.sign()[None])
    curved = torch.stack((x, torch.where(tube, 0, y), z))
    bent = ball | (tube & ~cap)
    normal = torch.where(bent, curved, flat)
    face = torch.where(bent, 5, 2 * axis + (chosen > 0))
    room = primitive == placed.centre.shape[1] - 1
    # text on a wall reads the right way round from the side that is seen
    mirror = torch.where(room, -chosen, chosen).sign()
    return normal, face, _coordinates(local * half, half, axis, bent, mirror)


def _coordinates(point: Tensor, half: Tensor, axis: Tensor, bent: Tensor,
                 mirror: Tensor) -> tuple[Tensor, Tensor]:
    """Return s and t [m]: the face's plane on flat faces, unrolled around y on curved ones."""
    x, y, z = point
    around = torch.atan2(x / half[0], -z / half[2])
    # the sinusoidal map keeps areas on balls; on tubes the radius is constant
    radius = torch.hypot(x, z)
    s = torch.where(bent, around * radius, mirror * torch.where(axis == 0, z, -x))
    return s, torch.where(~bent & (axis == 1), z, y)
