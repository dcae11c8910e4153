# SPDX-License-Identifier: Apache-2.0
"""Images with depth that a list names: the splits of KITTI (Eigen) and NYU."""
from functools import partial
from pathlib import Path
from typing import NamedTuple

from crossview_ros.data.datasets.dataset import chosen, existing_folder, FileDataset
from crossview_ros.data.io import read_image, read_scaled_png
from crossview_ros.data.samples import DepthSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera

CURE = "write 'IMAGE DEPTH FOCAL' in each line of SPLIT.txt: two paths, and the focal length [px]"
NO_DEPTH = 'None'   # of an image without truth, which is left out


class _Frame(NamedTuple):
    image: Path
    depth: Path
    focal_px: float
    name: str


def listed_depth(root: str | Path, split: str = 'train', *, image_root: str | Path | None = None,
                 depth_root: str | Path | None = None, png_scale: float = 256.0,
                 skip_damaged: bool = False) -> FileDataset:
    """
    Open what ``SPLIT.txt`` lists: ``IMAGE DEPTH FOCAL`` in each line, 16-bit PNG of depth.

    The camera's principal point is the middle of the image.

    :param split: Name of the list in root.
    :param image_root: What the paths of images are below; None: root.
    :param depth_root: Likewise, of depth.
    :param png_scale: Value of one metre: KITTI 256, NYU 1000.
    :raises DatasetError: If the list is missing, or a line of it is no such thing.
    """
    root = existing_folder(root, CURE)
    images, depths = (Path(root if path is None else path) for path in (image_root, depth_root))
    listings = {path.stem: path for path in sorted(root.glob('*.txt'))}
    if not listings:
        raise DatasetError(f'{root}: has no list of a split; {CURE}')
    listing = chosen('split', split, listings)
    try:
        lines = listing.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f'{listing}: cannot be read: {error}; {CURE}') from error
    frames = [_frame(f'{listing}:{number}', line.split(), images, depths)
              for number, line in enumerate(lines, start=1) if line.strip()]
    return FileDataset(root, [frame for frame in frames if frame.depth.name != NO_DEPTH],
                       partial(_read, png_scale=png_scale), CURE, skip_damaged)


def _frame(place: str, words: list[str], images: Path, depths: Path) -> _Frame:
    try:
        image, depth, focal_px = words
        return _Frame(images / image.lstrip('/'), depths / depth.lstrip('/'), float(focal_px),
                      str(Path(image.lstrip('/')).with_suffix('')))
    except ValueError as error:
        raise DatasetError(f"{place}: expected 'IMAGE DEPTH FOCAL', got '{' '.join(words)}'; "
                           f'{CURE}') from error


def _read(frame: _Frame, png_scale: float) -> DepthSample:
    image = read_image(frame.image)
    rows, cols = image.shape[:2]
    camera = PinholeCamera(cols, rows, frame.focal_px, frame.focal_px, (cols - 1) / 2,
                           (rows - 1) / 2)
    return DepthSample(image, read_scaled_png(frame.depth, png_scale), camera, name=frame.name)
