# SPDX-License-Identifier: Apache-2.0
"""Draw random scenes in front of a stereo camera that moves by one time step."""
from dataclasses import dataclass, replace
from typing import ClassVar

from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.scene import product, rotation_from_vector, Scenes
import torch
from torch import Tensor


@dataclass(frozen=True)
class SceneConfig:
    """What random scenes look like; pixel ranges are shares of the image's width."""

    num_boxes: int = 13
    num_ellipsoids: int = 4
    num_cylinders: int = 5
    focal_range: tuple[float, float] = (0.55, 1.4)       # fx over image width
    near_range: tuple[float, float] = (0.4, 6.0)         # [m] depth of the nearest object
    depth_ratio: float = 14.0                            # farthest object over nearest
    disparity_share: tuple[float, float] = (0.03, 0.21)  # of the nearest object
    size_range: tuple[float, float] = (0.05, 0.32)       # half size over depth, at fx = width
    upright_share: float = 0.5                           # of scenes: things stand on the floor
    thin_share: float = 0.15                             # of axes: cards, boards, poles
    thin_range: tuple[float, float] = (0.04, 0.25)       # of a thin axis, over what it was
    gloss_share: float = 0.0                             # of objects, the room among them: mirror
    shadow_share: float = 0.6                            # of scenes: sun instead of clouds
    moving_share: float = 0.35                           # of objects
    flow_share: float = 0.045                            # motion of the nearest object, typical
    slow_share: float = 0.5                              # of scenes: less motion, down to none
    # fields of `RoomSceneConfig`
    eye_range: ClassVar[tuple[float, float]] = (0.4, 3.0)
    far_range: ClassVar[tuple[float, float]] = (0.3, 4.0)
    tilt_rad: ClassVar[tuple[float, float, float]] = (0.12, 0.35, 0.05)
    stand_share: ClassVar[float] = 0.8


@dataclass(frozen=True)
class RoomSceneConfig(SceneConfig):
    """
    Scenes whose room and camera can be told more of.

    Where they have habits, as in streets, one image tells how far things are: a level camera at
    one height above a floor on which all things stand.
    """

    eye_range: tuple[float, float] = SceneConfig.eye_range   # camera's height over near_range's
    far_range: tuple[float, float] = SceneConfig.far_range   # half the room over farthest object
    tilt_rad: tuple[float, float, float] = SceneConfig.tilt_rad   # typical pitch, yaw, roll
    stand_share: float = SceneConfig.stand_share             # of the things of an upright scene


@dataclass(frozen=True)
class RandomView:
    """Cameras that suit a batch of scenes: intrinsics, baseline and the motion of one step."""

    focal: Tensor              # (B,) fx = fy [px]
    baseline: Tensor           # (B,) [m]
    T_world_previous: Tensor   # (B, 4, 4) left camera at time 0; at time 1 it is the identity


def sample_scenes(batch: int, size_hw: tuple[int, int], config: SceneConfig, num_textures: int,
                  draw: Draw) -> tuple[Scenes, RandomView]:
    """
    Draw scenes in front of a camera at the world's origin that looks along z (optical axes).

    :param draw: Of ``batch`` rows; decides the device.
    """
    cols = size_hw[1]
    focal = cols * draw.log_uniform((batch,), *config.focal_range)
    near = draw.log_uniform((batch,), *config.near_range)
    room = _room(draw, batch, near, config)
    centre, rotation, half, depth = _objects(draw, batch, size_hw, focal, near, room, config)
    pace = torch.where(draw.uniform((batch,), 0, 1) < config.slow_share,
                       draw.uniform((batch,), 0, 1) ** 2, 1.0)
    # [m] moves the nearest object by that share of the width
    step = pace * config.flow_share * cols * near / focal
    velocity, spin = _motion_of_objects(draw, depth, near, step, pace, config)
    count = depth.shape[1]
    texture_size = half.amax(-1) * draw.log_uniform((batch, count), 0.5, 3.0)
    room_texture = near * draw.log_uniform((batch,), 0.5, 4.0)
    light = draw.normal((batch, 3)) + focal.new_tensor((0.0, -2.0, -0.6))
    light = light / light.norm(dim=-1, keepdim=True) * \
        (near * draw.log_uniform((batch,), 4.0, 100.0))[:, None]
    clear = draw.uniform((batch,), 0, 1) < config.shadow_share
    scenes = Scenes(
        (config.num_boxes, config.num_ellipsoids, config.num_cylinders),
        torch.cat((centre, room[0]), 1), torch.cat((rotation, room[1]), 1),
        torch.cat((half, room[2]), 1), velocity, spin,
        draw.integers((batch, count + 1, 6), num_textures),
        torch.cat((texture_size, room_texture[:, None]), 1),
        draw.uniform((batch, count + 1, 2), 0, 1),
        light, draw.uniform((batch,), 0.35, 0.85),
        torch.where(clear, draw.uniform((batch,), 0.4, 1), 0.0))
    disparity = cols * draw.log_uniform((batch,), *config.disparity_share)
    if config.gloss_share > 0:
        scenes = replace(scenes, gloss=_gloss(draw, (batch, count + 1), config.gloss_share))
    view = RandomView(focal, disparity * near / focal, _motion_of_camera(draw, step, pace, config))
    return scenes, view


def _gloss(draw: Draw, shape: tuple[int, int], share: float) -> Tensor:
    """Return (B, P) how much surfaces mirror: most nothing, few half of the light."""
    glossy = draw.uniform(shape, 0, 1) < share
    return torch.where(glossy, draw.log_uniform(shape, 0.03, 0.5), 0.0)


