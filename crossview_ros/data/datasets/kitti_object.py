# SPDX-License-Identifier: Apache-2.0
"""KITTI 3D object: left colour images with the LiDAR scan of the same moment."""
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.calibration_files import read_matrices
from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.io import read_image, read_point_file
from crossview_ros.data.samples import ImagePointSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import compose, make_transform, transform_points
import numpy as np

CURE = ('unpack the left colour images, Velodyne points and calibration of KITTI 3D object in it, '
        'and put the lists of frames into ImageSets')
FOLDERS = {'train': 'training', 'val': 'training', 'trainval': 'training', 'test': 'testing'}
SHAPES = {'P2': (3, 4), 'R0_rect': (3, 3), 'Tr_velo_to_cam': (3, 4)}


class _Frame(NamedTuple):
    folder: Path
    number: str


def kitti_object(root: str | Path, split: str = 'train', *,
                 skip_damaged: bool = False) -> FileDataset:
    """
    Open frames: ``training/{image_2,velodyne,calib}/NNNNNN.*``, ``ImageSets/SPLIT.txt``.

    :param split: 'train' (3,712 frames), 'val' (3,769), 'trainval' or 'test': a list of numbers.
    :raises DatasetError: If a name is unknown, or a folder or the list is missing.
    """
    folder = existing_folder(Path(root) / chosen('split', split, FOLDERS), CURE)
    path = Path(root) / 'ImageSets' / f'{split}.txt'
    try:
        numbers = path.read_text(encoding='ascii').split()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: cannot be read: {error}; {CURE}') from error
    return FileDataset(Path(root), [_Frame(folder, number) for number in numbers], _read, CURE,
                       skip_damaged)


def _read(frame: _Frame) -> ImagePointSample:
    folder, number = frame
    image = read_image(folder / 'image_2' / f'{number}.png')
    scan = read_point_file(folder / 'velodyne' / f'{number}.bin', 4)   # reflectance in [0, 1]
    projection, rectify, T = _calibration(folder / 'calib' / f'{number}.txt')
    camera = PinholeCamera(image.shape[1], image.shape[0], projection[0, 0], projection[1, 1],
                           projection[0, 2], projection[1, 2])
    # P2 = K [I | t]: the camera stands beside that of the rectified frame
    T_camera_rectified = make_transform(
        np.eye(3), np.linalg.solve(projection[:, :3], projection[:, 3]))
    T_camera_lidar = compose(T_camera_rectified, make_transform(rectify, np.zeros(3)),
                             make_transform(T[:, :3], T[:, 3]))
    points = transform_points(T_camera_lidar, scan[:, :3]).astype(np.float32)
    return ImagePointSample(image, points, camera, number, scan[:, 3], T_camera_lidar)


def _calibration(path: Path) -> list[np.ndarray]:
    matrices = read_matrices(path)
    for name, shape in SHAPES.items():
        if matrices.get(name, np.empty(0)).size != shape[0] * shape[1]:
            raise DatasetError(f'{path}: expected {shape[0] * shape[1]} numbers in the line '
                               f"'{name}:'")
    return [matrices[name].reshape(shape) for name, shape in SHAPES.items()]
