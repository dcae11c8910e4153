# SPDX-License-Identifier: Apache-2.0
"""Perception of one camera with clouds: metric depth, odometry of its scale, and its limits."""
from block_matching import make_manifest
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.projection import back_project
from crossview_ros.geometry.se3 import exp_se3, invert, transform_points
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.perception import Perception
from crossview_ros.runtime.results import TrackingStatus
import numpy as np
import pytest

ROWS, COLS = 96, 128
CAMERA = PinholeCamera(COLS, ROWS, 110.0, 110.0, 63.5, 47.5)
STEP = exp_se3(np.array((0.01, 0.0, 0.08, 0.0, 0.02, 0.005)))
DT_NS = 100_000_000
V, U = np.mgrid[:ROWS, :COLS].astype(np.float64)
# another slanted wall in each frame, as no test follows the points of one
DEPTHS = [1 / (0.1 + 0.0005 * (1 + step % 3) * (U - 60) / 2 + 0.0004 * V) for step in range(10)]
BLACK = np.zeros((ROWS, COLS, 3), np.uint8)


class ExactFlow:
    """Answer flow of the walls as the camera goes on by STEP, and a disparity of 10 px."""

    name, device, precision = 'exact', 'cpu', 'fp32'

    def __init__(self):
        """Begin with the first pair of frames."""
        self.number = 0

    def run(self, graph, inputs):
        """Run 'encode', 'stereo' or 'flow'."""
        if graph == 'encode':
            return {'features': None}
        if graph == 'stereo':
            return {'disparity': np.full((1, 1, ROWS, COLS), 10, np.float32),
                    'log_scale': np.zeros((1, 1, ROWS, COLS), np.float32)}
        points = back_project(DEPTHS[self.number], CAMERA).astype(np.float64)
        x, y, z = np.moveaxis(transform_points(invert(STEP), points), -1, 0)
        self.number += 1
        flow = np.stack((110 * x / z + 63.5 - U, 110 * y / z + 47.5 - V)).astype(np.float32)
        return {'flow': flow[None], 'log_scale': np.full((1, 1, ROWS, COLS), -2, np.float32)}

    def to_numpy(self, handle):
        """Return the array."""
        return handle

    def wait(self):
        """Have nothing to wait for."""

    def close(self):
        """Free nothing."""


def make(tasks=None, **options):
    return Perception(ExactFlow(), make_manifest(default_size_hw=(ROWS, COLS)), tasks,
                      PerceptionOptions(**options))


def cloud_of(number):
    """Return the points (N, 3) of every sixth row of a frame."""
    return back_project(DEPTHS[number], CAMERA)[::6].reshape(-1, 3)


def drive(perception, clouds):
    """Answer one black image for each cloud."""
    return [perception.process(BLACK, None, CAMERA, 1 + number * DT_NS, cloud)
            for number, cloud in enumerate(clouds)]


def test_one_image_and_its_cloud_give_metric_depth():
    result = drive(make(), [cloud_of(0)])[0]
    assert np.abs(result.depth / DEPTHS[0] - 1)[:91].max() < 0.02
    assert result.disparity is None
    assert result.confidence.min() >= 0 and result.confidence[:91].mean() > 0.9
    assert 'lidar' in result.timing_ms


def test_the_odometry_has_the_scale_of_the_cloud():
    results = drive(make(), [cloud_of(number) for number in range(5)])
    assert [result.status for result in results] == [
        TrackingStatus.INITIALISING, *4 * [TrackingStatus.OK]]
    expected = np.linalg.matrix_power(STEP, 4)
    assert np.abs(results[-1].T_odom_camera - expected).max() < 0.01


def test_a_frame_without_a_cloud_has_no_depth_and_the_path_goes_on_after_it():
    results = drive(make(), [cloud_of(0), cloud_of(1), None, cloud_of(3), cloud_of(4)])
    assert [result.status.value for result in results] == [
        'initialising', 'ok', 'ok', 'lost', 'ok']
    assert results[2].depth is None
    # the unseen step is bridged with the last velocity
    expected = np.linalg.matrix_power(STEP, 4)
    assert np.abs(results[-1].T_odom_camera - expected).max() < 0.02


def test_without_any_cloud_there_is_flow_alone():
    results = drive(make(), [None, None])
    assert results[1].flow is not None and results[1].depth is None
    assert results[1].status is TrackingStatus.OFF


@pytest.mark.parametrize('tasks, options', [(None, {'lidar_guidance': False}), (['flow'], {})],
                         ids=['switched off', 'flow alone'])
def test_no_depth_is_made_where_none_is_wanted(tasks, options):
    assert drive(make(tasks, **options), [cloud_of(0)])[0].depth is None


def test_beside_a_pair_the_cloud_changes_nothing():
    rig = StereoRig(CAMERA, CAMERA, 0.2)
    results = [make().process(BLACK, BLACK, rig, 1, cloud) for cloud in (None, cloud_of(0))]
    np.testing.assert_array_equal(results[1].depth, results[0].depth)
    np.testing.assert_allclose(results[1].depth, 110 * 0.2 / 10, rtol=1e-5)


def test_limits_and_confidence_mask_depth():
    above = cloud_of(0)[:6 * COLS]   # the upper rows: doubt grows below them
    free = drive(make(), [above])[0]
    strict = drive(make(max_depth=8.0, min_confidence=0.8), [above])[0]
    sure = free.confidence >= 0.8
    assert np.isposinf(strict.depth[sure & (free.depth > 8)]).all()
    assert (sure & (free.depth > 8)).any()
    masked = np.isfinite(free.depth) & ~sure
    assert masked.any() and np.isnan(strict.depth[masked]).all()


def test_a_reset_begins_the_path_anew():
    perception = make()
    drive(perception, [cloud_of(0), cloud_of(1)])
    perception.reset()
    result = perception.process(BLACK, None, CAMERA, 5 * DT_NS, cloud_of(2))
    assert result.status is TrackingStatus.INITIALISING
