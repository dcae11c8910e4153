# SPDX-License-Identifier: Apache-2.0
"""SceneFlow: stereo of FlyingThings3D, Monkaa and Driving, and the flow of FlyingThings3D."""
from collections.abc import Iterator
from pathlib import Path

from crossview_ros.data.datasets.dataset import (
    chosen, existing_folder, FileDataset, without_gaps)
from crossview_ros.data.folders import read_flow_sample, read_stereo_sample, SampleFiles
from crossview_ros.errors import DatasetError

CURE = ('unpack the image passes, disparity and optical_flow archives of each part of SceneFlow '
        'into the folders FlyingThings3D, Monkaa and Driving')
THINGS = 'FlyingThings3D'
PARTS = {'train': (('Driving', ''), ('Monkaa', ''), (THINGS, 'TRAIN')),
         'test': ((THINGS, 'TEST'),)}
SUBVAL_STEP = 100         # every 100th pair of the test part
NUM_TEST1024 = 1024


def sceneflow(root: str | Path, split: str = 'train', *,
              passes: tuple[str, ...] = ('clean', 'final'),
              skip_damaged: bool = False) -> FileDataset:
    """
    Open the stereo pairs: ``PART/frames_{clean,final}pass/.../{left,right}``, ``disparity``.

    No rig: lengths of the rendered scenes are in no unit.

    :param split: 'train' (35,454 a pass), 'test' (4,370) or 'subval' (every 100th of test: 44).
    :param passes: 'clean', 'final', or both one after the other.
    :raises DatasetError: If a name is unknown or a folder is missing.
    """
    parts = chosen('split', split, {**PARTS, 'subval': PARTS['test']})
    step = SUBVAL_STEP if split == 'subval' else 1
    files = []
    for frames in _pass_folders(passes):
        pairs = [pair for part, side in parts
                 for pair in _stereo_files(Path(root) / part, frames, side)]
        files += pairs[::step]
    return FileDataset(Path(root), files, read_stereo_sample, CURE, skip_damaged)


def flying_things_flow(root: str | Path, split: str = 'train', *,
                       passes: tuple[str, ...] = ('clean', 'final'),
                       skip_damaged: bool = False) -> FileDataset:
    """
    Open the flow of FlyingThings3D's left camera, forward and backward in time.

    Layout: ``FlyingThings3D/optical_flow/TRAIN/A/0000/into_{future,past}/left``.

    :param split: 'train' (40,302 a pass), 'test' (7,866) or 'test1024' (evenly chosen of test).
    :param passes: 'clean', 'final', or both one after the other.
    :raises DatasetError: If a name is unknown or a folder is missing.
    """
    side = chosen('split', split, {'train': 'TRAIN', 'test': 'TEST', 'test1024': 'TEST'})
    files = []
    for frames in _pass_folders(passes):
        pairs = list(_flow_files(Path(root) / THINGS, frames, side))
        files += _evenly(pairs, NUM_TEST1024) if split == 'test1024' else pairs
    return FileDataset(Path(root), files, read_flow_sample, CURE, skip_damaged)


def _pass_folders(passes: tuple[str, ...]) -> list[str]:
    if isinstance(passes, str) or not passes:
        raise DatasetError(f"passes must be a list of 'clean' and 'final', got {passes!r}")
    return [chosen('pass', name, {'clean': 'frames_cleanpass', 'final': 'frames_finalpass'})
            for name in passes]


def _stereo_files(part: Path, frames: str, side: str) -> Iterator[SampleFiles]:
    images = existing_folder(part / frames / side, CURE)
    for left in sorted(images.rglob('left/*.png')):
        right = left.parent.parent / 'right' / left.name
        truth = part / 'disparity' / left.relative_to(part / frames).with_suffix('.pfm')
        yield SampleFiles(left, right, truth, None, 'pfm', _name(left, part))


def _flow_files(part: Path, frames: str, side: str) -> Iterator[SampleFiles]:
    images = existing_folder(part / frames / side, CURE)
    for folder in sorted(path for path in images.glob('*/*/left') if path.is_dir()):
        flows = part / 'optical_flow' / folder.parent.relative_to(part / frames)
        ordered = without_gaps(folder.glob('*.png'))
        for first, second in zip(ordered, ordered[1:]):
            yield _flow_pair(first, second, flows, 'Future', part)
            yield _flow_pair(second, first, flows, 'Past', part)


def _flow_pair(image1: Path, image2: Path, flows: Path, time: str, part: Path) -> SampleFiles:
    truth = flows / f'into_{time.lower()}' / 'left' / f'OpticalFlowInto{time}_{image1.stem}_L.pfm'
    return SampleFiles(image1, image2, truth, None, 'pfm', f'{_name(image1, part)}_{time.lower()}')


def _name(image: Path, part: Path) -> str:
    return image.relative_to(part.parent).with_suffix('').as_posix()


def _evenly(items: list[SampleFiles], count: int) -> list[SampleFiles]:
    """Return every n-th item so that `count` remain; all where there are fewer."""
    step = len(items) // count
    return items[:step * count:step] if step else items
