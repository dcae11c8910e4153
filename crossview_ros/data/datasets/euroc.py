# SPDX-License-Identifier: Apache-2.0
"""EuRoC MAV: raw stereo images of a flying camera, rectified here, with its poses."""
from pathlib import Path
from typing import NamedTuple

from crossview_ros.config import load_yaml
from crossview_ros.data.calibration_files import rig_from_projections
from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.datasets.poses import pose_at
from crossview_ros.data.io import read_image
from crossview_ros.data.samples import FrameSample
from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.geometry.se3 import compose, invert, make_transform
from crossview_ros.geometry.trajectory import Trajectory
import cv2
import numpy as np

CURE = 'unpack the ASL archive of the sequence (SEQUENCE/mav0) in it'
TRUTH = 'state_groundtruth_estimate0'


class _Camera(NamedTuple):
    k: np.ndarray            # (3, 3) [px]
    d: np.ndarray            # (4,) radial-tangential
    size_hw: tuple[int, int]
    T_body_camera: np.ndarray


class _Sequence(NamedTuple):
    folder: Path
    rectifiers: tuple[Rectifier, Rectifier]
    rig: StereoRig
    T_body_left: np.ndarray        # of the rectified left camera
    trajectory: Trajectory | None


class _Frame(NamedTuple):
    sequence: _Sequence
    file: str
    stamp_ns: int


def euroc(root: str | Path, split: str = 'all', *, skip_damaged: bool = False) -> FileDataset:
    """
    Open sequences: ``SEQUENCE/mav0/{cam0,cam1}/{data,data.csv,sensor.yaml}`` and the truth.

    Frames that one camera lacks are left out. The pose is that of the rectified left camera,
    None where `state_groundtruth_estimate0` has none.

    :param root: A folder of sequences, or one sequence.
    :param split: 'all'.
    :raises DatasetError: If a list or a calibration is missing or damaged.
    """
    chosen('split', split, {'all': None})
    root = existing_folder(root, CURE)
    sequences = [root / 'mav0'] if (root / 'mav0').is_dir() else sorted(root.glob('*/mav0'))
    frames = [frame for folder in sequences for frame in _frames(folder)]
    return FileDataset(root, frames, _read, CURE, skip_damaged)


def _frames(folder: Path) -> list[_Frame]:
    sequence = _sequence(folder)
    left, right = (_listed(folder / name / 'data.csv') for name in ('cam0', 'cam1'))
    return [_Frame(sequence, left[stamp_ns], stamp_ns)
            for stamp_ns in sorted(left.keys() & right.keys())]


def _sequence(folder: Path) -> _Sequence:
    left, right = (_camera(folder / name / 'sensor.yaml') for name in ('cam0', 'cam1'))
    T_right_left = invert(right.T_body_camera) @ left.T_body_camera
    turn_left, turn_right, p_left, p_right, *_ = cv2.stereoRectify(
        left.k, left.d, right.k, right.d, left.size_hw[::-1], T_right_left[:3, :3],
        T_right_left[:3, 3:], flags=cv2.CALIB_ZERO_DISPARITY, alpha=0)
    rectifiers = tuple(Rectifier(camera.k, camera.d, turn, p, 'plumb_bob', camera.size_hw)
                       for camera, turn, p in ((left, turn_left, p_left),
                                               (right, turn_right, p_right)))
    truth = folder / TRUTH / 'data.csv'
    return _Sequence(folder, rectifiers, rig_from_projections(p_left, p_right, left.size_hw),
                     compose(left.T_body_camera, make_transform(turn_left.T, np.zeros(3))),
                     read_trajectory(truth) if truth.is_file() else None)


def _camera(path: Path) -> _Camera:
    try:
        values = load_yaml(path)
        fx, fy, cx, cy = values['intrinsics']
        width, height = values['resolution']
        T_body_camera = np.array(values['T_BS']['data'], np.float64).reshape(4, 4)
        d = np.array(values['distortion_coefficients'], np.float64)
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise DatasetError(f'{path}: is no sensor.yaml of a EuRoC camera: {error}; {CURE}') \
            from error
    return _Camera(np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64), d,
                   (height, width), T_body_camera)


def _listed(path: Path) -> dict[int, str]:
    """Read the lines ``stamp [ns],file``."""
    try:
        lines = path.read_text(encoding='ascii').splitlines()
        words = [line.split(',') for line in lines if line.strip() and not line.startswith('#')]
        return {int(stamp): name.strip() for stamp, name in words}
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DatasetError(f'{path}: expected lines of a stamp and a file: {error}; {CURE}') \
            from error


def _read(frame: _Frame) -> FrameSample:
    sequence = frame.sequence
    left, right = (rectify(read_image(sequence.folder / name / 'data' / frame.file))
                   for rectify, name in zip(sequence.rectifiers, ('cam0', 'cam1')))
    T_world_body = sequence.trajectory and pose_at(sequence.trajectory, frame.stamp_ns)
    pose = None if T_world_body is None else T_world_body @ sequence.T_body_left
    return FrameSample(left, right, sequence.rig, frame.stamp_ns, None, pose,
                       f'{sequence.folder.parent.name}/{frame.stamp_ns}')
