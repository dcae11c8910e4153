# SPDX-License-Identifier: Apache-2.0
"""Depth images are compared with LiDAR points, over all frames of a run."""
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.replay.lidar_scores import LidarComparison
from crossview_ros.replay.report_paths import lidar_scatter
import numpy as np
import pytest

CAMERA = PinholeCamera(48, 32, 100.0, 100.0, 23.5, 15.5)
# on the optical axis and beside it: one point a pixel
CLOUD = np.array([[0, 0, 2.0], [0.1, 0, 4.0], [0, 0.2, 8.0], [0, 0, -5.0]], np.float32)


def test_error_and_coverage_of_known_points():
    comparison = LidarComparison(0.1, 80.0)
    depth = np.full(CAMERA.size_hw, np.nan, np.float32)
    depth[16, 24] = 2.2    # the point at 2 m, on pixel (23.5, 15.5)
    depth[16, 26] = 4.0    # the point at 4 m, on column 26
    figures = comparison.add(depth, CLOUD, CAMERA)
    assert figures['lidar.coverage'].value == pytest.approx(2 / 3)   # none at 8 m
    assert figures['lidar.abs_rel'].value == pytest.approx(0.05, rel=1e-5)
    assert (figures['lidar.bias'].value, figures['lidar.bias'].unit) == (
        pytest.approx(0.1, rel=1e-5), 'm')


def test_density_counts_each_pair_once_and_is_drawn():
    comparison = LidarComparison(0.1, 80.0)
    assert comparison.density() is None
    depth = np.full(CAMERA.size_hw, 4.0, np.float32)
    for _ in range(2):
        comparison.add(depth, CLOUD, CAMERA)
    density = comparison.density()
    assert density.counts.sum() == 6
    row = np.digitize(4.0, density.edges_m) - 1
    assert density.counts[:, row].sum() == 6 and density.counts[row, row] == 2
    assert lidar_scatter(density).startswith(b'\x89PNG')


def test_points_out_of_view_give_no_figures():
    comparison = LidarComparison(0.1, 80.0)
    depth = np.ones(CAMERA.size_hw, np.float32)
    assert comparison.add(depth, CLOUD[3:], CAMERA) == {}
    assert comparison.density() is None
