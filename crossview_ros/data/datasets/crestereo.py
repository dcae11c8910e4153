# SPDX-License-Identifier: Apache-2.0
"""CREStereo's synthetic training set."""
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.folders import read_stereo_sample, SampleFiles

CURE = 'unpack its archives into the folders hole, reflective, shapenet and tree'
PARTS = ('hole', 'reflective', 'shapenet', 'tree')


def crestereo(root: str | Path, split: str = 'train', *, parts: tuple[str, ...] = PARTS,
              skip_damaged: bool = False) -> FileDataset:
    """
    Open ``PART/**/NAME_{left.jpg,right.jpg,left.disp.png}``; the truth is 32 times the disparity.

    :param split: 'train' (200,000).
    :raises DatasetError: If the split is unknown or a part is missing.
    """
    chosen('split', split, {'train': None})
    files = [_files(left, Path(root)) for part in parts
             for left in sorted(existing_folder(Path(root) / part, CURE).rglob('*_left.jpg'))]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def _files(left: Path, root: Path) -> SampleFiles:
    stem = left.name.removesuffix('_left.jpg')
    return SampleFiles(left, left.with_name(f'{stem}_right.jpg'),
                       left.with_name(f'{stem}_left.disp.png'), None, 'png32',
                       (left.parent / stem).relative_to(root).as_posix())
