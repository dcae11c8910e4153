# SPDX-License-Identifier: Apache-2.0
"""KITTI depth: images of the raw drives with accumulated LiDAR depth."""
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.calibration_files import read_matrices
from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset, folders_in
from crossview_ros.data.io import read_image, read_scaled_png
from crossview_ros.data.samples import DepthSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
import numpy as np

CURE = 'unpack data_depth_annotated.zip or data_depth_selection.zip of KITTI depth in it'
CURE_RAW = 'unpack the drives of KITTI raw too and name their folder as raw_root'
IMAGES = ('image_02', 'image_03')


class _Frame(NamedTuple):
    image: Path
    depth: Path
    calibration: Path   # calib_cam_to_cam.txt, or nine numbers of K
    name: str


def kitti_depth(root: str | Path, split: str = 'train', *, raw_root: str | Path | None = None,
                skip_damaged: bool = False) -> FileDataset:
    """
    Open ``{train,val}/DRIVE/proj_depth/groundtruth/image_0{2,3}`` or the published selection.

    :param split: 'train' or 'val', whose images are KITTI raw's; or 'selection':
        ``depth_selection/val_selection_cropped/{image,groundtruth_depth,intrinsics}``.
    :param raw_root: Of KITTI raw: ``DATE/DRIVE/image_0{2,3}/data``; None: root.
    :raises DatasetError: If the split is unknown or a folder is missing.
    """
    frames_of = chosen('split', split, {
        'train': partial(_drive_frames, split='train'), 'val': partial(_drive_frames, split='val'),
        'selection': _selected_frames})
    frames = frames_of(Path(root), Path(root if raw_root is None else raw_root))
    return FileDataset(Path(root), frames, _read, f'{CURE}; {CURE_RAW}', skip_damaged)


def _drive_frames(root: Path, raw_root: Path, split: str) -> list[_Frame]:
    frames = []
    for drive in folders_in(root / split, CURE):
        date = raw_root / drive.name[:10]   # 2011_09_26_drive_0001_sync
        for camera in IMAGES:
            truths = (drive / 'proj_depth' / 'groundtruth' / camera).glob('*.png')
            frames += [_Frame(date / drive.name / camera / 'data' / truth.name, truth,
                              date / 'calib_cam_to_cam.txt', f'{drive.name}/{camera}/{truth.stem}')
                       for truth in sorted(truths)]
    return frames


def _selected_frames(root: Path, _: Path) -> list[_Frame]:
    folder = root / 'depth_selection' / 'val_selection_cropped'
    images = sorted(existing_folder(folder / 'image', CURE).glob('*.png'))
    return [_Frame(image, folder / 'groundtruth_depth' /
                   image.name.replace('_sync_image_', '_sync_groundtruth_depth_'),
                   folder / 'intrinsics' / f'{image.stem}.txt', image.stem) for image in images]


def _read(frame: _Frame) -> DepthSample:
    image = read_image(frame.image)
    k = _selected_k(frame) if frame.calibration.stem == frame.image.stem else _raw_k(frame)
    camera = PinholeCamera(image.shape[1], image.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    return DepthSample(image, read_scaled_png(frame.depth), camera, name=frame.name)


def _raw_k(frame: _Frame) -> np.ndarray:
    name = f'P_rect_{frame.image.parent.parent.name[-2:]}'
    values = read_matrices(frame.calibration).get(name)
    if values is None or values.size != 12:
        raise DatasetError(f"{frame.calibration}: has no 12 numbers in a line '{name}:'")
    return values.reshape(3, 4)


def _selected_k(frame: _Frame) -> np.ndarray:
    try:
        return np.loadtxt(frame.calibration).reshape(3, 3)
    except (OSError, ValueError) as error:
        raise DatasetError(f'{frame.calibration}: has no nine intrinsics: {error}') from error
