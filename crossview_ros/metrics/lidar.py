# SPDX-License-Identifier: Apache-2.0
"""How well a depth image agrees with the points of a LiDAR."""
from dataclasses import dataclass

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import points_to_depth_image
import numpy as np


@dataclass(frozen=True)
class LidarAgreement:
    """Agreement over the pixels that a LiDAR point falls into."""

    num_points: int    # such pixels; the nearest point of each counts
    coverage: float    # share of them with a finite depth, 0..1; NaN without a point
    bias_m: float      # median of depth - LiDAR [m]; NaN without a common pixel
    abs_rel: float     # mean of |depth - LiDAR| / LiDAR; NaN without a common pixel


def depth_vs_lidar(depth: np.ndarray, points: np.ndarray, camera: PinholeCamera,
                   min_depth: float = 0.0, max_depth: float = np.inf) -> LidarAgreement:
    """
    Compare a depth image with LiDAR points.

    :param depth: (H, W) float32 [m]; not finite is missing.
    :param points: (N, 3) [m] in the camera's frame; rows may be NaN.
    :param camera: Camera of the depth image.
    :param min_depth: Nearer points are left out [m]; farther than ``max_depth`` too.
    :raises CalibrationError: If the camera is of another size than the image.
    """
    if np.shape(depth) != camera.size_hw:
        raise CalibrationError(f'depth image is {np.shape(depth)} but the camera is '
                               f'{camera.size_hw} (height, width)')
    measured = points_to_depth_image(points, camera)
    known = np.isfinite(measured) & (measured >= min_depth) & (measured <= max_depth)
    num_points = int(known.sum())
    both = known & np.isfinite(depth)
    nan = float('nan')
    coverage = float(both.sum()) / num_points if num_points else nan
    if not both.any():
        return LidarAgreement(num_points, coverage, nan, nan)
    truth = measured[both].astype(np.float64)
    error = depth[both].astype(np.float64) - truth
    return LidarAgreement(num_points, coverage, float(np.median(error)),
                          float(np.mean(np.abs(error) / truth)))


@dataclass(frozen=True)
class PointErrors:
    """Errors at the pixels that a LiDAR point falls into; one without a depth counts as 100 %."""

    num_points: int   # such pixels; the nearest point of each counts
    coverage: float   # share of them with a finite depth, 0..1; NaN without a point
    mae_m: float      # mean of |depth - LiDAR| [m]; NaN without a point
    abs_rel: float    # mean of |depth - LiDAR| / LiDAR; NaN without a point


def point_errors(depth: np.ndarray, measured: np.ndarray, min_depth: float = 0.0,
                 max_depth: float = np.inf) -> PointErrors:
    """
    Judge a depth image by points that it must answer for.

    :param depth: (H, W) [m]; not finite is missing.
    :param measured: (H, W) [m] the points drawn by `points_to_depth_image`.
    :param min_depth: Nearer points are left out [m]; farther than ``max_depth`` too.
    """
    with np.errstate(invalid='ignore'):
        known = (measured >= min_depth) & (measured <= max_depth)
    truth = measured[known].astype(np.float64)
    if not truth.size:
        return PointErrors(0, *3 * (float('nan'),))
    found = np.isfinite(depth[known])
    error = np.where(found, np.abs(depth[known] - truth), truth)
    return PointErrors(truth.size, float(found.mean()), float(error.mean()),
                       float((error / truth).mean()))
