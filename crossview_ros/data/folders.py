# SPDX-License-Identifier: Apache-2.0
"""Find the samples with truth in a folder: one sample, a folder of samples, or KITTI 2015."""
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from crossview_ros.data.calibration_files import read_rig
from crossview_ros.data.io import read_image
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.data.truth_files import read_disparity_truth, read_flow_truth
from crossview_ros.errors import DatasetError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.ppm')


@dataclass(frozen=True)
class SampleFiles:
    """Where the parts of one sample are."""

    image1: Path                     # left, or the earlier image
    image2: Path                     # right, or the later image
    truth: Path
    calibration: Path | None = None
    truth_format: str = 'auto'
    name: str = ''


def find_samples(task: str, path: str | Path) -> list[SampleFiles]:
    """
    Find every sample of a folder.

    :param task: 'stereo' or 'flow'.
    :return: At least one, in the order of their names.
    :raises DatasetError: If the folder is missing, or is of none of the known layouts.
    """
    folder = Path(path)
    if not folder.is_dir():
        raise DatasetError(f'{folder}: is no folder; a single pair is given by its files')
    for layout in LAYOUTS.values():
        found = list(layout(task, folder))
        if found:
            return found
    image1, image2, truth, _ = SAMPLE_FILES[task][0]
    raise DatasetError(f'{folder}: no {task} sample found; expected {image1}.png, {image2}.png '
                       f'and {truth} in it or in its folders, or the layout of KITTI 2015 '
                       f'(training/{KITTI_FILES[task][2]})')


def read_stereo_sample(files: SampleFiles) -> StereoSample:
    """
    Read a rectified pair with its truth, and its rig where the calibration has all of it.

    :raises DatasetError: If a file is missing or damaged, or their sizes differ.
    :raises CalibrationError: If the calibration makes no rectified pair.
    """
    left = read_image(files.image1)
    truth = read_disparity_truth(files.truth, files.truth_format)
    rig = files.calibration and read_rig(files.calibration, left.shape[:2])
    return _built(StereoSample, files, left, read_image(files.image2), truth, rig)


def read_flow_sample(files: SampleFiles) -> FlowSample:
    """
    Read two images with the flow from the first to the second.

    :raises DatasetError: If a file is missing or damaged, or their sizes differ.
    """
    return _built(FlowSample, files, read_image(files.image1), read_image(files.image2),
                  read_flow_truth(files.truth, files.truth_format))


def _built(kind: type, files: SampleFiles, *parts: object) -> StereoSample | FlowSample:
    try:
        return kind(*parts, name=files.name)
    except DatasetError as error:
        raise DatasetError(f'{files.truth} and its images do not belong together: {error}') \
            from error


# task -> the names that a sample's files may have: images without suffix, truth, calibration
SAMPLE_FILES = {
    'stereo': (('left', 'right', 'disp_gt.pfm', 'calib.json'),
               ('left', 'right', 'disp_gt.png', 'calib.json'),
               ('im0', 'im1', 'disp0.pfm', 'calib.txt'),       # Middlebury 2014
               ('im0', 'im1', 'disp0GT.pfm', 'calib.txt')),    # ETH3D
    'flow': (('frame1', 'frame2', 'flow_gt.flo', None),
             ('frame1', 'frame2', 'flow_gt.png', None),
             ('frame10', 'frame11', 'flow10.flo', None)),      # Middlebury flow
}
# task -> folder of the second image, suffix of its name, folder of the truth, in KITTI 2015
KITTI_FILES = {'stereo': ('image_3', '10', 'disp_occ_0'), 'flow': ('image_2', '11', 'flow_occ')}


def _one_sample(task: str, folder: Path) -> Iterator[SampleFiles]:
    for name1, name2, truth, calibration in SAMPLE_FILES[task]:
        image1, image2 = _image(folder, name1), _image(folder, name2)
        if image1 and image2 and (folder / truth).is_file():
            rig = folder / calibration if calibration else None
            yield SampleFiles(image1, image2, folder / truth,
                              rig if rig and rig.is_file() else None,
                              name=folder.resolve().name)
            return


def _sample_folders(task: str, folder: Path) -> Iterator[SampleFiles]:
    for child in sorted(folder.iterdir()):
        if child.is_dir():
            yield from _one_sample(task, child)


def _kitti_2015(task: str, folder: Path) -> Iterator[SampleFiles]:
    root = folder / 'training' if (folder / 'training').is_dir() else folder
    images2, suffix2, truths = KITTI_FILES[task]
    for truth in sorted((root / truths).glob('*_10.png')):
        number = truth.stem.removesuffix('_10')
        rig = root / 'calib_cam_to_cam' / f'{number}.txt'
        yield SampleFiles(root / 'image_2' / truth.name,
                          root / images2 / f'{number}_{suffix2}.png', truth,
                          rig if task == 'stereo' and rig.is_file() else None, 'kitti', number)


# layout -> finder; the first that finds something decides
LAYOUTS: dict[str, Callable[[str, Path], Iterator[SampleFiles]]] = {
    'sample': _one_sample, 'samples': _sample_folders, 'kitti_2015': _kitti_2015}


def _image(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / f'{name}{suffix}' for suffix in IMAGE_SUFFIXES)
                 if path.is_file()), None)
