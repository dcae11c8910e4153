# SPDX-License-Identifier: Apache-2.0
"""Random scenes as a stereo camera and a LiDAR beside it see them at one moment."""
from dataclasses import dataclass, field, replace

from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import RoomSceneConfig, sample_scenes
from crossview_ros.data.synthetic.raycast import cast, place, Rays
from crossview_ros.data.synthetic.scene import product, rotation_from_vector, Scenes
from crossview_ros.data.synthetic.shading import expose, shade
from crossview_ros.data.synthetic.textures import TextureAtlas
import numpy as np
import torch
from torch import Tensor

GROUP = 16           # neighbouring beams of a ring, cast together
MARGIN = 1.2         # the LiDAR's field of view over the camera's, either way
BEAM_ANGLE = 3e-3    # [rad] width of a beam, over which reflectivity is averaged
# axes of a body (x forward, y left, z up) in optical ones (x right, y down, z forward)
R_OPTICAL_BODY = ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0))
STORED_FRAME = {'left': np.uint8, 'right': np.uint8, 'depth': np.float16, 'points': np.float32,
                'focal': np.float32, 'T_camera_lidar': np.float32}


@dataclass(frozen=True)
class LidarFrameConfig:
    """Scenes in metres that suit a robot, and a LiDAR that looks where the camera does."""

    scene: RoomSceneConfig = field(default_factory=lambda: RoomSceneConfig(
        near_range=(1.5, 4.0), depth_ratio=8.0))
    rings: int = 64
    azimuth_steps: int = 80                # a multiple of 16; beams of a ring within the view
    offset_m: tuple[float, float, float] = (0.1, 0.15, 0.2)   # at most; forward, left, up
    tilt_rad: float = 0.05                 # typical, about each axis
    lost_share: float = 0.05               # of beams that return nothing
    range_noise: float = 0.002             # typical, over the range
    reflectance_noise: float = 0.03        # typical; reflectance is in [0, 1]
    max_range_m: float = 60.0

    def __post_init__(self):
        """Refuse beams that fill no whole groups."""
        if self.rings < 1 or self.azimuth_steps < GROUP or self.azimuth_steps % GROUP:
            raise ValueError(f'expected rings and a multiple of {GROUP} azimuth_steps, got '
                             f'{self.rings} and {self.azimuth_steps}')


def render_lidar_frames(batch: int, size_hw: tuple[int, int], config: LidarFrameConfig,
                        atlas: TextureAtlas, draw: Draw) -> dict[str, Tensor]:
    """
    Render both images and measure what the left camera has in view.

    Reflectance is the mean albedo of the surface, whatever the light, with some noise.

    :param draw: Of ``batch`` rows; decides the device.
    :return: ``left``, ``right`` (B, 3, H, W) in [0, 1]; ``depth`` (B, H, W) [m] of left;
        ``points`` (B, rings * azimuth_steps, 4) x, y, z [m] in the LiDAR frame (x forward, y
        left, z up) and reflectance, NaN for beams without a point in the left image; ``focal``
        (B,) [px], about the image's middle; ``T_camera_lidar`` (B, 4, 4) of the left camera.
    """
    scenes, view = sample_scenes(batch, size_hw, config.scene, len(atlas), draw)
    moment = torch.zeros_like(view.focal)
    T_left = torch.eye(4, device=moment.device).repeat(batch, 1, 1)
    T_right = T_left.clone()
    T_right[:, 0, 3] = view.baseline
    cameras = {name: Cameras.centred(size_hw, view.focal, T, moment)
               for name, T in (('left', T_left), ('right', T_right))}
    views = {name: render(scenes, atlas, camera) for name, camera in cameras.items()}
    images = expose({name: seen.image for name, seen in views.items()}, 'left', draw)
    T_camera_lidar = _mount(config, view.focal, draw)
    beams = _beams(config, size_hw, view.focal, draw)
    points = _measure(scenes, atlas, T_camera_lidar, beams, config, draw)
    seen = _in_view(points, T_camera_lidar, view.focal, size_hw) & \
        (draw.uniform(points.shape[:2], 0, 1) >= config.lost_share)
    return {**images, 'depth': views['left'].depth,
            'points': torch.where(seen[..., None], points, torch.nan),
            'focal': view.focal, 'T_camera_lidar': T_camera_lidar}


