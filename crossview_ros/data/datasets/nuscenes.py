# SPDX-License-Identifier: Apache-2.0
"""nuScenes: key frames of six cameras with the LiDAR scan of the same moment."""
from collections.abc import Iterable
import json
from pathlib import Path
from typing import Any, NamedTuple

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.io import read_image, read_point_file
from crossview_ros.data.samples import ImagePointSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import (
    compose, invert, make_transform, rotation_from_quat_xyzw, transform_points)
import numpy as np

CURE = 'unpack the metadata and the key frame archives of nuScenes in it'
MINI_VAL = ('scene-0103', 'scene-0916')
LIDAR = 'LIDAR_TOP'
CAMERAS = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT',
           'CAM_BACK_RIGHT')
Row = dict[str, Any]
Table = dict[str, Row]   # token -> row


class _Pair(NamedTuple):
    image: Path
    points: Path
    k: np.ndarray             # (3, 3) [px]
    T_camera_lidar: np.ndarray
    name: str


def nuscenes(root: str | Path, split: str = 'trainval', *, cameras: tuple[str, ...] = CAMERAS,
             scenes: Iterable[str] | None = None, skip_damaged: bool = False) -> FileDataset:
    """
    Open key frames: ``v1.0-*/*.json``, ``samples/CAM_*/*.jpg``, ``samples/LIDAR_TOP/*.pcd.bin``.

    Points are moved by the car's motion between the scan and the image.

    :param split: 'trainval', 'test', 'mini' (as the metadata's folder), 'mini_train' or
        'mini_val'.
    :param scenes: Names of the scenes to keep, such as the official train list; None: all.
    :raises DatasetError: If a name is unknown or a table is missing or damaged.
    """
    version = chosen('split', split, {name: f'v1.0-{name.split("_")[0]}' for name in (
        'trainval', 'test', 'mini', 'mini_train', 'mini_val')})
    for camera in cameras:
        chosen('camera', camera, dict.fromkeys(CAMERAS))
    folder = existing_folder(Path(root) / version, CURE)
    try:
        pairs = _pairs(Path(root), _Tables(folder), split, cameras, scenes)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(f'{folder}: its tables do not fit together: {error!r}; {CURE}') \
            from error
    return FileDataset(Path(root), pairs, _read, CURE, skip_damaged)


class _Tables:
    """The tables that say where a sensor was at a key frame."""

    def __init__(self, folder: Path) -> None:
        self.scenes = _table(folder, 'scene')
        self.samples = _table(folder, 'sample')
        self.poses = _table(folder, 'ego_pose')
        self.mounts = _table(folder, 'calibrated_sensor')
        sensors = _table(folder, 'sensor')
        self.frames: dict[str, dict[str, Row]] = {}   # sample -> channel -> sample_data
        for row in _table(folder, 'sample_data').values():
            if row['is_key_frame']:
                mount = self.mounts[row['calibrated_sensor_token']]
                channel = sensors[mount['sensor_token']]['channel']
                self.frames.setdefault(row['sample_token'], {})[channel] = row

    def scene_of(self, sample: str) -> str:
        """Return the name of a key frame's scene."""
        return self.scenes[self.samples[sample]['scene_token']]['name']

    def pose(self, row: Row) -> np.ndarray:
        """Return T_world_sensor at the sensor's own moment."""
        return compose(_transform(self.poses[row['ego_pose_token']]),
                       _transform(self.mounts[row['calibrated_sensor_token']]))


def _pairs(root: Path, tables: _Tables, split: str, cameras: tuple[str, ...],
           scenes: Iterable[str] | None) -> list[_Pair]:
    wanted = None if scenes is None else set(scenes)
    pairs = []
    for sample, frames in tables.frames.items():
        scene = tables.scene_of(sample)
        if _in_split(scene, split) and (wanted is None or scene in wanted):
            pairs += [_pair(root, tables, frames[camera], frames[LIDAR]) for camera in cameras]
    return pairs


def _in_split(scene: str, split: str) -> bool:
    return not split.startswith('mini_') or (scene in MINI_VAL) == (split == 'mini_val')


def _pair(root: Path, tables: _Tables, camera: Row, lidar: Row) -> _Pair:
    k = tables.mounts[camera['calibrated_sensor_token']]['camera_intrinsic']
    return _Pair(root / camera['filename'], root / lidar['filename'],
                 np.array(k, np.float64).reshape(3, 3),
                 invert(tables.pose(camera)) @ tables.pose(lidar), Path(camera['filename']).stem)


def _read(pair: _Pair) -> ImagePointSample:
    image = read_image(pair.image)
    camera = PinholeCamera(image.shape[1], image.shape[0], pair.k[0, 0], pair.k[1, 1],
                           pair.k[0, 2], pair.k[1, 2])
    scan = read_point_file(pair.points, 5)   # x, y, z [m], intensity in [0, 255], ring
    points = transform_points(pair.T_camera_lidar, scan[:, :3])
    return ImagePointSample(image, points.astype(np.float32), camera, pair.name,
                            scan[:, 3] / np.float32(255), pair.T_camera_lidar)


def _table(folder: Path, name: str) -> Table:
    path = folder / f'{name}.json'
    try:
        return {row['token']: row for row in json.loads(path.read_text(encoding='utf-8'))}
    except OSError as error:
        raise DatasetError(f'{path}: cannot be read: {error.strerror}; {CURE}') from error
    except (ValueError, KeyError, TypeError) as error:
        raise DatasetError(f'{path}: is no table of nuScenes: {error!r}; {CURE}') from error


def _transform(row: Row) -> np.ndarray:
    w, x, y, z = row['rotation']
    return make_transform(rotation_from_quat_xyzw((x, y, z, w)), row['translation'])
