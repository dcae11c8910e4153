# SPDX-License-Identifier: Apache-2.0
"""KITTI 2012 and 2015: stereo and flow with sparse truth."""
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.folders import read_flow_sample, read_stereo_sample, SampleFiles

CURE_2012 = 'unpack data_stereo_flow.zip (colour) of KITTI 2012 in it'
CURE_2015 = 'unpack data_scene_flow.zip and data_scene_flow_calib.zip of KITTI 2015 in it'
NUM_VALIDATION = {'stereo': 5, 'flow': 10}   # last scenes of KITTI 2015 (croco.md 8)


def kitti_2012_stereo(root: str | Path, split: str = 'train', *,
                      skip_damaged: bool = False) -> FileDataset:
    """
    Open KITTI 2012 stereo: ``training/{colored_0,colored_1,disp_occ,calib}``.

    :param split: 'train' (194).
    :raises DatasetError: If the split is unknown or the folders are missing.
    """
    chosen('split', split, {'train': None})
    folder = existing_folder(Path(root) / 'training' / 'colored_0', CURE_2012).parent
    files = [SampleFiles(folder / 'colored_0' / f'{number}_10.png',
                         folder / 'colored_1' / f'{number}_10.png',
                         folder / 'disp_occ' / f'{number}_10.png',
                         folder / 'calib' / f'{number}.txt', 'kitti', number)
             for number in _numbers(folder / 'colored_0')]
    return FileDataset(Path(root), files, read_stereo_sample, CURE_2012, skip_damaged)


def kitti_2012_flow(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open KITTI 2012 flow: ``training/{colored_0,flow_occ}``.

    :param split: 'train' (194).
    :raises DatasetError: If the split is unknown or the folders are missing.
    """
    chosen('split', split, {'train': None})
    folder = existing_folder(Path(root) / 'training' / 'colored_0', CURE_2012).parent
    files = [_flow_files(folder, 'colored_0', number)
             for number in _numbers(folder / 'colored_0')]
    return FileDataset(Path(root), files, read_flow_sample, CURE_2012, skip_damaged)


def kitti_2015_stereo(root: str | Path, split: str = 'train', *,
                      skip_damaged: bool = False) -> FileDataset:
    """
    Open KITTI 2015 stereo: ``training/{image_2,image_3,disp_occ_0,calib_cam_to_cam}``.

    The rig is read where the calibration, a download of its own, is there.

    :param split: 'train' (200), 'subtrain' (195) or 'subval' (the last 5).
    :raises DatasetError: If the split is unknown or the folders are missing.
    """
    folder = existing_folder(Path(root) / 'training' / 'image_2', CURE_2015).parent
    calibrations = folder / 'calib_cam_to_cam'
    files = [SampleFiles(folder / 'image_2' / f'{number}_10.png',
                         folder / 'image_3' / f'{number}_10.png',
                         folder / 'disp_occ_0' / f'{number}_10.png',
                         calibrations / f'{number}.txt' if calibrations.is_dir() else None,
                         'kitti', number)
             for number in _split(_numbers(folder / 'image_2'), split, 'stereo')]
    return FileDataset(Path(root), files, read_stereo_sample, CURE_2015, skip_damaged)


def kitti_2015_flow(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open KITTI 2015 flow: ``training/{image_2,flow_occ}``.

    :param split: 'train' (200), 'subtrain' (190) or 'subval' (the last 10).
    :raises DatasetError: If the split is unknown or the folders are missing.
    """
    folder = existing_folder(Path(root) / 'training' / 'image_2', CURE_2015).parent
    files = [_flow_files(folder, 'image_2', number)
             for number in _split(_numbers(folder / 'image_2'), split, 'flow')]
    return FileDataset(Path(root), files, read_flow_sample, CURE_2015, skip_damaged)


def _numbers(folder: Path) -> list[str]:
    return sorted(path.stem.removesuffix('_10') for path in folder.glob('*_10.png'))


def _split(numbers: list[str], split: str, task: str) -> list[str]:
    last = max(len(numbers) - NUM_VALIDATION[task], 0)
    return numbers[chosen('split', split, {'train': slice(None), 'subtrain': slice(last),
                                           'subval': slice(last, None)})]


def _flow_files(folder: Path, images: str, number: str) -> SampleFiles:
    return SampleFiles(folder / images / f'{number}_10.png', folder / images / f'{number}_11.png',
                       folder / 'flow_occ' / f'{number}_10.png', None, 'kitti', number)
