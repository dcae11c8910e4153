# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.drive import DriveConfig, plan_drive
from crossview_ros.errors import ConfigError
import numpy as np
import pytest
import torch

SUBSET = (0, 1, 40, 41, 80, 81, 118, 119)


@pytest.fixture(scope='module')
def drive():
    return plan_drive()


@pytest.fixture(scope='module')
def frames(drive):
    return list(drive.frames(numbers=SUBSET))


@pytest.fixture(scope='module')
def poses(drive):
    config = drive.config
    return np.array([drive.trajectory.pose(i / config.rate_hz) for i in range(config.num_frames)])


def test_default_drive_is_long_and_turns(drive, poses):
    step = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    heading = np.degrees(np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0])))

    assert len(poses) >= 100
    assert step.sum() >= 20
    assert abs(heading[-1] - heading[0]) >= 90
    assert step.max() * drive.config.rate_hz < 3       # m/s: a robot, not a car


def test_default_drive_has_things_that_stand_and_things_that_move(drive):
    speed = drive.scenes.velocity[0].norm(dim=-1)

    assert sum(drive.scenes.counts) >= 12
    assert (speed > 0.3).sum() >= 2


def test_moving_things_come_into_view(drive, frames):
    view = set()
    for number in range(0, 120, 4):
        pose = drive.trajectory.pose(number / 10) @ drive.config.mounts()['left']
        centre = drive.scenes.pose(torch.tensor([number / 10]))[1][0, :3].numpy()
        x, y, z = np.linalg.inv(pose)[:3] @ np.c_[centre, np.ones(3)].T
        view |= set(np.flatnonzero((z > 1) & (np.abs(x / z) < 0.55)).tolist())

    assert len(view) >= 2


def test_default_disparities_and_motion_are_in_the_working_range(frames):
    disparity = np.stack([frame.disparity for frame in frames])
    flows = [np.linalg.norm(frame.flow, axis=-1) for frame in frames if frame.flow is not None]

    assert disparity.min() >= 2 and disparity.max() <= 64
    assert np.quantile(disparity, 0.02) < 5 and np.quantile(disparity, 0.98) > 30
    assert len(flows) == 4
    assert np.nanmedian(flows) >= 4


def test_camera_stays_out_of_things_and_inside_the_hall(drive):
    scenes = drive.scenes
    for number in range(0, 120, 3):
        pose = drive.trajectory.pose(number / 10) @ drive.config.mounts()['right']
        rotation, centre = scenes.pose(torch.tensor([number / 10]))
        offset = torch.tensor(pose[:3, 3], dtype=torch.float32) - centre[0]
        local = (rotation[0].transpose(1, 2) @ offset[..., None])[..., 0]
        outside = (local.abs() - scenes.half_size[0]).amax(-1)
        assert outside[:-1].min() > 0.3
        assert outside[-1] < -0.3


def test_lidar_points_agree_with_the_depth_image(drive, frames):
    mounts, camera = drive.config.mounts(), drive.config.rig.left
    T_left_lidar = np.linalg.inv(mounts['left']) @ mounts['lidar']
    frame = frames[2]
    x, y, z = T_left_lidar[:3, :3] @ frame.scan.points.T + T_left_lidar[:3, 3:]
    ahead = z > 0.5
    u = np.rint(camera.fx * x[ahead] / z[ahead] + camera.cx)
    v = np.rint(camera.fy * y[ahead] / z[ahead] + camera.cy)
    rows, cols = drive.config.size_hw
    inside = (u >= 0) & (u < cols) & (v >= 0) & (v < rows)
    depth = frame.depth[v[inside].astype(int), u[inside].astype(int)]

    error = np.abs(depth / z[ahead][inside] - 1)

    assert inside.sum() > 500
    # rounding to whole pixels costs more on slopes; beside borders the two see other things
    assert np.median(error) < 0.005
    assert (error < 0.05).mean() > 0.85


def test_disparity_belongs_to_depth_and_rig(frames, drive):
    for frame in frames:
        np.testing.assert_allclose(frame.disparity * frame.depth, 260.0 * 0.25, rtol=1e-5)
        assert frame.left.dtype == np.uint8 and frame.left.shape == (240, 320, 3)
        assert frame.left.std() > 20


def test_same_seed_gives_the_same_drive_and_another_seed_another():
    one, same, other = (next(plan_drive(seed=seed).frames()) for seed in (7, 7, 8))

    np.testing.assert_array_equal(one.left, same.left)
    assert not np.array_equal(one.left, other.left)


def test_impossible_drives_are_refused():
    with pytest.raises(ConfigError, match='num_moving 5 must be between 0 and num_boxes 3'):
        DriveConfig(num_boxes=3, num_moving=5)
    with pytest.raises(ConfigError, match='num_frames >= 1'):
        DriveConfig(num_frames=0)
