# SPDX-License-Identifier: Apache-2.0
"""Pinhole cameras and rectified stereo rigs; the only place where intrinsics change."""
from dataclasses import dataclass, replace
import math

from crossview_ros.errors import CalibrationError
import numpy as np

MAX_BASELINE_M = 10.0
MAX_IMAGE_SIDE = 65536   # px; anything larger is a damaged message, not a camera
FOCAL_TOLERANCE = 1e-3   # relative difference of the two cameras of a rectified pair
ROW_TOLERANCE_PX = 0.1   # difference of their principal point rows


@dataclass(frozen=True)
class PinholeCamera:
    """
    Intrinsics of an undistorted image; pixel (0, 0) is the centre of the top-left one.

    Invalid values raise CalibrationError: sizes that are not whole positive numbers, focal
    lengths that are not positive, anything not finite.
    """

    width: int    # [px]
    height: int   # [px]
    fx: float     # [px]
    fy: float     # [px]
    cx: float     # [px]
    cy: float     # [px]

    def __post_init__(self):
        """Check the values and turn NumPy scalars into Python's."""
        for name in ('width', 'height'):
            object.__setattr__(self, name, _image_side(name, getattr(self, name)))
        for name in ('fx', 'fy', 'cx', 'cy'):
            value = float(getattr(self, name))
            if not math.isfinite(value):
                raise CalibrationError(f'camera {name} must be a finite number [px], got {value}; '
                                       'is the camera calibrated?')
            if name in ('fx', 'fy') and value <= 0:
                raise CalibrationError(f'camera {name} must be greater than 0 px, got {value:g}; '
                                       'is the camera calibrated?')
            object.__setattr__(self, name, value)

    @property
    def matrix(self) -> np.ndarray:
        """Return K (3, 3) float64: (u, v, 1) z = K @ (x, y, z)."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @property
    def size_hw(self) -> tuple[int, int]:
        """Return (height, width) [px]."""
        return self.height, self.width

    def scaled(self, width: int, height: int) -> 'PinholeCamera':
        """
        Return the camera of the same image resized to width x height.

        :raises CalibrationError: If the new size is not positive.

        Source: the rule of image_proc's resize node, cx' = cx * sx (no half-pixel shift).
        """
        sx, sy = width / self.width, height / self.height
        return PinholeCamera(width, height, self.fx * sx, self.fy * sy, self.cx * sx,
                             self.cy * sy)

    def cropped(self, x: int, y: int, width: int, height: int) -> 'PinholeCamera':
        """
        Return the camera of the window whose top-left pixel is (x, y).

        :raises CalibrationError: If the window is empty or reaches out of the image.
        """
        if x < 0 or y < 0 or x + width > self.width or y + height > self.height:
            raise CalibrationError(f'a crop of {width}x{height} px at ({x}, {y}) reaches out of '
                                   f'the {self.width}x{self.height} image')
        return replace(self, width=width, height=height, cx=self.cx - x, cy=self.cy - y)

    def rays(self) -> np.ndarray:
        """Return (H, W, 3) float64: the direction of each pixel's centre, scaled to z = 1."""
        rays = np.ones((self.height, self.width, 3))
        rays[..., 0] = (np.arange(self.width) - self.cx) / self.fx
        rays[..., 1] = ((np.arange(self.height) - self.cy) / self.fy)[:, None]
        return rays


@dataclass(frozen=True)
class StereoRig:
    """
    A rectified pair: rows agree, the right camera sits at +x of the left one.

    Cameras of different size, focal length or principal row, and a baseline outside of
    (0, 10] m, raise CalibrationError. The columns of the principal points may differ (doffs).
    """

    left: PinholeCamera
    right: PinholeCamera
    baseline: float   # [m]

    def __post_init__(self):
        """Check that the cameras make a rectified pair with a plausible baseline."""
        object.__setattr__(self, 'baseline', float(self.baseline))
        _check_pair(self.left, self.right)
        _check_baseline(self.baseline)

    @property
    def doffs(self) -> float:
        """Return cx_right - cx_left [px]: Z = fx * baseline / (disparity + doffs)."""
        return self.right.cx - self.left.cx

    def scaled(self, width: int, height: int) -> 'StereoRig':
        """Return the rig of both images resized to width x height; the baseline stays."""
        return replace(self, left=self.left.scaled(width, height),
                       right=self.right.scaled(width, height))

    def cropped(self, x: int, y: int, width: int, height: int) -> 'StereoRig':
        """Return the rig of the same window cut out of both images."""
        return replace(self, left=self.left.cropped(x, y, width, height),
                       right=self.right.cropped(x, y, width, height))


def _image_side(name: str, value: int) -> int:
    if not 0 < value <= MAX_IMAGE_SIDE or value != int(value):
        raise CalibrationError(f'camera {name} must be a whole number from 1 to {MAX_IMAGE_SIDE} '
                               f'px, got {value}')
    return int(value)


def _check_pair(left: PinholeCamera, right: PinholeCamera) -> None:
    if left.size_hw != right.size_hw:
        raise CalibrationError(
            f'left image is {left.width}x{left.height} px but right is '
            f'{right.width}x{right.height}; a rectified pair has one size')
    for name in ('fx', 'fy'):
        ours, theirs = getattr(left, name), getattr(right, name)
        if abs(ours - theirs) > FOCAL_TOLERANCE * ours:
            raise CalibrationError(f'left {name} is {ours:.6g} px but right {name} is '
                                   f'{theirs:.6g}; the pair is not rectified')
    if abs(left.cy - right.cy) > ROW_TOLERANCE_PX:
        raise CalibrationError(f'left cy is {left.cy:.6g} px but right cy is {right.cy:.6g}; '
                               'rows do not agree, the pair is not rectified')


def _check_baseline(baseline: float) -> None:
    if not math.isfinite(baseline):
        raise CalibrationError(f'baseline must be a finite number of metres, got {baseline}')
    if baseline < 0:
        raise CalibrationError(f'baseline is {baseline:.3f} m; it must be greater than 0: '
                               'are left and right swapped?')
    if baseline == 0:
        raise CalibrationError('baseline is 0 m; it must be greater than 0: '
                               'does the right camera_info lack P[3] = -fx * baseline?')
    if baseline > MAX_BASELINE_M:
        raise CalibrationError(f'baseline is {baseline:.3f} m, more than {MAX_BASELINE_M:g} m: '
                               'it is likely millimetres')
