# SPDX-License-Identifier: Apache-2.0
"""MPI Sintel: flow, and stereo."""
from collections.abc import Callable
from pathlib import Path

from crossview_ros.data.datasets.dataset import (
    chosen, FileDataset, folders_in, in_validation, without_gaps)
from crossview_ros.data.folders import read_flow_sample, read_stereo_sample, SampleFiles

CURE = 'unpack MPI-Sintel-complete.zip or MPI-Sintel-stereo-training.zip in it'
VALIDATION = frozenset({'temple_2', 'temple_3'})
PASSES = ('clean', 'final')


def sintel_flow(root: str | Path, split: str = 'train', *, passes: tuple[str, ...] = PASSES,
                skip_damaged: bool = False) -> FileDataset:
    """
    Open ``training/{clean,final}/SCENE/frame_*.png`` with ``training/flow/SCENE/frame_*.flo``.

    :param split: 'train' (1041 a pass), 'subtrain' (943) or 'subval' (temple_2, temple_3: 98).
    :param passes: 'clean', 'final', or both one after the other.
    :raises DatasetError: If a name is unknown or a folder is missing.
    """
    return FileDataset(Path(root), _per_scene(root, split, passes, '', _flow_files),
                       read_flow_sample, CURE, skip_damaged)


def sintel_stereo(root: str | Path, split: str = 'train', *, passes: tuple[str, ...] = PASSES,
                  skip_damaged: bool = False) -> FileDataset:
    """
    Open ``training/{clean,final}_{left,right}/SCENE/frame_*.png`` with ``training/disparities``.

    :param split: 'train' (1064 a pass), 'subtrain' or 'subval' (temple_2, temple_3).
    :param passes: 'clean', 'final', or both one after the other.
    :raises DatasetError: If a name is unknown or a folder is missing.
    """
    return FileDataset(Path(root), _per_scene(root, split, passes, '_left', _stereo_files),
                       read_stereo_sample, CURE, skip_damaged)


def _per_scene(root: str | Path, split: str, passes: tuple[str, ...], suffix: str,
               files_of: Callable[[Path], list[SampleFiles]]) -> list[SampleFiles]:
    keep = chosen('split', split, in_validation(VALIDATION))
    folders = [Path(root) / 'training' / (chosen('pass', name, dict.fromkeys(PASSES, name))
                                          + suffix) for name in passes]
    return [files for folder in folders for scene in folders_in(folder, CURE)
            if keep(scene.name) for files in files_of(scene)]


def _flow_files(scene: Path) -> list[SampleFiles]:
    flows = scene.parent.parent / 'flow' / scene.name
    images = without_gaps(scene.glob('frame_*.png'), first=1)
    return [SampleFiles(image1, image2, flows / f'{image1.stem}.flo', None, 'flo', _name(image1))
            for image1, image2 in zip(images, images[1:])]


def _stereo_files(scene: Path) -> list[SampleFiles]:
    rights = scene.parent.with_name(scene.parent.name.replace('_left', '_right')) / scene.name
    truths = scene.parent.parent / 'disparities' / scene.name
    return [SampleFiles(left, rights / left.name, truths / left.name, None, 'sintel', _name(left))
            for left in without_gaps(scene.glob('frame_*.png'), first=1)]


def _name(image: Path) -> str:
    return '/'.join((*image.parts[-3:-1], image.stem))
