# SPDX-License-Identifier: Apache-2.0
"""What one training or evaluation example is, by kind of data set."""
from dataclasses import dataclass, replace

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np


@dataclass(frozen=True)
class StereoSample:
    """A rectified pair with the disparity of its left image; x_right = x_left - disparity."""

    left: np.ndarray              # (H, W, 3) uint8 RGB
    right: np.ndarray             # (H, W, 3) uint8 RGB
    disparity: np.ndarray         # (H, W) * truth_scale float32 [px of the image], NaN unknown
    rig: StereoRig | None = None  # None: the data set has no calibration
    name: str = ''
    truth_scale: int = 1          # values of the truth per pixel along each axis (Spring: 2)

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.left.shape[:2]
        _check_image('left', self.left, size)
        _check_image('right', self.right, size)
        _check_field('disparity', self.disparity, _truth_size(size, self.truth_scale))
        if self.rig is not None and self.rig.left.size_hw != size:
            raise DatasetError(f'the rig is for images of {self.rig.left.size_hw} (height, '
                               f'width) px, but they are {size}')

    def cropped(self, x: int, y: int, width: int, height: int) -> 'StereoSample':
        """Return the same window [px] of both images, of the truth and of the rig."""
        window = _window(self.left, x, y, width, height)
        rig = self.rig and self.rig.cropped(x, y, width, height)
        return replace(self, left=self.left[window], right=self.right[window], rig=rig,
                       disparity=self.disparity[_scaled(window, self.truth_scale)])


@dataclass(frozen=True)
class FlowSample:
    """Two images and the motion of the first one's pixels: x2 = x1 + flow."""

    image1: np.ndarray   # (H, W, 3) uint8 RGB
    image2: np.ndarray   # (H, W, 3) uint8 RGB
    flow: np.ndarray     # (H, W, 2) * truth_scale float32 (dx, dy) [px of the image], NaN unknown
    name: str = ''
    truth_scale: int = 1   # values of the truth per pixel along each axis (Spring: 2)

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.image1.shape[:2]
        _check_image('image1', self.image1, size)
        _check_image('image2', self.image2, size)
        _check_field('flow', self.flow, (*_truth_size(size, self.truth_scale), 2))

    def cropped(self, x: int, y: int, width: int, height: int) -> 'FlowSample':
        """Return the same window [px] of both images and of the truth."""
        window = _window(self.image1, x, y, width, height)
        return replace(self, image1=self.image1[window], image2=self.image2[window],
                       flow=self.flow[_scaled(window, self.truth_scale)])


@dataclass(frozen=True)
class PairSample:
    """Two views of one scene for cross-view completion; their overlap is all that is known."""

    target: np.ndarray      # (H, W, 3) uint8 RGB, the view that gets masked
    reference: np.ndarray   # (H, W, 3) uint8 RGB
    name: str = ''

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        size = self.target.shape[:2]
        _check_image('target', self.target, size)
        _check_image('reference', self.reference, size)

    def cropped(self, x: int, y: int, width: int, height: int) -> 'PairSample':
        """Return the same window [px] of both views."""
        window = _window(self.target, x, y, width, height)
        return replace(self, target=self.target[window], reference=self.reference[window])


@dataclass(frozen=True)
class DepthSample:
    """An image with its depth along the optical axis, and where known the camera's pose."""

    image: np.ndarray       # (H, W, 3) uint8 RGB
    depth: np.ndarray       # (H, W) float32 [m], NaN unknown
    camera: PinholeCamera
    T_world_camera: np.ndarray | None = None   # (4, 4) float64, optical frame
    stamp_ns: int | None = None
    name: str = ''

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        _check_image('image', self.image, self.camera.size_hw)
        _check_field('depth', self.depth, self.camera.size_hw)
        _check_pose('T_world_camera', self.T_world_camera)

    def cropped(self, x: int, y: int, width: int, height: int) -> 'DepthSample':
        """Return a window [px] of the image, of its depth and of the camera."""
        window = _window(self.image, x, y, width, height)
        return replace(self, image=self.image[window], depth=self.depth[window],
                       camera=self.camera.cropped(x, y, width, height))


