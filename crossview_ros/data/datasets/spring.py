# SPDX-License-Identifier: Apache-2.0
"""Spring: stereo and flow with truth at twice the size of the images."""
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.datasets.dataset import (
    chosen, FileDataset, folders_in, in_validation, without_gaps)
from crossview_ros.data.io import read_image
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.data.truth_files import read_disparity_truth, read_flow_truth
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np

CURE = 'unpack train_frame_*.zip, train_disp1_*.zip, train_flow_*.zip, train_cam_data.zip in it'
VALIDATION = frozenset({'0041'})
BASELINE_M = 0.065
SIDES = ('left', 'right')
TRUTH_SCALE = 2


class _Frame(NamedTuple):
    image1: Path
    image2: Path
    truth: Path
    name: str


def spring_stereo(root: str | Path, split: str = 'train', *, full_truth: bool = False,
                  skip_damaged: bool = False) -> FileDataset:
    """
    Open ``train/SCENE/frame_{left,right}`` with ``disp1_left/*.dsp5`` and ``cam_data``.

    :param split: 'train' (5000), 'subtrain' or 'subval' (scene 0041).
    :param full_truth: Keep the truth at twice the image's size (`truth_scale` 2); otherwise
        every other row and column of it.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    frames = [frame for scene in _scenes(root, split) for frame in _stereo_frames(scene)]
    return FileDataset(Path(root), frames, partial(_read_stereo, full_truth=full_truth), CURE,
                       skip_damaged)


def spring_flow(root: str | Path, split: str = 'train', *, full_truth: bool = False,
                skip_damaged: bool = False) -> FileDataset:
    """
    Open the flow of both cameras, forward and backward: ``flow_{FW,BW}_{left,right}/*.flo5``.

    :param split: 'train' (19,852), 'subtrain' or 'subval' (scene 0041: 380).
    :param full_truth: As for `spring_stereo`.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    frames = [frame for scene in _scenes(root, split) for frame in _flow_frames(scene)]
    return FileDataset(Path(root), frames, partial(_read_flow, full_truth=full_truth), CURE,
                       skip_damaged)


def _scenes(root: str | Path, split: str) -> list[Path]:
    keep = chosen('split', split, in_validation(VALIDATION))
    return [scene for scene in folders_in(Path(root) / 'train', CURE) if keep(scene.name)]


def _stereo_frames(scene: Path) -> Iterator[_Frame]:
    for left in _images(scene, 'left'):
        number = _number(left)
        yield _Frame(left, scene / 'frame_right' / f'frame_right_{number}.png',
                     scene / 'disp1_left' / f'disp1_left_{number}.dsp5',
                     f'{scene.name}/{number}')


def _flow_frames(scene: Path) -> Iterator[_Frame]:
    for side in SIDES:
        images = _images(scene, side)
        for early, late in zip(images, images[1:]):
            yield _flow_frame(early, late, f'flow_FW_{side}')
            yield _flow_frame(late, early, f'flow_BW_{side}')


def _flow_frame(image1: Path, image2: Path, kind: str) -> _Frame:
    scene, number = image1.parent.parent, _number(image1)
    return _Frame(image1, image2, scene / kind / f'{kind}_{number}.flo5',
                  f'{scene.name}/{kind}_{number}')


def _number(image: Path) -> str:
    return image.stem.rsplit('_', 1)[1]


def _images(scene: Path, side: str) -> list[Path]:
    return without_gaps((scene / f'frame_{side}').glob('*.png'), first=1)


def _read_stereo(frame: _Frame, full_truth: bool) -> StereoSample:
    left, right = read_image(frame.image1), read_image(frame.image2)
    sample = StereoSample(left, right, read_disparity_truth(frame.truth, 'spring'),
                          _rig(frame, left.shape[:2]), frame.name, TRUTH_SCALE)
    return sample if full_truth else \
        replace(sample, disparity=sample.disparity[::2, ::2], truth_scale=1)


def _read_flow(frame: _Frame, full_truth: bool) -> FlowSample:
    sample = FlowSample(read_image(frame.image1), read_image(frame.image2),
                        read_flow_truth(frame.truth, 'spring'), frame.name, TRUTH_SCALE)
    return sample if full_truth else replace(sample, flow=sample.flow[::2, ::2], truth_scale=1)


def _rig(frame: _Frame, size_hw: tuple[int, int]) -> StereoRig:
    """Read the line fx, fy, cx, cy of a frame."""
    path = frame.image1.parent.parent / 'cam_data' / 'intrinsics.txt'
    number = int(_number(frame.image1))   # from 1
    try:
        fx, fy, cx, cy = np.loadtxt(path, ndmin=2)[number - 1].tolist()
    except (OSError, ValueError, IndexError) as error:
        raise DatasetError(f'{path}: has no four intrinsics for frame {number}') \
            from error
    camera = PinholeCamera(size_hw[1], size_hw[0], fx, fy, cx, cy)
    return StereoRig(camera, camera, BASELINE_M)