def _room(draw: Draw, batch: int, near: Tensor,
          config: SceneConfig) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre, rotation and half size of the room; its floor lies below the camera."""
    far = near * config.depth_ratio * draw.log_uniform((batch,), *config.far_range)
    eye = near * draw.log_uniform((batch,), *config.eye_range)
    width = torch.maximum(far * draw.uniform((batch,), 0.2, 1.0), 2 * near)
    height = eye * draw.log_uniform((batch,), 0.8, 8.0)
    half = torch.stack((width, height, far), -1)
    tilt = draw.normal((batch,)), draw.normal((batch,)), draw.normal((batch,))
    tilt = torch.stack([typical * angle for typical, angle in zip(config.tilt_rad, tilt)], -1)
    rotation = rotation_from_vector(tilt)
    shift = torch.stack((width * draw.uniform((batch,), -0.5, 0.5), eye - height,
                         torch.zeros_like(far)), -1)
    centre = product(rotation, shift[..., None])[..., 0]
    return centre[:, None], rotation[:, None], half[:, None]


def _objects(draw: Draw, batch: int, size_hw: tuple[int, int], focal: Tensor, near: Tensor,
             room: tuple[Tensor, Tensor, Tensor],
             config: SceneConfig) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return centre (B, P, 3), rotation (B, P, 3, 3), half size (B, P, 3), depth (B, P)."""
    rows, cols = size_hw
    count = config.num_boxes + config.num_ellipsoids + config.num_cylinders
    depth = near[:, None] * draw.log_uniform((batch, count), 1.0, config.depth_ratio)
    half = depth[..., None] * (cols / focal)[:, None, None] * \
        draw.log_uniform((batch, count, 1), *config.size_range) * \
        draw.log_uniform((batch, count, 3), 0.35, 1.4)
    thin = draw.uniform((batch, count, 3), 0, 1) < config.thin_share
    half = torch.where(thin, half * draw.log_uniform((batch, count, 3), *config.thin_range),
                       half)
    reach = depth + half.norm(dim=-1)
    ray = draw.uniform((batch, count, 2), -0.58, 0.58) / focal[:, None, None] * \
        focal.new_tensor((cols, rows))
    centre = torch.cat((ray, torch.ones_like(ray[..., :1])), -1) * reach[..., None]
    rotation = rotation_from_vector(draw.normal((batch, count, 3)) *
                                    draw.uniform((batch, count, 1), 0, 1.5))
    upright = draw.uniform((batch, 1), 0, 1) < config.upright_share
    stands = draw.uniform((batch, count), 0, 1) < torch.where(upright, config.stand_share, 0.1)
    yaw = torch.zeros_like(centre)
    yaw[..., 1] = draw.uniform((batch, count), -torch.pi, torch.pi)
    standing = _stand(room, centre, half)
    mask = stands[..., None]
    return (torch.where(mask, standing[0], centre),
            torch.where(mask[..., None], product(room[1], rotation_from_vector(yaw)), rotation),
            torch.where(mask, standing[1], half), depth)


def _stand(room: tuple[Tensor, Tensor, Tensor], centre: Tensor,
           half: Tensor) -> tuple[Tensor, Tensor]:
    """Put things on the floor: each keeps its top and grows or shrinks down to the ground."""
    room_centre, room_rotation, room_half = room
    local = product(room_rotation.transpose(-1, -2), (centre - room_centre)[..., None])[..., 0]
    floor = room_half[..., 1]
    top = torch.minimum(local[..., 1] - half[..., 1], floor - 0.3 * half.amax(-1))
    tall = (floor - top) / 2
    placed = torch.stack((local[..., 0], floor - tall, local[..., 2]), -1)
    world = product(room_rotation, placed[..., None])[..., 0] + room_centre
    return world, torch.stack((half[..., 0], tall, half[..., 2]), -1)


def _motion_of_objects(draw: Draw, depth: Tensor, near: Tensor, step: Tensor, pace: Tensor,
                       config: SceneConfig) -> tuple[Tensor, Tensor]:
    """Return velocity and spin (B, P + 1, 3) per time step; the room stands still."""
    shape = (*depth.shape, 1)
    moving = draw.uniform(shape, 0, 1) < config.moving_share
    scale = (depth / near[:, None]).clamp(max=4)[..., None] * step[:, None, None]
    velocity = torch.where(moving, draw.normal((*depth.shape, 3)) * scale, 0.0)
    turn = 0.08 * pace[:, None, None] * draw.normal((*depth.shape, 3))
    spin = torch.where(moving, turn, 0.0)
    still = torch.zeros_like(velocity[:, :1])
    return torch.cat((velocity, still), 1), torch.cat((spin, still), 1)


def _motion_of_camera(draw: Draw, step: Tensor, pace: Tensor,
                      config: SceneConfig) -> Tensor:
    """Return T_world_previous (B, 4, 4): where the camera was one time step ago."""
    batch = len(step)
    T = torch.eye(4, device=step.device).repeat(batch, 1, 1)
    turn = draw.normal((batch, 3)) * torch.tensor((0.7, 1.0, 0.5), device=step.device)
    T[:, :3, :3] = rotation_from_vector(turn * pace[:, None] * config.flow_share * 0.6 *
                                        draw.uniform((batch, 1), 0, 1.2))
    T[:, :3, 3] = draw.normal((batch, 3)) * step[:, None] * draw.uniform((batch, 1), 0, 1.8)
    return T
