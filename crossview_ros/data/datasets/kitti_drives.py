# SPDX-License-Identifier: Apache-2.0
"""KITTI raw and odometry: stereo images, LiDAR scans and poses of drives."""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.calibration_files import read_matrices, rig_from_projections
from crossview_ros.data.datasets.dataset import (
    chosen, existing_folder, FileDataset, folders_in, without_gaps)
from crossview_ros.data.io import read_image, read_point_file
from crossview_ros.data.samples import FrameSample
from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import compose, invert, make_transform, transform_points
import numpy as np

CURE_RAW = 'unpack DATE_drive_NNNN_sync.zip and DATE_calib.zip of KITTI raw in it'
CURE_ODOMETRY = 'unpack the colour, velodyne, calibration and poses archives of KITTI odometry'
CAMERAS = {'grey': (0, 1), 'colour': (2, 3)}
WITH_POSES = 11                 # odometry sequences 00-10 have poses, 11-21 have none
EARTH_RADIUS_M = 6378137.0


@dataclass(frozen=True)
class _Drive:
    """What the frames of a drive share."""

    name: str
    lefts: list[Path]
    right_folder: Path
    scan_folder: Path | None
    projections: tuple[np.ndarray, np.ndarray]   # (3, 4) of left and right, rectified frame
    T_left_lidar: np.ndarray
    stamps_ns: np.ndarray
    T_world_left: Callable[[int], np.ndarray] | None   # by position in lefts


class _Frame(NamedTuple):
    drive: _Drive
    position: int


def kitti_raw(root: str | Path, split: str = 'all', *, drives: tuple[str, ...] | None = None,
              cameras: str = 'colour', skip_damaged: bool = False) -> FileDataset:
    """
    Open synced drives: ``DATE/DATE_drive_NNNN_sync/{image_0*,velodyne_points,oxts}``.

    The world is the left camera at the first frame; poses are the GPS/IMU's, None without oxts.

    :param split: 'all'.
    :param drives: Such as '2011_09_26_drive_0001_sync'; None: all that are there.
    :param cameras: 'colour' or 'grey'.
    :raises DatasetError: If a name is unknown or a folder or a calibration is missing.
    """
    chosen('split', split, {'all': None})
    pair = chosen('cameras', cameras, CAMERAS)
    found = {drive.name: drive for date in folders_in(Path(root), CURE_RAW)
             for drive in folders_in(date, CURE_RAW) if drive.name.endswith('_sync')}
    names = sorted(found) if drives is None else drives
    frames = [frame for name in names
              for frame in _frames(_raw_drive(chosen('drive', name, found), pair))]
    return FileDataset(Path(root), frames, _read, CURE_RAW, skip_damaged)


def kitti_odometry(root: str | Path, split: str = 'train', *,
                   sequences: tuple[str, ...] | None = None, cameras: str = 'colour',
                   skip_damaged: bool = False) -> FileDataset:
    """
    Open sequences: ``sequences/NN/{image_*,velodyne,calib.txt,times.txt}``, ``poses/NN.txt``.

    The world is camera 0 at the first frame; stamps count from the sequence's begin.

    :param split: 'train' (00-10, with poses) or 'test' (11-21, without).
    :param sequences: Some of the split, such as '07'; None: all that are there.
    :param cameras: 'colour' or 'grey'.
    :raises DatasetError: If a name is unknown or a folder or a calibration is missing.
    """
    is_test = chosen('split', split, {'train': False, 'test': True})
    pair = chosen('cameras', cameras, CAMERAS)
    found = {folder.name: folder for folder in folders_in(Path(root) / 'sequences', CURE_ODOMETRY)
             if folder.name.isdigit() and (int(folder.name) >= WITH_POSES) == is_test}
    names = sorted(found) if sequences is None else sequences
    frames = [frame for name in names
              for frame in _frames(_sequence(chosen('sequence', name, found), pair, is_test))]
    return FileDataset(Path(root), frames, _read, CURE_ODOMETRY, skip_damaged)


def _frames(drive: _Drive) -> list[_Frame]:
    return [_Frame(drive, position) for position in range(len(drive.lefts))]


def _read(frame: _Frame) -> FrameSample:
    drive, position = frame
    path = drive.lefts[position]
    left, right = read_image(path), read_image(drive.right_folder / path.name)
    points = reflectance = None
    if drive.scan_folder is not None:
        scan = read_point_file(drive.scan_folder / f'{path.stem}.bin', 4)
        points = transform_points(drive.T_left_lidar, scan[:, :3]).astype(np.float32)
        reflectance = scan[:, 3]
    pose = drive.T_world_left(position) if drive.T_world_left else None
    return FrameSample(left, right, rig_from_projections(*drive.projections, left.shape[:2]),
                       int(drive.stamps_ns[position]), points, pose, f'{drive.name}/{path.stem}',
                       reflectance, drive.T_left_lidar)


def _raw_drive(folder: Path, pair: tuple[int, int]) -> _Drive:
    date, left = folder.parent, f'image_0{pair[0]}'
    cameras = read_matrices(date / 'calib_cam_to_cam.txt')
    path = date / 'calib_cam_to_cam.txt'
    projections = tuple(_matrix(path, cameras, f'P_rect_0{i}') for i in pair)
    rectify = make_transform(_matrix(path, cameras, 'R_rect_00', (3, 3)), np.zeros(3))
    T_left_lidar = compose(_T_camera_rectified(projections[0]), rectify,
                           _rigid(date / 'calib_velo_to_cam.txt'))
    lefts = without_gaps(existing_folder(folder / left / 'data', CURE_RAW).glob('*.png'), 0)
    stamps_ns = _stamps_ns(folder / left / 'timestamps.txt', lefts)
    scans = folder / 'velodyne_points' / 'data'
    oxts = folder / 'oxts' / 'data'
    poses = None
    if oxts.is_dir():
        T_lidar_imu = _rigid(date / 'calib_imu_to_velo.txt')
        poses = _OxtsPoses(oxts, lefts, invert(compose(T_left_lidar, T_lidar_imu)))
    return _Drive(folder.name, lefts, folder / f'image_0{pair[1]}' / 'data',
                  scans if scans.is_dir() else None, projections, T_left_lidar, stamps_ns, poses)


