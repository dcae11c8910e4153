# SPDX-License-Identifier: Apache-2.0
"""Render pinhole images of scenes, with the exact depth and surface behind each pixel."""
from dataclasses import dataclass

from crossview_ros.data.synthetic.raycast import cast, find_candidates, Hits, place, Placed, Rays
from crossview_ros.data.synthetic.scene import product, Scenes
from crossview_ros.data.synthetic.shading import shade
from crossview_ros.data.synthetic.textures import TextureAtlas
import torch
from torch import Tensor

TILE = 16   # [px] side of a group of rays
# rotated grid: four rays in a pixel, no two in one row or column
SUBPIXELS = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))


@dataclass(frozen=True)
class Cameras:
    """B pinhole cameras with one image size; optical axes, (0, 0) is the first pixel's centre."""

    size_hw: tuple[int, int]
    focal: Tensor            # (B,) fx = fy [px]
    centre: Tensor           # (B, 2) cx, cy [px]
    T_world_camera: Tensor   # (B, 4, 4)
    time_s: Tensor           # (B,) moment of exposure

    @classmethod
    def centred(cls, size_hw: tuple[int, int], focal: Tensor, T_world_camera: Tensor,
                time_s: Tensor) -> 'Cameras':
        """Make cameras whose principal point is the image's middle."""
        middle = focal.new_tensor(((size_hw[1] - 1) / 2, (size_hw[0] - 1) / 2))
        return cls(size_hw, focal, middle.expand(len(focal), 2), T_world_camera, time_s)

    @property
    def tiles_hw(self) -> tuple[int, int]:
        """Return how many tiles cover the image, down and across."""
        return -(-self.size_hw[0] // TILE), -(-self.size_hw[1] // TILE)

    def to_image(self, field: Tensor) -> Tensor:
        """Put rays of tiles (B T, TILE TILE, ...) back into images (B, H, W, ...)."""
        down, across = self.tiles_hw
        field = field.reshape(len(self.focal), down, across, TILE, TILE, *field.shape[2:])
        field = field.transpose(2, 3).flatten(3, 4).flatten(1, 2)
        return field[:, :self.size_hw[0], :self.size_hw[1]]

    def rays(self) -> Rays:
        """Return one ray through each pixel's centre, grouped in square tiles, depth as unit."""
        down, across = self.tiles_hw
        v, u = torch.meshgrid(torch.arange(TILE * down), torch.arange(TILE * across),
                              indexing='ij')
        uv = torch.stack((u, v)).to(self.focal).unflatten(2, (across, TILE)) \
            .unflatten(1, (down, TILE)).permute(1, 3, 0, 2, 4).reshape(down * across, 2, -1)
        scene = torch.arange(len(self.focal), device=self.focal.device) \
            .repeat_interleave(down * across)
        return self.rays_through(scene, uv.repeat(len(self.focal), 1, 1))

    def rays_through(self, scene: Tensor, uv: Tensor) -> Rays:
        """Return rays through pixels uv (G, 2, K) of cameras scene (G,)."""
        xy = (uv - self.centre[scene][..., None]) / self.focal[scene][:, None, None]
        local = torch.cat((xy, torch.ones_like(xy[:, :1])), 1)
        return Rays(scene, self.T_world_camera[scene, :3, 3],
                    product(self.T_world_camera[scene, :3, :3], local))


@dataclass(frozen=True)
class View:
    """Rendered images and what is behind their pixels."""

    image: Tensor       # (B, 3, H, W) in [0, 1]
    depth: Tensor       # (B, H, W) [m] along the optical axis
    primitive: Tensor   # (B, H, W) int64, which object
    rays: Rays          # one for each pixel's centre, in tiles
    hits: Hits


def render(scenes: Scenes, atlas: TextureAtlas, cameras: Cameras, smooth: bool = True) -> View:
    """
    Render what the cameras see.

    Depth and hits belong to the ray through a pixel's centre.

    :param smooth: Average four rays for the colour of pixels at borders.
    """
    placed = place(scenes, cameras.time_s)
    rays = cameras.rays()
    candidates = find_candidates(placed, rays)
    hits = cast(placed, rays, candidates)
    angle = 1 / cameras.focal
    colour, face = shade(placed, atlas, rays, hits, angle[rays.scene])
    image = cameras.to_image(colour)
    if smooth:
        image = _smooth_borders(placed, atlas, cameras, image, cameras.to_image(face), candidates)
    return View(image.permute(0, 3, 1, 2).clamp(0, 1), cameras.to_image(hits.distance),
                cameras.to_image(hits.primitive), rays, hits)


def _smooth_borders(placed: Placed, atlas: TextureAtlas, cameras: Cameras, image: Tensor,
                    face: Tensor, candidates: Tensor) -> Tensor:
    border = torch.zeros_like(face, dtype=torch.bool)
    across = face[:, :, 1:] != face[:, :, :-1]
    down = face[:, 1:] != face[:, :-1]
    border[:, :, 1:] |= across
    border[:, :, :-1] |= across
    border[:, 1:] |= down
    border[:, :-1] |= down
    scene, v, u = border.nonzero(as_tuple=True)
    shifts = torch.tensor(SUBPIXELS, device=image.device).T
    rays = cameras.rays_through(scene, torch.stack((u, v), 1)[..., None] + shifts)
    tiles = cameras.tiles_hw
    tile = (scene * tiles[0] + v // TILE) * tiles[1] + u // TILE
    hits = cast(placed, rays, candidates[tile])
    colour, _ = shade(placed, atlas, rays, hits, 1 / cameras.focal[scene])
    image = image.clone()
    image[scene, v, u] = colour.mean(1)
    return image
