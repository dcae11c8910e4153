# SPDX-License-Identifier: Apache-2.0
"""NYU Depth v2: the 1449 labelled images of indoor scenes."""
from functools import partial
from pathlib import Path

from crossview_ros.data.datasets.dataset import chosen, FileDataset
from crossview_ros.data.io import open_hdf5
from crossview_ros.data.samples import DepthSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
import numpy as np

CURE = 'put nyu_depth_v2_labeled.mat and splits.mat in it'
# the colour camera, of which the depth is a projection (camera_params.m of the toolbox)
CAMERA = PinholeCamera(640, 480, 518.85790117450188, 519.46961112127485, 325.58244941119034,
                       253.73616633400465)


def nyuv2(root: str | Path, split: str = 'train', *, filled: bool = True,
          skip_damaged: bool = False) -> FileDataset:
    """
    Open ``nyu_depth_v2_labeled.mat`` (MATLAB 7.3, needs h5py) and ``splits.mat`` (needs scipy).

    The images' white border stays; benchmarks crop it.

    :param split: 'train' (795), 'test' (654) or 'all' (without splits.mat).
    :param filled: Depth with its holes filled in, as benchmarks use; otherwise as measured.
    :raises DatasetError: If the split is unknown, a file is missing or damaged, or a package is
        not installed.
    """
    variable = chosen('split', split, {'train': 'trainNdxs', 'test': 'testNdxs', 'all': None})
    path = Path(root) / 'nyu_depth_v2_labeled.mat'
    count = _count(path)
    indices = list(range(count)) if variable is None else \
        _indices(Path(root) / 'splits.mat', variable, count)
    read = partial(_read, path=path, depths='depths' if filled else 'rawDepths')
    return FileDataset(Path(root), indices, read, CURE, skip_damaged)


def _count(path: Path) -> int:
    if not path.is_file():
        raise DatasetError(f'{path}: no such file; {CURE}')
    try:
        with open_hdf5(path) as file:
            return len(file['images'])
    except (OSError, KeyError) as error:
        raise DatasetError(f'{path}: damaged: {error}; {CURE}') from error


def _indices(path: Path, variable: str, count: int) -> list[int]:
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError as error:
        raise DatasetError('splits.mat needs the package scipy: pip install scipy') from error
    try:
        indices = loadmat(path)[variable].ravel().astype(int) - 1   # MATLAB counts from 1
    except (OSError, ValueError, KeyError, MatReadError) as error:
        raise DatasetError(f"{path}: has no '{variable}': {error}; {CURE}") from error
    if indices.size and not 0 <= indices.min() <= indices.max() < count:
        raise DatasetError(f'{path}: names images beyond the {count} there are; {CURE}')
    return indices.tolist()


def _read(index: int, path: Path, depths: str) -> DepthSample:
    """Open the file anew, so that processes do not share a handle."""
    try:
        with open_hdf5(path) as file:   # MATLAB's axes come reversed: (3, W, H) and (W, H)
            image, depth = file['images'][index].T, file[depths][index].T
    except (OSError, KeyError) as error:
        raise DatasetError(f'{path}: image {index + 1} cannot be read: {error}') from error
    depth = depth.astype(np.float32)
    depth = np.where(np.isfinite(depth) & (depth > 0), depth, np.float32(np.nan))
    return DepthSample(np.ascontiguousarray(image), depth, CAMERA, name=f'{index + 1:04}')
