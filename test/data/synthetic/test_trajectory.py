# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.trajectory import Ride, Trajectory
import numpy as np
import pytest


@pytest.fixture
def trajectory():
    return Trajectory(Ride(10.0, 2.0, np.radians(100), 0.1, 0.7))


def test_ride_starts_at_the_origin(trajectory):
    np.testing.assert_allclose(trajectory.pose(0.0), np.eye(4), atol=1e-9)


def test_poses_are_rigid(trajectory):
    for time_s in np.linspace(0, 10, 7):
        R = trajectory.pose(time_s)[:3, :3]
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1)


def test_length_and_turn_are_as_asked_for(trajectory):
    poses = np.array([trajectory.pose(t) for t in np.arange(0, 10.001, 0.02)])
    heading = np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))

    length = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1).sum()

    assert length == pytest.approx(20.0, rel=0.01)      # two whole periods of the speed's change
    assert np.degrees(heading[-1] - heading[0]) == pytest.approx(100, abs=0.5)


def test_base_moves_where_it_points(trajectory):
    for time_s in (1.0, 4.0, 9.0):
        twist = trajectory.twist(time_s)
        assert twist[0] > 1.6
        assert abs(twist[1]) < 0.02        # m/s: no sliding, but roll and heave
        assert abs(twist[2]) < 0.1


def test_twist_integrates_to_the_poses(trajectory):
    T, step = trajectory.pose(2.0), 1e-3
    for i in range(1000):
        twist = trajectory.twist(2.0 + (i + 0.5) * step)
        rate = np.zeros((4, 4))
        rate[:3, 3] = twist[:3]
        rate[:3, :3] = np.cross(np.eye(3), twist[3:]).T * 1.0
        rate[:3, :3] = np.array(((0, -twist[5], twist[4]), (twist[5], 0, -twist[3]),
                                 (-twist[4], twist[3], 0)))
        T = T @ (np.eye(4) + rate * step + rate @ rate * step ** 2 / 2)

    # linear interpolation of the path between 1 ms steps costs about a millimetre
    np.testing.assert_allclose(T, trajectory.pose(3.0), atol=2e-3)
