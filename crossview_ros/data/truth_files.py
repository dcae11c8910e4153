# SPDX-License-Identifier: Apache-2.0
"""Read the true disparity or flow of a sample, in each format that data sets use."""
from collections.abc import Callable
from pathlib import Path

from crossview_ros.data.io import read_flo, read_kitti_flow, read_pfm, read_scaled_png
from crossview_ros.errors import DatasetError
import numpy as np


def read_disparity_truth(path: str | Path, truth_format: str = 'auto') -> np.ndarray:
    """
    Read the true disparity of a left image.

    :param truth_format: One of `TRUTH_FORMATS['stereo']`, or 'auto': by the file's suffix.
    :return: (H, W) float32 [px], NaN unknown.
    :raises DatasetError: If the file is missing, damaged, or of another format.
    """
    disparity = _reader('stereo', path, truth_format)(path)
    if disparity.ndim != 2:
        raise DatasetError(f'{path}: a disparity has one channel, got {disparity.shape[2]}; is '
                           'it a flow?')
    return disparity


def read_flow_truth(path: str | Path, truth_format: str = 'auto') -> np.ndarray:
    """
    Read the true flow of a first image.

    :param truth_format: One of `TRUTH_FORMATS['flow']`, or 'auto': by the file's suffix.
    :return: (H, W, 2) float32 (dx, dy) [px], NaN unknown.
    :raises DatasetError: If the file is missing, damaged, or of another format.
    """
    return _reader('flow', path, truth_format)(path)


def _read_flow_pfm(path: str | Path) -> np.ndarray:
    """Read FlyingThings' layout: three channels, the third one empty."""
    values = read_pfm(path)
    if values.ndim != 3:
        raise DatasetError(f'{path}: a flow in a PFM file has three channels, got one; is it a '
                           'disparity?')
    unknown = np.isnan(values[..., :2]).any(-1, keepdims=True)
    return np.where(unknown, np.float32(np.nan), values[..., :2])


# task -> format -> reader; KITTI's disparity is a PNG of 256 times the disparity
TRUTH_FORMATS: dict[str, dict[str, Callable[[str | Path], np.ndarray]]] = {
    'stereo': {'pfm': read_pfm, 'png256': read_scaled_png, 'kitti': read_scaled_png},
    'flow': {'flo': read_flo, 'kitti': read_kitti_flow, 'pfm': _read_flow_pfm},
}
_FORMAT_OF_SUFFIX = {'stereo': {'.pfm': 'pfm', '.png': 'png256'},
                     'flow': {'.flo': 'flo', '.png': 'kitti', '.pfm': 'pfm'}}


def _reader(task: str, path: str | Path,
            truth_format: str) -> Callable[[str | Path], np.ndarray]:
    if truth_format == 'auto':
        suffixes = _FORMAT_OF_SUFFIX[task]
        truth_format = suffixes.get(Path(path).suffix.lower(), '')
        if not truth_format:
            raise DatasetError(f'{path}: the truth of {task} is expected in a file that ends in '
                               f"{', '.join(suffixes)}; name its format")
    if truth_format not in TRUTH_FORMATS[task]:
        raise DatasetError(f"{path}: no format '{truth_format}' for the truth of {task}; known: "
                           f'{", ".join(TRUTH_FORMATS[task])}')
    return TRUTH_FORMATS[task][truth_format]