@dataclass(frozen=True)
class ImagePointSample:
    """An image and a point cloud of what it shows."""

    image: np.ndarray       # (H, W, 3) uint8 RGB
    points: np.ndarray      # (N, 3) float32 [m], in the camera's optical frame
    camera: PinholeCamera
    name: str = ''
    reflectance: np.ndarray | None = None      # (N,) float32, 0 to 1
    T_camera_lidar: np.ndarray | None = None   # (4, 4) float64: where the points were measured

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        _check_image('image', self.image, self.camera.size_hw)
        _check_field('points', self.points, (len(self.points), 3))
        if self.reflectance is not None:
            _check_field('reflectance', self.reflectance, (len(self.points),))
        _check_pose('T_camera_lidar', self.T_camera_lidar)

    def cropped(self, x: int, y: int, width: int, height: int) -> 'ImagePointSample':
        """Return a window [px] of the image and of the camera; all points stay."""
        return replace(self, image=self.image[_window(self.image, x, y, width, height)],
                       camera=self.camera.cropped(x, y, width, height))


@dataclass(frozen=True)
class FrameSample:
    """What the sensors of a moving stereo camera give at one time."""

    left: np.ndarray         # (H, W, 3) uint8 RGB, rectified
    right: np.ndarray        # (H, W, 3) uint8 RGB, rectified
    rig: StereoRig
    stamp_ns: int
    points: np.ndarray | None = None           # (N, 3) float32 [m], left optical frame
    T_world_camera: np.ndarray | None = None   # (4, 4) float64, left optical frame
    name: str = ''
    reflectance: np.ndarray | None = None      # (N,) float32, 0 to 1
    T_camera_lidar: np.ndarray | None = None   # (4, 4) float64: where the points were measured

    def __post_init__(self):
        """Refuse arrays of other shapes or types."""
        _check_image('left', self.left, self.rig.left.size_hw)
        _check_image('right', self.right, self.rig.left.size_hw)
        if self.points is not None:
            _check_field('points', self.points, (len(self.points), 3))
        if self.reflectance is not None:
            _check_field('reflectance', self.reflectance, (len(self.points),))
        _check_pose('T_camera_lidar', self.T_camera_lidar)
        _check_pose('T_world_camera', self.T_world_camera)

    def cropped(self, x: int, y: int, width: int, height: int) -> 'FrameSample':
        """Return the same window [px] of both images and of the rig; all points stay."""
        window = _window(self.left, x, y, width, height)
        return replace(self, left=self.left[window], right=self.right[window],
                       rig=self.rig.cropped(x, y, width, height))


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


def _truth_size(size_hw: tuple[int, int], truth_scale: int) -> tuple[int, int]:
    return truth_scale * size_hw[0], truth_scale * size_hw[1]


def _check_image(name: str, image: np.ndarray, size_hw: tuple[int, int]) -> None:
    if image.dtype != np.uint8 or image.shape != (*size_hw, 3):
        raise DatasetError(f'{name} must be uint8 RGB of shape {(*size_hw, 3)}, got '
                           f'{image.dtype} {image.shape}')


def _check_field(name: str, field: np.ndarray, shape: tuple[int, ...]) -> None:
    if field.dtype != np.float32 or field.shape != shape:
        raise DatasetError(f'{name} must be float32 of shape {shape}, got {field.dtype} '
                           f'{field.shape}')


def _check_pose(name: str, pose: np.ndarray | None) -> None:
    if pose is not None and np.shape(pose) != (4, 4):
        raise DatasetError(f'{name} must be (4, 4), got {np.shape(pose)}')


def _window(image: np.ndarray, x: int, y: int, width: int, height: int) -> tuple[slice, slice]:
    rows, cols = image.shape[:2]
    if min(x, y) < 0 or min(width, height) < 1 or x + width > cols or y + height > rows:
        raise DatasetError(f'a crop of {width}x{height} px at ({x}, {y}) reaches out of the '
                           f'{cols}x{rows} image')
    return slice(y, y + height), slice(x, x + width)


def _scaled(window: tuple[slice, slice], scale: int) -> tuple[slice, slice]:
    return tuple(slice(side.start * scale, side.stop * scale) for side in window)
