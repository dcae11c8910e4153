# SPDX-License-Identifier: Apache-2.0
"""TartanAir: flow, stereo and depth of a camera that flies through rendered worlds."""
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.datasets.dataset import (
    chosen, existing_folder, FileDataset, without_gaps)
from crossview_ros.data.folders import read_flow_sample, SampleFiles
from crossview_ros.data.io import read_image, read_npy
from crossview_ros.data.samples import DepthSample, StereoSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.se3 import make_transform, rotation_from_quat_xyzw
from crossview_ros.geometry.stereo import depth_to_disparity
import numpy as np

CURE = 'unpack the image, depth and flow archives of the worlds in it'
CAMERA = PinholeCamera(640, 480, 320.0, 320.0, 320.0, 240.0)
RIG = StereoRig(CAMERA, CAMERA, 0.25)
# optical axes (x right, y down, z forward) in the body's, x forward, y right, z down (NED)
T_BODY_OPTICAL = make_transform(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]), np.zeros(3))


class _Frame(NamedTuple):
    trajectory: Path   # WORLD/.../P000
    stem: str          # 000000
    position: int


def tartanair_flow(root: str | Path, split: str = 'all', *, skip_damaged: bool = False
                   ) -> FileDataset:
    """
    Open ``**/P*/image_left`` with ``flow/NNNNNN_MMMMMM_flow.npy``, frame to next frame.

    :param split: 'all', or 'easy' or 'hard' trajectories.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    files = [files for trajectory in _trajectories(root, split)
             for files in _flow_files(trajectory)]
    return FileDataset(Path(root), files, read_flow_sample, CURE, skip_damaged)


def tartanair_stereo(root: str | Path, split: str = 'all', *, skip_damaged: bool = False
                     ) -> FileDataset:
    """
    Open ``**/P*/{image_left,image_right,depth_left}``; the disparity is fx * baseline / depth.

    :param split: As for `tartanair_flow`.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    return FileDataset(Path(root), _frames(root, split), _read_stereo, CURE, skip_damaged)


def tartanair_depth(root: str | Path, split: str = 'all', *, skip_damaged: bool = False
                    ) -> FileDataset:
    """
    Open ``**/P*/{image_left,depth_left,pose_left.txt}``; the world's axes are NED.

    :param split: As for `tartanair_flow`.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    return FileDataset(Path(root), _frames(root, split), _read_depth, CURE, skip_damaged)


def _trajectories(root: str | Path, split: str) -> list[Path]:
    folder = chosen('split', split, {'all': None, 'easy': 'Easy', 'hard': 'Hard'})
    found = existing_folder(root, CURE).rglob('P[0-9]*/image_left')
    return sorted(path.parent for path in found
                  if folder is None or folder in path.relative_to(root).parts)


def _frames(root: str | Path, split: str) -> list[_Frame]:
    return [_Frame(trajectory, left.stem.removesuffix('_left'), position)
            for trajectory in _trajectories(root, split)
            for position, left in enumerate(_lefts(trajectory))]


def _lefts(trajectory: Path) -> list[Path]:
    return without_gaps((trajectory / 'image_left').glob('*_left.png'), first=0)


def _flow_files(trajectory: Path) -> Iterator[SampleFiles]:
    lefts = _lefts(trajectory)
    for image1, image2 in zip(lefts, lefts[1:]):
        numbers = '_'.join(image.stem.removesuffix('_left') for image in (image1, image2))
        yield SampleFiles(image1, image2, trajectory / 'flow' / f'{numbers}_flow.npy', None,
                          'npy', '/'.join((*trajectory.parts[-3:], numbers)))


def _read_stereo(frame: _Frame) -> StereoSample:
    return StereoSample(_image(frame, 'left'), _image(frame, 'right'),
                        depth_to_disparity(_depth(frame), RIG), RIG, _name(frame))


def _read_depth(frame: _Frame) -> DepthSample:
    return DepthSample(_image(frame, 'left'), _depth(frame), CAMERA, _pose(frame),
                       name=_name(frame))


def _image(frame: _Frame, side: str) -> np.ndarray:
    return read_image(frame.trajectory / f'image_{side}' / f'{frame.stem}_{side}.png')


def _depth(frame: _Frame) -> np.ndarray:
    depth = read_npy(frame.trajectory / 'depth_left' / f'{frame.stem}_left_depth.npy')
    return np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))


def _pose(frame: _Frame) -> np.ndarray:
    path = frame.trajectory / 'pose_left.txt'   # tx ty tz qx qy qz qw
    try:
        pose = np.loadtxt(path, ndmin=2)[frame.position]
        T_world_body = make_transform(rotation_from_quat_xyzw(pose[3:]), pose[:3])
    except (OSError, ValueError, IndexError) as error:
        raise DatasetError(f'{path}: has no pose of frame {frame.stem}: {error}') from error
    return T_world_body @ T_BODY_OPTICAL


def _name(frame: _Frame) -> str:
    return '/'.join((*frame.trajectory.parts[-3:], frame.stem))
