# SPDX-License-Identifier: Apache-2.0
"""Evaluate at another resolution: shrink the images of a sample, its truth and its rig."""
from dataclasses import replace

from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import ConfigError, DatasetError
import cv2
import numpy as np

SMALLEST_SIDE_PX = 32


def scaled_stereo(sample: StereoSample, scale: float) -> StereoSample:
    """
    Shrink a pair: images by their mean over each new pixel, truth by its nearest pixel.

    The truth is never averaged: a mean over an edge is a disparity that nothing has. Its values
    become those of the smaller images.

    :param scale: In (0, 1], the same for both sides up to whole pixels.
    :raises ConfigError: If the scale is out of range.
    :raises DatasetError: If less than 32 px would be left of a side.
    """
    rows, cols = _scaled_size(sample.left, scale, sample.name)
    ratio = np.float32(cols / sample.left.shape[1])
    return replace(sample, left=_shrink(sample.left, rows, cols),
                   right=_shrink(sample.right, rows, cols),
                   disparity=_nearest(sample.disparity, rows, cols) * ratio,
                   rig=sample.rig and sample.rig.scaled(cols, rows))


def scaled_flow(sample: FlowSample, scale: float) -> FlowSample:
    """
    Shrink two images and their flow, as `scaled_stereo` does.

    :raises ConfigError: If the scale is out of range.
    :raises DatasetError: If less than 32 px would be left of a side.
    """
    rows, cols = _scaled_size(sample.image1, scale, sample.name)
    ratio = np.array((cols / sample.image1.shape[1], rows / sample.image1.shape[0]), np.float32)
    return replace(sample, image1=_shrink(sample.image1, rows, cols),
                   image2=_shrink(sample.image2, rows, cols),
                   flow=_nearest(sample.flow, rows, cols) * ratio)


def _scaled_size(image: np.ndarray, scale: float, name: str) -> tuple[int, int]:
    if not 0 < scale <= 1:
        raise ConfigError(f'scale must be above 0 and at most 1, got {scale:g}')
    rows, cols = (round(side * scale) for side in image.shape[:2])
    if min(rows, cols) < SMALLEST_SIDE_PX:
        raise DatasetError(f"'{name}' would be {cols} x {rows} px at scale {scale:g}; expected "
                           f'sides of {SMALLEST_SIDE_PX} px or more: choose a larger scale')
    return rows, cols


def _shrink(image: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return cv2.resize(image, (cols, rows), interpolation=cv2.INTER_AREA)


def _nearest(field: np.ndarray, rows: int, cols: int) -> np.ndarray:
    """Take the pixel under the centre of each new one; NaN stays where it is."""
    i, j = (((np.arange(count) + 0.5) * side / count).astype(int)
            for count, side in zip((rows, cols), field.shape))
    return field[i[:, None], j]
