# SPDX-License-Identifier: Apache-2.0
"""What one training or evaluation example is, by kind of data set."""
from dataclasses import dataclass

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np


@dataclass(frozen=True)
class StereoSample:
    """A rectified pair with the disparity of its left image; x_right = x_left - disparity."""

    left: np.ndarray              # (H, W, 3) uint8 RGB
    right: np.ndarray             # (H, W, 3) uint8 RGB
    disparity: np.ndarray         # (H, W) float32 [px], NaN unknown
    rig: StereoRig | None = None  # None: the data set has no calibration
    name: str = ''

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.left.shape[:2]
        _check_image('left', self.left, size)
        _check_image('right', self.right, size)
        _check_field('disparity', self.disparity, size)


@dataclass(frozen=True)
class FlowSample:
    """Two images and the motion of the first one's pixels: x2 = x1 + flow."""

    image1: np.ndarray   # (H, W, 3) uint8 RGB
    image2: np.ndarray   # (H, W, 3) uint8 RGB
    flow: np.ndarray     # (H, W, 2) float32 (dx, dy) [px], NaN unknown
    name: str = ''

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.image1.shape[:2]
        _check_image('image1', self.image1, size)
        _check_image('image2', self.image2, size)
        _check_field('flow', self.flow, (*size, 2))


@dataclass(frozen=True)
class ImagePointSample:
    """An image and a point cloud of what it shows."""

    image: np.ndarray       # (H, W, 3) uint8 RGB
    points: np.ndarray      # (N, 3) float32 [m], in the camera's optical frame
    camera: PinholeCamera
    name: str = ''

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        _check_image('image', self.image, self.camera.size_hw)
        _check_field('points', self.points, (len(self.points), 3))


@dataclass(frozen=True)
class MultiSample:
    """Two time steps of a stereo camera."""

    previous: np.ndarray    # (H, W, 3) uint8 RGB, left camera one step before
    left: np.ndarray        # (H, W, 3) uint8 RGB
    right: np.ndarray       # (H, W, 3) uint8 RGB
    disparity: np.ndarray   # (H, W) float32 [px] of left, NaN unknown
    flow: np.ndarray        # (H, W, 2) float32 [px] previous -> left, on previous; NaN unknown
    rig: StereoRig
    T_prev_cur: np.ndarray  # (4, 4) float64: p_previous = T_prev_cur @ p_left

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.rig.left.size_hw
        for name in ('previous', 'left', 'right'):
            _check_image(name, getattr(self, name), size)
        _check_field('disparity', self.disparity, size)
        _check_field('flow', self.flow, (*size, 2))
        if np.shape(self.T_prev_cur) != (4, 4):
            raise DatasetError(f'T_prev_cur must be (4, 4), got {np.shape(self.T_prev_cur)}')


def _check_image(name: str, image: np.ndarray, size_hw: tuple[int, int]) -> None:
    if image.dtype != np.uint8 or image.shape != (*size_hw, 3):
        raise DatasetError(f'{name} must be uint8 RGB of shape {(*size_hw, 3)}, got '
                           f'{image.dtype} {image.shape}')


def _check_field(name: str, field: np.ndarray, shape: tuple[int, ...]) -> None:
    if field.dtype != np.float32 or field.shape != shape:
        raise DatasetError(f'{name} must be float32 of shape {shape}, got {field.dtype} '
                           f'{field.shape}')
