# SPDX-License-Identifier: Apache-2.0
"""A rendered drive: stereo camera and LiDAR on a robot that rides through a hall."""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from crossview_ros.data.synthetic.camera import Cameras, render, View
from crossview_ros.data.synthetic.drive_scene import furnish, R_WORLD_UPRIGHT
from crossview_ros.data.synthetic.lidar import LidarConfig, LidarScan, spinning_lidar
from crossview_ros.data.synthetic.scene import Scenes
from crossview_ros.data.synthetic.textures import make_atlas, TextureAtlas
from crossview_ros.data.synthetic.trajectory import Ride, Trajectory
from crossview_ros.data.synthetic.truth import motion_field
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np
import torch

SEED_OF_DRIVES = 900_000_000   # far from those of training records
NUM_TEXTURES = 56, 8           # of things, of the hall
EXPOSURE = 0.75                # exponent of the tone curve: lifts the shadows


@dataclass(frozen=True)
class DriveConfig:
    """A drive of one robot through one random hall; textures are those held out from training."""

    num_frames: int = 120
    rate_hz: float = 10.0
    size_hw: tuple[int, int] = (240, 320)
    focal_px: float = 260.0
    baseline: float = 0.25                  # [m]
    camera_height: float = 0.9              # [m] above base_link, which is on the floor
    mean_speed: float = 2.2                 # [m/s]
    turn: float = 2.6                       # [rad] over the whole drive
    num_boxes: int = 26                     # the moving ones included
    num_ellipsoids: int = 8
    num_cylinders: int = 16
    num_moving: int = 3
    lidar: LidarConfig = field(default_factory=LidarConfig)

    def __post_init__(self):
        """Refuse drives that cannot be rendered."""
        if self.num_frames < 1 or self.rate_hz <= 0:
            raise ConfigError('a drive needs num_frames >= 1 and rate_hz > 0, got '
                              f'{self.num_frames} and {self.rate_hz}')
        if not 0 <= self.num_moving <= self.num_boxes:
            raise ConfigError(f'num_moving {self.num_moving} must be between 0 and num_boxes '
                              f'{self.num_boxes}: boxes are what moves')

    @property
    def rig(self) -> StereoRig:
        """Return the rectified stereo camera."""
        rows, cols = self.size_hw
        camera = PinholeCamera(cols, rows, self.focal_px, self.focal_px, (cols - 1) / 2,
                               (rows - 1) / 2)
        return StereoRig(camera, camera, self.baseline)

    def mounts(self) -> dict[str, np.ndarray]:
        """Return T_base_sensor (4, 4) of the left and right optical frames and the LiDAR."""
        mounts = {name: np.eye(4) for name in ('left', 'right', 'lidar')}
        for name, side in (('left', 1), ('right', -1)):
            mounts[name][:3, :3] = R_WORLD_UPRIGHT
            mounts[name][:3, 3] = 0.1, side * self.baseline / 2, self.camera_height
        mounts['lidar'][:3, 3] = 0.0, 0.0, self.camera_height + 0.3
        return mounts


@dataclass(frozen=True)
class DriveFrame:
    """What the sensors measure at one moment, and the truth."""

    time_s: float
    left: np.ndarray                  # (H, W, 3) uint8 RGB
    right: np.ndarray
    depth: np.ndarray                 # (H, W) float32 [m] of left, along the optical axis
    disparity: np.ndarray             # (H, W) float32 [px] of left
    hidden_in_right: np.ndarray       # (H, W) bool, on the grid of left
    flow: np.ndarray | None           # (H, W, 2) float32 [px] previous left -> left; NaN unknown
    hidden_in_left: np.ndarray | None   # (H, W) bool, on the grid of the previous left
    scan: LidarScan
    T_odom_base: np.ndarray           # (4, 4) float64
    twist: np.ndarray                 # (6,) in base_link: x, y, z [m/s], rotation [rad/s]


class StereoFrame(NamedTuple):
    """What the camera alone sees at one moment, and where it is."""

    time_s: float
    left: np.ndarray          # (H, W, 3) uint8 RGB
    right: np.ndarray
    T_odom_left: np.ndarray   # (4, 4) float64, of the left optical frame


