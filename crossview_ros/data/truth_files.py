# SPDX-License-Identifier: Apache-2.0
"""Read the true disparity or flow of a sample, in each format that data sets use."""
from collections.abc import Callable
from functools import partial
from pathlib import Path

from crossview_ros.data.io import (
    read_flo, read_grey_png, read_hdf5, read_image, read_kitti_flow, read_npy, read_pfm,
    read_scaled_png)
from crossview_ros.errors import DatasetError
import numpy as np

SINTEL_WEIGHTS = np.array([4, 1 / 64, 1 / 16384], np.float32)   # [px] of one step of R, G, B


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


def _positive(values: np.ndarray) -> np.ndarray:
    """Mark what is not a disparity as unknown (croco.md 8, ground-truth decoding)."""
    with np.errstate(invalid='ignore'):
        known = np.isfinite(values) & (values > 0)
    return np.where(known, values, np.float32(np.nan)).astype(np.float32)


def _read_disparity_pfm(path: str | Path) -> np.ndarray:
    return _positive(read_pfm(path))


def _read_disparity_png8(path: str | Path) -> np.ndarray:
    """Read Middlebury 2005 and 2006 at full size: whole px."""
    return _positive(read_grey_png(path))


def _read_disparity_sintel(path: str | Path) -> np.ndarray:
    """Read Sintel's R * 4 + G / 2^6 + B / 2^14 px (sintel_io.py of its stereo package)."""
    return _positive(read_image(path).astype(np.float32) @ SINTEL_WEIGHTS)


def _read_disparity_npy(path: str | Path) -> np.ndarray:
    return _positive(read_npy(path))


def _read_disparity_spring(path: str | Path) -> np.ndarray:
    return _positive(read_hdf5(path, 'disparity'))


def _read_flow_npy(path: str | Path) -> np.ndarray:
    return _whole_vectors(path, read_npy(path))


def _read_flow_spring(path: str | Path) -> np.ndarray:
    return _whole_vectors(path, read_hdf5(path, 'flow'))


def _whole_vectors(path: str | Path, flow: np.ndarray) -> np.ndarray:
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise DatasetError(f'{path}: a flow has two components, got {flow.shape}')
    known = np.isfinite(flow).all(-1, keepdims=True)
    return np.where(known, flow, np.float32(np.nan))


def _read_flow_pfm(path: str | Path) -> np.ndarray:
    """Read FlyingThings' layout: three channels, the third one empty."""
    values = read_pfm(path)
    if values.ndim != 3:
        raise DatasetError(f'{path}: a flow in a PFM file has three channels, got one; is it a '
                           'disparity?')
    return _whole_vectors(path, values[..., :2])


# task -> format -> reader; KITTI's disparity is a PNG of 256 times the disparity
TRUTH_FORMATS: dict[str, dict[str, Callable[[str | Path], np.ndarray]]] = {
    'stereo': {'pfm': _read_disparity_pfm, 'png256': read_scaled_png, 'kitti': read_scaled_png,
               'png32': partial(read_scaled_png, scale=32.0), 'png8': _read_disparity_png8,
               'sintel': _read_disparity_sintel, 'npy': _read_disparity_npy,
               'spring': _read_disparity_spring},
    'flow': {'flo': read_flo, 'kitti': read_kitti_flow, 'pfm': _read_flow_pfm,
             'npy': _read_flow_npy, 'spring': _read_flow_spring},
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
