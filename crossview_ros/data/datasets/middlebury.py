# SPDX-License-Identifier: Apache-2.0
"""Middlebury stereo 2005, 2006, 2014, 2021 and the third evaluation set."""
from collections.abc import Iterator
from pathlib import Path

from crossview_ros.data.datasets.dataset import (
    chosen, existing_folder, FileDataset, folders_in, in_validation)
from crossview_ros.data.folders import read_stereo_sample, SampleFiles

CURE = 'unpack its zip files from https://vision.middlebury.edu/stereo/data in it'
VALIDATION = {'2005': frozenset({'Reindeer'}), '2006': frozenset({'Rocks1', 'Wood2'}),
              '2014': frozenset({'Umbrella-imperfect', 'Vintage-perfect'})}
RIGHT_IMAGES_2014 = ('im1', 'im1E', 'im1L')   # as the left, other exposure, other lighting


def middlebury_2005(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open Middlebury 2005 at full size: ``SCENE/Illum*/Exp*/view{1,5}.png``, ``SCENE/disp1.png``.

    No rig: the data set leaves the principal points open.

    :param split: 'train' (54), 'subtrain' (45) or 'subval' (Reindeer).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    return _lit_scenes(root, '2005', split, skip_damaged)


def middlebury_2006(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open Middlebury 2006 at full size, laid out as 2005.

    :param split: 'train' (189), 'subtrain' (171) or 'subval' (Rocks1, Wood2).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    return _lit_scenes(root, '2006', split, skip_damaged)


def middlebury_2014(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open Middlebury 2014: ``SCENE-{perfect,imperfect}/{im0,im1,im1E,im1L}.png, disp0.pfm``.

    :param split: 'train' (138), 'subtrain' (132) or 'subval' (6).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    keep = chosen('split', split, in_validation(VALIDATION['2014']))
    files = [_scene_files(scene, scene / 'im0.png', scene / f'{right}.png')
             for scene in folders_in(Path(root), CURE) if keep(scene.name)
             for right in RIGHT_IMAGES_2014]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def middlebury_2021(root: str | Path, split: str = 'train', *,
                    skip_damaged: bool = False) -> FileDataset:
    """
    Open Middlebury 2021: ``data/SCENE/ambient/*/{im0,im1}e*.png``, ``disp0.pfm``, ``calib.txt``.

    :param split: 'train' (355), 'subtrain' (335) or 'subval' (the last two scenes).
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    scenes = folders_in(Path(root) / 'data', CURE)
    files = [_scene_files(scene, left, left.with_name(left.name.replace('im0', 'im1', 1)))
             for scene in _last(scenes, 2, split)
             for left in sorted(scene.glob('ambient/*/im0*.png'))]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def middlebury_eval3(root: str | Path, split: str = 'train', *, resolution: str = 'F',
                     skip_damaged: bool = False) -> FileDataset:
    """
    Open the third evaluation set: ``training{F,H,Q}/SCENE/{im0.png,im1.png,disp0GT.pfm}``.

    :param split: 'train' (15), 'subtrain' (14) or 'subval' (the last scene).
    :param resolution: 'F' full, 'H' half, 'Q' quarter.
    :raises DatasetError: If the split is unknown or the folder is missing or empty.
    """
    chosen('resolution', resolution, {'F': 1, 'H': 2, 'Q': 4})
    scenes = folders_in(Path(root) / f'training{resolution}', CURE)
    files = [_scene_files(scene, scene / 'im0.png', scene / 'im1.png', 'disp0GT.pfm')
             for scene in _last(scenes, 1, split)]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def _lit_scenes(root: str | Path, year: str, split: str, skip_damaged: bool) -> FileDataset:
    keep = chosen('split', split, in_validation(VALIDATION[year]))
    scenes = [scene for scene in folders_in(Path(root), CURE) if keep(scene.name)]
    files = [files for scene in scenes for files in _lights(scene)]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def _lights(scene: Path) -> Iterator[SampleFiles]:
    """Yield the pair of each lighting and exposure; they share the truth of view 1."""
    for left in sorted(existing_folder(scene, CURE).glob('Illum*/Exp*/view1.png')):
        yield SampleFiles(left, left.with_name('view5.png'), scene / 'disp1.png', None, 'png8',
                          left.parent.relative_to(scene.parent).as_posix())


def _scene_files(scene: Path, left: Path, right: Path, truth: str = 'disp0.pfm') -> SampleFiles:
    name = f'{scene.name}/{right.relative_to(scene).with_suffix("").as_posix()}'
    return SampleFiles(left, right, scene / truth, scene / 'calib.txt', 'pfm', name)


def _last(scenes: list[Path], count: int, split: str) -> list[Path]:
    """Return the scenes of a split whose validation part is the last ones."""
    return scenes[chosen('split', split, {'train': slice(None), 'subtrain': slice(-count),
                                          'subval': slice(-count, None)})]
