# SPDX-License-Identifier: Apache-2.0
"""Pairs of views for cross-view completion: Habitat's folders, and crops of real images."""
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.io import read_image
from crossview_ros.data.samples import PairSample
from crossview_ros.errors import DatasetError

CURE_HABITAT = 'render pairs into it as NNNNNNNN_1.jpeg and NNNNNNNN_2.jpeg'
CURE_LISTED = 'write the crops as PATH_1.jpg, PATH_2.jpg and each PATH in listing.txt'
VALIDATION = 'val'   # in a path: HM3D's val and minival scenes (croco.md 7)


class _Pair(NamedTuple):
    target: Path
    reference: Path
    name: str


def habitat_pairs(root: str | Path, split: str = 'train', *, skip_damaged: bool = False
                  ) -> FileDataset:
    """
    Open ``**/NNNNNNNN_{1,2}.jpeg``; ``pairs.txt`` in root, where it is, saves the search.

    A line of pairs.txt is the path of a pair below root, with or without ``_1.jpeg``. The first
    image is the target.

    :param split: 'train', or 'val': the paths that contain "val".
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    wanted = chosen('split', split, {'train': False, 'val': True})
    root = existing_folder(root, CURE_HABITAT)
    listing = root / 'pairs.txt'
    names = _listed(listing, '_1.jpeg') if listing.is_file() else sorted(
        path.relative_to(root).as_posix().removesuffix('_1.jpeg')
        for path in root.rglob('*_1.jpeg'))
    pairs = [_pair(root, name, 'jpeg') for name in names if (VALIDATION in name) == wanted]
    return FileDataset(root, pairs, _read, CURE_HABITAT, skip_damaged)


def listed_pairs(root: str | Path, split: str = 'train', *, skip_damaged: bool = False
                 ) -> FileDataset:
    """
    Open crops of real images: ``listing.txt`` names each PATH of ``PATH_1.jpg, PATH_2.jpg``.

    :param split: 'train'.
    :raises DatasetError: If the split is unknown or the list is missing or empty.
    """
    chosen('split', split, {'train': None})
    root = existing_folder(root, CURE_LISTED)
    pairs = [_pair(root, name, 'jpg') for name in _listed(root / 'listing.txt', '_1.jpg')]
    return FileDataset(root, pairs, _read, CURE_LISTED, skip_damaged)


def _listed(path: Path, suffix: str) -> list[str]:
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{path}: cannot be read: {error}; {CURE_LISTED}') from error
    return [line.strip().removesuffix(suffix) for line in lines if line.strip()]


def _pair(root: Path, name: str, suffix: str) -> _Pair:
    return _Pair(root / f'{name}_1.{suffix}', root / f'{name}_2.{suffix}', name)


def _read(pair: _Pair) -> PairSample:
    return PairSample(read_image(pair.target), read_image(pair.reference), pair.name)
