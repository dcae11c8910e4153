# SPDX-License-Identifier: Apache-2.0
"""A spinning LiDAR in a rendered scene."""
from dataclasses import dataclass

from crossview_ros.data.synthetic.raycast import cast, FAR, place, Rays
from crossview_ros.data.synthetic.scene import product, Scenes
from crossview_ros.data.synthetic.shading import shade
from crossview_ros.data.synthetic.textures import TextureAtlas
import numpy as np
import torch
from torch import Tensor

GROUP = 32           # neighbouring azimuths cast together
BEAM_ANGLE = 3e-3    # [rad] width of a beam, over which reflectivity is averaged


@dataclass(frozen=True)
class LidarConfig:
    """Beam pattern of a spinning LiDAR; x forward, y left, z up."""

    rings: int = 32
    azimuth_steps: int = 512
    elevation_range: tuple[float, float] = (-0.44, 0.26)   # [rad] lowest and highest ring
    max_range_m: float = 60.0


@dataclass(frozen=True)
class LidarScan:
    """What one turn measured, all at one instant (no motion distortion)."""

    points: np.ndarray      # (N, 3) float32 sensor frame [m]
    intensity: np.ndarray   # (N,) float32 in [0, 255]
    ring: np.ndarray        # (N,) uint16, 0 is the lowest


def beam_directions(config: LidarConfig) -> Tensor:
    """Return unit vectors (rings, azimuth_steps, 3) in the sensor frame, azimuth from x to y."""
    elevation = torch.linspace(*config.elevation_range, config.rings)[:, None]
    azimuth = torch.arange(config.azimuth_steps) * (2 * torch.pi / config.azimuth_steps)
    level = elevation.cos()
    return torch.stack((level * azimuth.cos(), level * azimuth.sin(),
                        elevation.sin().expand(-1, config.azimuth_steps)), -1)


def spinning_lidar(scenes: Scenes, atlas: TextureAtlas, T_world_lidar: Tensor, time_s: Tensor,
                   config: LidarConfig = LidarConfig()) -> LidarScan:
    """
    Measure the first of the scenes.

    :param T_world_lidar: (1, 4, 4).
    :param time_s: (1,) when.
    :return: Points in ring order; beams that meet nothing within the range are left out.
    """
    beams = beam_directions(config).to(T_world_lidar)
    steps = config.azimuth_steps
    # rings are filled up to whole groups by repeating their first beams
    filled = torch.arange(-(-steps // GROUP) * GROUP) % steps
    local = beams[:, filled].reshape(-1, GROUP, 3).transpose(1, 2)
    direction = product(T_world_lidar[:, :3, :3], local)
    scene = torch.zeros(len(local), dtype=torch.int64, device=local.device)
    rays = Rays(scene, T_world_lidar[:, :3, 3].expand(len(local), 3), direction)
    placed = place(scenes, time_s)
    hits = cast(placed, rays)
    angle = torch.full(scene.shape, BEAM_ANGLE, device=local.device)
    colour, _ = shade(placed, atlas, rays, hits, angle)

    def per_ring(field: Tensor) -> Tensor:
        return field.reshape(config.rings, len(filled), *field.shape[2:])[:, :steps]

    distance = per_ring(hits.distance)
    seen = distance < min(config.max_range_m, FAR)
    ring = torch.arange(config.rings, device=seen.device)[:, None].expand_as(seen)[seen]
    return LidarScan((beams * distance[..., None])[seen].cpu().numpy(),
                     per_ring(255 * colour.mean(-1))[seen].cpu().numpy(),
                     ring.cpu().numpy().astype(np.uint16))
