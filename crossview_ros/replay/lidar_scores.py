# SPDX-License-Identifier: Apache-2.0
"""Compare depth images with LiDAR points, and gather where the two agree."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import points_to_depth_image
from crossview_ros.metrics import Metric
from crossview_ros.metrics.lidar import depth_vs_lidar
from crossview_ros.replay.scores import RangeRow, RangeSum
import numpy as np

NUM_BINS = 96


@dataclass(frozen=True)
class DepthDensity:
    """How many points have which LiDAR depth and which predicted depth, both logarithmic."""

    edges_m: np.ndarray   # (N + 1,) [m], the same for both axes
    counts: np.ndarray    # (N, N): [LiDAR depth, predicted depth]


class LidarComparison:
    """Sums over the frames of a run; not for use from two threads."""

    def __init__(self, min_depth: float, max_depth: float) -> None:
        """Prepare for depths between two limits [m]."""
        self._limits_m = min_depth, max_depth
        self._edges_m = np.geomspace(max(min_depth, 0.05), max_depth, NUM_BINS + 1)
        self._counts = np.zeros((NUM_BINS, NUM_BINS), np.int64)
        self._ranges = RangeSum()

    def add(self, depth: np.ndarray, cloud: np.ndarray,
            camera: PinholeCamera) -> dict[str, Metric]:
        """
        Compare one frame.

        :param depth: (H, W) float32 [m]; not finite is missing.
        :param cloud: (N, 3) float32 [m] in the camera's frame.
        :return: The frame's figures; empty where no point falls into the image.
        """
        agreement = depth_vs_lidar(depth, cloud, camera, *self._limits_m)
        if not agreement.num_points:
            return {}
        near, far = self._limits_m
        image = points_to_depth_image(cloud, camera)
        self._ranges.add(depth, np.where((image >= near) & (image <= far), image, np.nan))
        measured, predicted = _pairs(depth, cloud, camera)
        self._counts += np.histogram2d(measured, predicted, (self._edges_m, self._edges_m))[
            0].astype(np.int64)
        return {'lidar.coverage': Metric(agreement.coverage, '-'),
                'lidar.bias': Metric(agreement.bias_m, 'm'),
                'lidar.abs_rel': Metric(agreement.abs_rel, '-')}

    def density(self) -> DepthDensity | None:
        """Return what was gathered; None without a point."""
        return DepthDensity(self._edges_m, self._counts) if self._counts.any() else None

    def range_table(self) -> list[RangeRow]:
        """Return the depth error by LiDAR depth; rows without a point are left out."""
        return self._ranges.table()


def inverse_depth_error(depth: np.ndarray, cloud: np.ndarray,
                        camera: PinholeCamera) -> np.ndarray:
    """
    Return |1 / depth - 1 / LiDAR| [1/m] (H, W), NaN where either is unknown.

    It grows with the error of the disparity, which confidence is about.
    """
    measured = points_to_depth_image(cloud, camera)
    with np.errstate(divide='ignore', invalid='ignore'):
        error = np.abs(1 / depth - 1 / measured)
    return np.where(np.isfinite(measured) & np.isfinite(depth), error, np.nan)


def _pairs(depth: np.ndarray, cloud: np.ndarray,
           camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return LiDAR and predicted depth [m] of the pixels that have both."""
    measured = points_to_depth_image(cloud, camera)
    both = np.isfinite(measured) & np.isfinite(depth)
    return measured[both], depth[both]
