# SPDX-License-Identifier: Apache-2.0
"""The hall that a rendered drive goes through: things beside the path, and some that move."""
from dataclasses import dataclass

from crossview_ros.data.synthetic.scene import Scenes
from crossview_ros.data.synthetic.trajectory import Trajectory
from crossview_ros.errors import ConfigError
import numpy as np
import torch

CLEARANCE_M = 0.75     # between the path and anything
MAX_ASIDE_M = 4.5      # of a thing's edge from the path
MARGIN_M = 5.0         # between the path's bounding box and the walls
WALL_HEIGHT_M = 5.0
ATTEMPTS = 2000
# axes of upright things: local x right, y down, z ahead, as in optical frames
R_WORLD_UPRIGHT = np.array(((0.0, 0.0, 1.0), (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)))


@dataclass(frozen=True)
class Thing:
    """One primitive on the floor: where it is at time 0 and how it moves."""

    centre: np.ndarray      # (3,) world [m]
    yaw: float              # [rad]
    half_size: np.ndarray   # (3,) local [m]
    velocity: np.ndarray    # (3,) [m/s]
    spin: float             # [rad/s] around z


def furnish(trajectory: Trajectory, counts: tuple[int, int, int], num_moving: int,
            textures: tuple[int, int], rng: np.random.Generator) -> Scenes:
    """
    Build a hall around a ride.

    :param counts: Boxes, ellipsoids and cylinders; the first ``num_moving`` boxes move.
    :param textures: How many textures of the atlas are for things, and after them for the hall.
    :raises ConfigError: If so many things find no room beside the path.
    """
    path = trajectory.ground_path()
    things = [_moving(trajectory, rng) for _ in range(num_moving)]
    for kind, count in enumerate(counts):
        for _ in range(count - (num_moving if kind == 0 else 0)):
            things.append(_standing(path, kind, rng))
    low, high = path.min(0) - MARGIN_M, path.max(0) + MARGIN_M
    middle, half = (low + high) / 2, (high - low) / 2
    # local x is world -y, local y is world -z, local z is world x
    things.append(Thing(np.array((*middle, WALL_HEIGHT_M / 2)), 0.0,
                        np.array((half[1], WALL_HEIGHT_M / 2, half[0])), np.zeros(3), 0.0))
    return _scenes(things, counts, textures, rng, lamp=np.array((*middle, 4 * WALL_HEIGHT_M)))


def _standing(path: np.ndarray, kind: int, rng: np.random.Generator) -> Thing:
    for _ in range(ATTEMPTS):
        half = _half_size(kind, rng)
        radius = np.hypot(half[0], half[2])
        beside = path[rng.integers(len(path))]
        aside = CLEARANCE_M + radius + MAX_ASIDE_M * rng.random() ** 2
        angle = rng.uniform(-np.pi, np.pi)
        xy = beside + aside * np.array((np.cos(angle), np.sin(angle)))
        if np.hypot(*(path - xy).T).min() >= CLEARANCE_M + radius:
            return Thing(np.array((*xy, half[1])), rng.uniform(-np.pi, np.pi), half,
                         np.zeros(3), 0.0)
    raise ConfigError('the path leaves no room for so many things; ask for fewer objects')


def _half_size(kind: int, rng: np.random.Generator) -> np.ndarray:
    if kind == 0 and rng.random() < 0.25:                       # boards and panels
        return np.array((rng.uniform(0.4, 1.2), rng.uniform(0.5, 1.4), 0.03))
    if kind == 2 and rng.random() < 0.5:                        # poles
        radius = rng.uniform(0.04, 0.12)
        return np.array((radius, rng.uniform(1.2, 2.2), radius))
    width = rng.uniform(0.2, 0.7)
    depth = width if kind == 2 else width * rng.uniform(0.6, 1.5)
    return np.array((width, rng.uniform(0.25, 1.3), depth))


def _moving(trajectory: Trajectory, rng: np.random.Generator) -> Thing:
    """Draw a box that glides past the camera at some moment and keeps clear of it at all times."""
    duration = trajectory.ride.duration_s
    times = np.arange(0, duration, 0.1)
    poses = [trajectory.pose(t) for t in times]
    camera = np.array([pose[:2, 3] for pose in poses])
    for _ in range(ATTEMPTS):
        half = np.array((rng.uniform(0.25, 0.6), rng.uniform(0.3, 0.9), rng.uniform(0.25, 0.6)))
        seen = rng.integers(len(times))
        ahead = np.array((rng.uniform(3, 6), rng.uniform(-1.5, 1.5)))
        place = camera[seen] + poses[seen][:2, :2] @ ahead
        angle, speed = rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 1.4)
        velocity = speed * np.array((np.cos(angle), np.sin(angle)))
        track = place + velocity * (times - times[seen])[:, None]
        distance = np.hypot(*(track - camera).T).min()
        inside = (track > camera.min(0) - 4).all() and (track < camera.max(0) + 4).all()
        if inside and distance > CLEARANCE_M + np.hypot(half[0], half[2]):
            return Thing(np.array((*(place - velocity * times[seen]), half[1])),
                         angle, half, np.array((*velocity, 0.0)), rng.uniform(-0.3, 0.3))
    raise ConfigError('the ride leaves no room for moving things; ask for a longer one')


def _scenes(things: list[Thing], counts: tuple[int, int, int], textures: tuple[int, int],
            rng: np.random.Generator, lamp: np.ndarray) -> Scenes:
    yaws = [thing.yaw for thing in things]
    turn = np.array([((np.cos(a), -np.sin(a), 0), (np.sin(a), np.cos(a), 0), (0, 0, 1))
                     for a in yaws])
    half = np.array([thing.half_size for thing in things])
    texture = rng.integers(textures[0], size=(len(things), 6))
    texture[-1] = textures[0] + rng.permutation(textures[1])[:6]
    size = np.minimum(half.max(1) * rng.uniform(0.7, 2.0, len(things)), 2.0)
    size[-1] = 3.0
    fields = {
        'centre': np.array([thing.centre for thing in things]),
        'rotation': turn @ R_WORLD_UPRIGHT, 'half_size': half,
        'velocity': np.array([thing.velocity for thing in things]),
        'spin': np.array([(0, 0, thing.spin) for thing in things]),
        'texture_size': size, 'texture_origin': rng.random((len(things), 2)),
        'light': lamp, 'ambient': np.array(0.55), 'shadow': np.array(0.7)}
    tensors = {name: torch.from_numpy(np.asarray(value, np.float32))[None]
               for name, value in fields.items()}
    return Scenes(counts, texture=torch.from_numpy(texture)[None], **tensors)
