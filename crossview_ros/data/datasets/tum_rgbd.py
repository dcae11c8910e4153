# SPDX-License-Identifier: Apache-2.0
"""TUM RGB-D: hand-held colour and depth images with poses of motion capture."""
from decimal import Decimal, InvalidOperation
from pathlib import Path
import re
from typing import NamedTuple

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset, folders_in
from crossview_ros.data.datasets.poses import pose_at
from crossview_ros.data.io import read_image, read_scaled_png
from crossview_ros.data.samples import DepthSample
from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.geometry.trajectory import associate, Trajectory
import cv2
import numpy as np

CURE = 'unpack the sequence rgbd_dataset_freiburg*.tgz in it'
SIZE_HW = (480, 640)
DEPTH_SCALE = 5000.0          # steps of the PNG in a metre
MAX_DIFFERENCE_NS = 20_000_000
# freiburgN -> fx, fy, cx, cy [px] and the distortion of the colour camera, after the data set's
# page on file formats
CAMERAS = {'1': ((517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)),
           '2': ((520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)),
           '3': ((535.4, 539.2, 320.1, 247.6), (0.0, 0.0, 0.0, 0.0, 0.0))}


class _Sequence(NamedTuple):
    folder: Path
    rectify: Rectifier
    camera: PinholeCamera
    trajectory: Trajectory


class _Frame(NamedTuple):
    sequence: _Sequence
    colour: Path
    depth: Path
    stamp_ns: int


def tum_rgbd(root: str | Path, split: str = 'all', *, skip_damaged: bool = False) -> FileDataset:
    """
    Open sequences: ``rgb.txt``, ``depth.txt``, ``groundtruth.txt`` and the images they name.

    A depth image goes with the colour image nearest in time, at most 20 ms away; both are
    undistorted. The pose is the colour camera's, at its time; None in gaps of the truth.

    :param root: A folder of sequences, or one sequence; its name tells the camera (freiburg1).
    :param split: 'all'.
    :raises DatasetError: If a list or the ground truth is missing or damaged.
    """
    chosen('split', split, {'all': None})
    root = existing_folder(root, CURE)
    one = (root / 'rgb.txt').is_file()
    folders = [root] if one else [path for path in folders_in(root, CURE)
                                  if (path / 'rgb.txt').is_file()]
    frames = [frame for folder in folders for frame in _frames(folder)]
    return FileDataset(root, frames, _read, CURE, skip_damaged)


def _frames(folder: Path) -> list[_Frame]:
    found = re.search(r'(?:freiburg|fr)([123])', folder.resolve().name)
    if found is None:
        raise DatasetError(f'{folder}: its name does not tell the camera; keep the name '
                           'rgbd_dataset_freiburg1_...')
    focals, distortion = CAMERAS[found[1]]
    camera = PinholeCamera(SIZE_HW[1], SIZE_HW[0], *focals)
    rectify = Rectifier(camera.matrix, distortion, np.eye(3), camera.matrix, 'plumb_bob', SIZE_HW)
    sequence = _Sequence(folder, rectify, camera, read_trajectory(folder / 'groundtruth.txt'))
    colour, depth = _listed(folder / 'rgb.txt'), _listed(folder / 'depth.txt')
    stamps = [np.array([stamp for stamp, _ in images], np.int64) for images in (colour, depth)]
    return [_Frame(sequence, folder / colour[i][1], folder / depth[k][1], colour[i][0])
            for i, k in zip(*associate(*stamps, MAX_DIFFERENCE_NS))]


def _listed(path: Path) -> list[tuple[int, str]]:
    """Read the lines ``seconds file``, in order of time."""
    try:
        lines = path.read_text(encoding='ascii').splitlines()
        words = [line.split() for line in lines if line.strip() and not line.startswith('#')]
        return sorted((int(Decimal(second) * 10 ** 9), name) for second, name in words)
    except (OSError, UnicodeDecodeError, ValueError, InvalidOperation) as error:
        raise DatasetError(f'{path}: expected lines of a time and a file: {error}; {CURE}') \
            from error


def _read(frame: _Frame) -> DepthSample:
    sequence = frame.sequence
    rectify = sequence.rectify
    depth = read_scaled_png(frame.depth, DEPTH_SCALE)
    depth = cv2.remap(depth, rectify.map_u, rectify.map_v, cv2.INTER_NEAREST,
                      borderValue=float('nan'))
    return DepthSample(rectify(read_image(frame.colour)), depth, sequence.camera,
                       pose_at(sequence.trajectory, frame.stamp_ns), frame.stamp_ns,
                       f'{sequence.folder.name}/{frame.colour.stem}')