def _sequence(folder: Path, pair: tuple[int, int], is_test: bool) -> _Drive:
    path = folder / 'calib.txt'
    calibration = read_matrices(path)
    projections = tuple(_matrix(path, calibration, f'P{i}') for i in pair)
    T_left_cam0 = _T_camera_rectified(projections[0])
    T_left_lidar = T_left_cam0 @ np.vstack((_matrix(path, calibration, 'Tr'), [0, 0, 0, 1]))
    lefts = without_gaps(
        existing_folder(folder / f'image_{pair[0]}', CURE_ODOMETRY).glob('*.png'), first=0)
    stamps_ns = _seconds_ns(folder / 'times.txt', lefts)
    scans = folder / 'velodyne'
    poses = None
    if not is_test:
        trajectory = read_trajectory(folder.parent.parent / 'poses' / f'{folder.name}.txt').poses
        _check_count(folder, lefts, len(trajectory), 'poses')
        poses = (trajectory @ invert(T_left_cam0)).__getitem__
    return _Drive(folder.name, lefts, folder / f'image_{pair[1]}',
                  scans if scans.is_dir() else None, projections, T_left_lidar, stamps_ns, poses)


class _OxtsPoses:
    """Turns the GPS/IMU packets of a drive into poses when one is asked for."""

    def __init__(self, folder: Path, lefts: list[Path], T_imu_left: np.ndarray) -> None:
        self.paths = [folder / f'{left.stem}.txt' for left in lefts]
        self.T_imu_left = T_imu_left

    def __call__(self, position: int) -> np.ndarray:
        first = _packet(self.paths[0])
        T_map_first, T_map_this = (
            compose(_T_map_imu(packet, first[0]), self.T_imu_left)
            for packet in (first, _packet(self.paths[position])))
        return compose(invert(T_map_first), T_map_this)


def _packet(path: Path) -> np.ndarray:
    try:
        return np.loadtxt(path, ndmin=1)[:6]   # latitude, longitude [deg], altitude [m],
    except (OSError, ValueError) as error:     # roll, pitch, yaw [rad]
        raise DatasetError(f'{path}: is no readable GPS/IMU packet: {error}') from error


def _T_map_imu(packet: np.ndarray, first_latitude: float) -> np.ndarray:
    """Project to a Mercator map, scaled to metres at the drive's begin (raw data devkit)."""
    latitude, longitude, altitude, roll, pitch, yaw = packet
    scale = EARTH_RADIUS_M * np.cos(np.radians(first_latitude))
    x = scale * np.radians(longitude)
    y = scale * np.log(np.tan(np.radians(90 + latitude) / 2))
    return make_transform(_turn(2, yaw) @ _turn(1, pitch) @ _turn(0, roll), (x, y, altitude))


def _turn(axis: int, angle: float) -> np.ndarray:
    i, j = (axis + 1) % 3, (axis + 2) % 3
    rotation = np.eye(3)
    rotation[i, i] = rotation[j, j] = np.cos(angle)
    rotation[j, i] = np.sin(angle)
    rotation[i, j] = -rotation[j, i]
    return rotation


def _T_camera_rectified(projection: np.ndarray) -> np.ndarray:
    """Return where the rectified frame of camera 0 lies: P = K [I | t]."""
    return make_transform(np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))


def _rigid(path: Path) -> np.ndarray:
    matrices = read_matrices(path)
    return make_transform(_matrix(path, matrices, 'R', (3, 3)),
                          _matrix(path, matrices, 'T', (3, 1)))


def _matrix(path: Path, matrices: dict[str, np.ndarray], name: str,
            shape: tuple[int, int] = (3, 4)) -> np.ndarray:
    values = matrices.get(name, np.empty(0))
    if values.size != shape[0] * shape[1]:
        raise DatasetError(f"{path}: expected {shape[0] * shape[1]} numbers in the line '{name}:',"
                           f' got {values.size}')
    return values.reshape(shape)


def _stamps_ns(path: Path, lefts: list[Path]) -> np.ndarray:
    lines = [line.strip().replace(' ', 'T') for line in _lines(path, len(lefts))]
    try:
        return np.array(lines, 'datetime64[ns]').astype(np.int64)
    except ValueError as error:
        raise DatasetError(f'{path}: damaged: {error}; unpack its archive again') from error


def _seconds_ns(path: Path, lefts: list[Path]) -> np.ndarray:
    try:
        seconds = np.array(_lines(path, len(lefts)), np.float64)
    except ValueError as error:
        raise DatasetError(f'{path}: damaged: {error}; unpack its archive again') from error
    return np.rint(seconds * 1e9).astype(np.int64)


def _lines(path: Path, needed: int) -> list[str]:
    try:
        lines = path.read_text(encoding='ascii').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: cannot be read: {error}; unpack its archive') from error
    if len(lines) < needed:
        raise DatasetError(f'{path}: {len(lines)} times for {needed} frames; unpack its '
                           'archive again')
    return lines[:needed]


def _check_count(folder: Path, lefts: list[Path], count: int, what: str) -> None:
    if count < len(lefts):
        raise DatasetError(f'{folder}: {count} {what} for {len(lefts)} images; unpack the '
                           'archives again')
