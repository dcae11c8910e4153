# SPDX-License-Identifier: Apache-2.0
"""What glossy surfaces mirror: the surroundings, as if far away, and the lamp."""
from crossview_ros.data.synthetic.raycast import length, Rays
from crossview_ros.data.synthetic.scene import Scenes
from crossview_ros.data.synthetic.textures import TextureAtlas
import torch
from torch import Tensor

SHININESS = 60.0   # exponent of the lamp's highlight
REPETITIONS = 2.0  # of the surroundings' texture in a full turn


def add_reflections(colour: Tensor, gloss: Tensor, scenes: Scenes, atlas: TextureAtlas,
                    rays: Rays, normal: Tensor, beam: Tensor, lit: Tensor,
                    pixel_angle: Tensor) -> Tensor:
    """
    Lay what a surface mirrors over its own colour.

    What is mirrored lies elsewhere than the surface: it moves otherwise from view to view, as on
    lacquer, glass and wet floors.

    :param colour: (G, K, 3) of the lit surfaces.
    :param gloss: (G, K) reflectance at right angles, in [0, 1].
    :param normal: (3, G, K) of length 1; ``beam`` from the lamp to the surface, of any length.
    :param lit: (G, K) share of the lamp's light that arrives.
    :param pixel_angle: (G,) as `shade`.
    :return: (G, K, 3).

    Sources: Schlick, An Inexpensive BRDF Model, 1994 (more is mirrored at grazing angles);
    Phong, Illumination for Computer Generated Pictures, 1975 (highlights).
    """
    direction = rays.direction.movedim(1, 0)
    direction = direction / length(direction, 0)
    facing = -(normal * direction).sum(0)
    mirrored = direction + 2 * facing * normal                               # (3, G, K)
    grazing = (1 - facing.abs().clamp(max=1)) ** 5
    share = torch.where(gloss > 0, gloss + (1 - gloss) * grazing, 0.0)
    turns = torch.stack((torch.atan2(mirrored[0], mirrored[2]) / (2 * torch.pi),
                         mirrored[1].clamp(-1, 1).asin() / (2 * torch.pi)), -1)
    room = scenes.texture[rays.scene, -1, 0][:, None].expand_as(gloss)
    footprint = (REPETITIONS / torch.pi * pixel_angle)[:, None].expand_as(gloss)
    around = atlas.sample(room, REPETITIONS * turns, footprint)
    towards_lamp = -(mirrored * beam).sum(0) / length(beam, 0)
    highlight = gloss * lit * towards_lamp.clamp(min=0) ** SHININESS
    return torch.lerp(colour, around, share[..., None]) + highlight[..., None]
