# SPDX-License-Identifier: Apache-2.0
"""ETH3D's low-resolution two-view stereo."""
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, FileDataset, folders_in, in_validation
from crossview_ros.data.folders import read_stereo_sample, SampleFiles

CURE = ('unpack two_view_training.7z and two_view_training_gt.7z of https://www.eth3d.net into '
        'folders of these names')
VALIDATION = frozenset({'delivery_area_3s', 'electro_3l', 'playground_3l'})


def eth3d(root: str | Path, split: str = 'train', *, skip_damaged: bool = False) -> FileDataset:
    """
    Open ``two_view_training/SCENE/{im0.png,im1.png,calib.txt}`` with ``disp0GT.pfm``.

    The truth may lie beside the images or in ``two_view_training_gt/SCENE``.

    :param split: 'train' (27), 'subtrain' (24) or 'subval' (3).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    keep = chosen('split', split, in_validation(VALIDATION))
    files = [SampleFiles(scene / 'im0.png', scene / 'im1.png', _truth(scene),
                         scene / 'calib.txt', 'pfm', scene.name)
             for scene in folders_in(Path(root) / 'two_view_training', CURE) if keep(scene.name)]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def _truth(scene: Path) -> Path:
    beside = scene / 'disp0GT.pfm'
    apart = scene.parent.parent / 'two_view_training_gt' / scene.name / beside.name
    return beside if beside.is_file() else apart