def _mount(config: LidarFrameConfig, focal: Tensor, draw: Draw) -> Tensor:
    """Return T_camera_lidar (B, 4, 4): near the camera, looking nearly where it does."""
    batch = len(focal)
    T = torch.eye(4, device=focal.device).repeat(batch, 1, 1)
    axes = focal.new_tensor(R_OPTICAL_BODY)
    T[:, :3, :3] = product(axes.expand(batch, 3, 3),
                           rotation_from_vector(config.tilt_rad * draw.normal((batch, 3))))
    offset = focal.new_tensor(config.offset_m) * draw.uniform((batch, 3), -1, 1)
    T[:, :3, 3] = offset @ axes.T
    return T


def _beams(config: LidarFrameConfig, size_hw: tuple[int, int], focal: Tensor,
           draw: Draw) -> Tensor:
    """Return unit vectors (B, rings, azimuth_steps, 3) in the LiDAR frame."""
    batch = len(focal)
    tall, wide = (MARGIN * torch.atan(side / 2 / focal)[:, None] + 2 * config.tilt_rad
                  for side in size_hw)
    shift = draw.uniform((batch, 2, 1), 0, 1)
    rings, steps = (torch.arange(count, device=focal.device)
                    for count in (config.rings, config.azimuth_steps))
    elevation = tall * (2 * (rings + shift[:, 0]) / config.rings - 1)
    azimuth = wide * (1 - 2 * (steps + shift[:, 1]) / config.azimuth_steps)
    elevation, azimuth = elevation[:, :, None], azimuth[:, None]
    level = elevation.cos()
    return torch.stack((level * azimuth.cos(), level * azimuth.sin(),
                        elevation.sin().expand(-1, -1, config.azimuth_steps)), -1)


def _measure(scenes: Scenes, atlas: TextureAtlas, T_world_lidar: Tensor, beams: Tensor,
             config: LidarFrameConfig, draw: Draw) -> Tensor:
    """Return (B, P, 4) in beam order, NaN beyond the range; world is the camera's frame."""
    batch = len(beams)
    local = beams.reshape(batch, -1, GROUP, 3)
    scene = torch.arange(batch, device=beams.device).repeat_interleave(local.shape[1])
    direction = product(T_world_lidar[scene, :3, :3], local.flatten(0, 1).transpose(1, 2))
    rays = Rays(scene, T_world_lidar[scene, :3, 3], direction)
    # full ambient light: what is seen is the albedo
    placed = place(replace(scenes, ambient=torch.ones_like(scenes.ambient)),
                   torch.zeros(batch, device=beams.device))
    hits = cast(placed, rays)
    colour, _ = shade(placed, atlas, rays, hits, torch.full(scene.shape, BEAM_ANGLE,
                                                            device=beams.device))
    distance = hits.distance.reshape(batch, -1, 1)
    noisy = distance * (1 + config.range_noise * draw.normal(tuple(distance.shape)))
    reflectance = colour.mean(-1).reshape(batch, -1, 1)
    reflectance = reflectance + config.reflectance_noise * draw.normal(tuple(distance.shape))
    points = torch.cat((noisy * beams.reshape(batch, -1, 3), reflectance.clamp(0, 1)), 2)
    return torch.where(distance < config.max_range_m, points, torch.nan)


def _in_view(points: Tensor, T_camera_lidar: Tensor, focal: Tensor,
             size_hw: tuple[int, int]) -> Tensor:
    """Say which points (B, P) project into the image."""
    xyz = product(T_camera_lidar[:, :3, :3], points[..., :3].transpose(1, 2)) + \
        T_camera_lidar[:, :3, 3:]
    x, y, z = xyz.unbind(1)
    slope = z / focal[:, None]
    return (z > 0) & (x.abs() < size_hw[1] / 2 * slope) & (y.abs() < size_hw[0] / 2 * slope)