@dataclass(frozen=True)
class Drive:
    """A drive that is planned and not yet rendered."""

    config: DriveConfig
    trajectory: Trajectory
    scenes: Scenes
    atlas: TextureAtlas

    def frames(self, device: torch.device | str = 'cpu',
               numbers: Iterable[int] | None = None) -> Iterator[DriveFrame]:
        """
        Render frame by frame.

        :param numbers: Which frames, in rising order; None: all. A frame has flow where the one
            before it is rendered too.
        """
        scenes, atlas = self.scenes.to(device), self.atlas.to(device)
        before, last = None, None
        for number in range(self.config.num_frames) if numbers is None else numbers:
            with torch.inference_mode():
                before, frame = self._frame(number / self.config.rate_hz, scenes, atlas,
                                            before if last == number - 1 else None)
            last = number
            yield frame

    def stereo_frames(self) -> Iterator[StereoFrame]:
        """Render the images of the camera, without dense truth and LiDAR, on the CPU."""
        mount = self.config.mounts()['left']
        for number in range(self.config.num_frames):
            time_s = number / self.config.rate_hz
            pose = self.trajectory.pose(time_s)
            with torch.inference_mode():
                left, right = (_photograph(render(self.scenes, self.atlas, camera))
                               for camera in self._cameras(time_s, torch.device('cpu')))
            yield StereoFrame(time_s, left, right, pose @ mount)

    def _frame(self, time_s: float, scenes: Scenes, atlas: TextureAtlas,
               before: tuple[View, Cameras] | None) -> tuple[tuple[View, Cameras], DriveFrame]:
        config = self.config
        left_camera, right_camera = self._cameras(time_s, scenes.device)
        left = render(scenes, atlas, left_camera)
        right = render(scenes, atlas, right_camera)
        _, hidden_in_right = motion_field(scenes, left, left_camera, right_camera)
        flow = hidden_in_left = None
        if before is not None:
            flow, hidden_in_left = motion_field(scenes, *before, left_camera)
            flow = flow[0].permute(1, 2, 0).cpu().numpy()
            hidden_in_left = hidden_in_left[0, 0].cpu().numpy()
        depth = left.depth[0].cpu().numpy()
        scan = spinning_lidar(scenes, atlas, self._sensor('lidar', time_s, scenes.device),
                              left_camera.time_s, config.lidar)
        frame = DriveFrame(
            time_s, _photograph(left), _photograph(right), depth,
            np.float32(config.focal_px * config.baseline) / depth,
            hidden_in_right[0, 0].cpu().numpy(), flow, hidden_in_left, scan,
            self.trajectory.pose(time_s), self.trajectory.twist(time_s))
        return (left, left_camera), frame

    def _cameras(self, time_s: float, device: torch.device) -> tuple[Cameras, Cameras]:
        """Return the left and the right camera at a moment."""
        focal = torch.tensor([self.config.focal_px], device=device)
        moment = torch.tensor([time_s], device=device)
        return tuple(Cameras.centred(self.config.size_hw, focal,
                                     self._sensor(name, time_s, device), moment)
                     for name in ('left', 'right'))

    def _sensor(self, name: str, time_s: float, device: torch.device) -> torch.Tensor:
        """Return the pose of a sensor in the world: (1, 4, 4) float32."""
        return torch.tensor(self.trajectory.pose(time_s) @ self.config.mounts()[name],
                            dtype=torch.float32, device=device)[None]


def plan_drive(config: DriveConfig = DriveConfig(), seed: int = 0) -> Drive:
    """
    Choose path, hall and textures.

    :raises ConfigError: If the things asked for find no room.
    """
    rng = np.random.default_rng((seed, SEED_OF_DRIVES))
    side = rng.choice((-1, 1))
    ride = Ride(config.num_frames / config.rate_hz, config.mean_speed, side * config.turn,
                0.12, rng.uniform(0, 2 * np.pi))
    trajectory = Trajectory(ride)
    # a hall of blank or regular walls would show nothing to match
    atlas = make_atlas(NUM_TEXTURES[0], SEED_OF_DRIVES + seed, 'holdout') + \
        make_atlas(NUM_TEXTURES[1], SEED_OF_DRIVES + seed + 1, 'holdout', regular=False)
    counts = (config.num_boxes, config.num_ellipsoids, config.num_cylinders)
    return Drive(config, trajectory,
                 furnish(trajectory, counts, config.num_moving, NUM_TEXTURES, rng), atlas)


def render_drive(config: DriveConfig = DriveConfig(), seed: int = 0,
                 device: torch.device | str = 'cpu') -> Iterator[DriveFrame]:
    """Plan a drive and render it frame by frame."""
    return plan_drive(config, seed).frames(device)


def _photograph(view: View) -> np.ndarray:
    image = view.image[0].permute(1, 2, 0) ** EXPOSURE
    return (image * 255).round().byte().cpu().numpy()
