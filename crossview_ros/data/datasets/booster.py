# SPDX-License-Identifier: Apache-2.0
"""Booster: stereo of transparent and reflecting things."""
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, FileDataset, folders_in
from crossview_ros.data.folders import read_stereo_sample, SampleFiles

CURE = 'unpack booster_gt.zip in it'


def booster(root: str | Path, split: str = 'train', *, skip_damaged: bool = False) -> FileDataset:
    """
    Open ``train/balanced/SCENE/{camera_00,camera_02}/*.png`` with ``disp_00.npy``.

    :param split: 'train' (228), 'subtrain' or 'subval' (the last two scenes).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    scenes = folders_in(Path(root) / 'train' / 'balanced', CURE)
    scenes = scenes[chosen('split', split, {'train': slice(None), 'subtrain': slice(-2),
                                            'subval': slice(-2, None)})]
    files = [SampleFiles(left, scene / 'camera_02' / left.name, scene / 'disp_00.npy',
                         scene / 'calib_00-02.xml', 'npy', f'{scene.name}/{left.stem}')
             for scene in scenes for left in sorted((scene / 'camera_00').glob('*.png'))]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)
