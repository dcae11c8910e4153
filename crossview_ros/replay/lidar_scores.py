# SPDX-License-Identifier: Apache-2.0
"""Compare depth images with LiDAR points, and gather where the two agree."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import points_to_depth_image
from crossview_ros.metrics import Metric
from crossview_ros.metrics.lidar import depth_vs_lidar
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
        measured, predicted = _pairs(depth, cloud, camera)
        self._counts += np.histogram2d(measured, predicted, (self._edges_m, self._edges_m))[
            0].astype(np.int64)
        return {'lidar.coverage': Metric(agreement.coverage, '-'),
                'lidar.bias': Metric(agreement.bias_m, 'm'),
                'lidar.abs_rel': Metric(agreement.abs_rel, '-')}

    def density(self) -> DepthDensity | None:
        """Return what was gathered; None without a point."""
        return DepthDensity(self._edges_m, self._counts) if self._counts.any() else None


def _pairs(depth: np.ndarray, cloud: np.ndarray,
           camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return LiDAR and predicted depth [m] of the pixels that have both."""
    measured = points_to_depth_image(cloud, camera)
    both = np.isfinite(measured) & np.isfinite(depth)
    return measured[both], depth[both]
