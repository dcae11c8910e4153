# SPDX-License-Identifier: Apache-2.0
"""FlyingChairs: flow of rendered chairs on photographs."""
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.folders import read_flow_sample, SampleFiles
from crossview_ros.errors import DatasetError

CURE = 'unpack FlyingChairs.zip and put FlyingChairs_train_val.txt in it'
SPLIT_FILE = 'FlyingChairs_train_val.txt'   # a line for each pair: 1 train, 2 validation


def flying_chairs(root: str | Path, split: str = 'train', *,
                  skip_damaged: bool = False) -> FileDataset:
    """
    Open ``data/NNNNN_{img1.ppm,img2.ppm,flow.flo}`` with ``FlyingChairs_train_val.txt``.

    :param root: FlyingChairs_release.
    :param split: 'train' (22,232) or 'val' (640).
    :raises DatasetError: If the split is unknown, or a folder or the list is missing.
    """
    wanted = chosen('split', split, {'train': '1', 'val': '2'})
    folder = existing_folder(Path(root) / 'data', CURE)
    files = [SampleFiles(*(folder / f'{number:05}_{part}'
                           for part in ('img1.ppm', 'img2.ppm', 'flow.flo')),
                         None, 'flo', f'{number:05}')
             for number, kind in enumerate(_kinds(Path(root) / SPLIT_FILE), start=1)
             if kind == wanted]
    return FileDataset(Path(root), files, read_flow_sample, CURE, skip_damaged)


def _kinds(path: Path) -> list[str]:
    try:
        words = path.read_text(encoding='ascii').split()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: cannot be read: {error}; {CURE}') from error
    if not set(words) <= {'1', '2'}:
        raise DatasetError(f'{path}: damaged: expected only 1 and 2 in it; {CURE}')
    return words
