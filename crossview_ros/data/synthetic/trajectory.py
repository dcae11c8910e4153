# SPDX-License-Identifier: Apache-2.0
"""A smooth ride over the ground: pose and velocity of a robot's base at any moment."""
from dataclasses import dataclass

import numpy as np

STEP_S = 1e-3        # of the integration, and of the differences that give velocities
WOBBLE_RAD = 0.006   # amplitude of roll and pitch
WOBBLE_M = 0.01      # amplitude of heave


@dataclass(frozen=True)
class Ride:
    """How a ride goes; it starts at the origin, heading along x, and never stops."""

    duration_s: float
    mean_speed: float      # [m/s]
    turn: float            # [rad] heading at the end minus heading at the start, left positive
    weave: float           # [rad/s] amplitude of the steering to and fro on top of the turn
    phase: float           # [rad] of the weaving


class Trajectory:
    """The poses of a ride; holds the integrated path."""

    def __init__(self, ride: Ride):
        """Integrate the path in small steps."""
        self.ride = ride
        # half a second more at either end, for differences and previews
        self._times = np.arange(-0.5, ride.duration_s + 0.5, STEP_S)
        heading = self._heading(self._times)
        speed = self._speed(self._times)
        velocity = speed[:, None] * np.stack((np.cos(heading), np.sin(heading)), -1)
        middle = (velocity[1:] + velocity[:-1]) / 2 * STEP_S
        path = np.concatenate((np.zeros((1, 2)), np.cumsum(middle, 0)))
        start = [np.interp(0.0, self._times, path[:, i]) for i in (0, 1)]
        self._path = path - start

    def pose(self, time_s: float) -> np.ndarray:
        """Return T_odom_base (4, 4) float64; the identity at time 0."""
        x, y = (np.interp(time_s, self._times, self._path[:, i]) for i in (0, 1))
        roll = WOBBLE_RAD * np.sin(2 * np.pi * 0.9 * time_s)
        pitch = WOBBLE_RAD * np.sin(2 * np.pi * 0.6 * time_s)
        T = np.eye(4)
        T[:3, :3] = _rotation(2, self._heading(time_s)) @ _rotation(1, pitch) @ _rotation(0, roll)
        T[:3, 3] = x, y, WOBBLE_M * np.sin(2 * np.pi * 0.7 * time_s)
        return T

    def twist(self, time_s: float) -> np.ndarray:
        """Return velocity (x, y, z [m/s], rotation [rad/s]) (6,) in the base frame."""
        before, after = self.pose(time_s - STEP_S), self.pose(time_s + STEP_S)
        R = self.pose(time_s)[:3, :3]
        turn = R.T @ (after - before)[:3, :3] / (2 * STEP_S)           # skew-symmetric
        linear = R.T @ (after - before)[:3, 3] / (2 * STEP_S)
        angular = (turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1])
        return np.concatenate((linear, np.array(angular) / 2))

    def ground_path(self) -> np.ndarray:
        """Return points (N, 2) [m] every centimetre or so along the whole ride."""
        return self._path[::5]

    def _heading(self, time_s: np.ndarray | float) -> np.ndarray | float:
        ride = self.ride
        rate = 2 * np.pi / ride.duration_s
        weave = ride.weave / rate * (np.sin(rate * time_s + ride.phase) - np.sin(ride.phase))
        return ride.turn * time_s / ride.duration_s + weave

    def _speed(self, time_s: np.ndarray) -> np.ndarray:
        return self.ride.mean_speed * (1 + 0.15 * np.sin(2 * np.pi * time_s / 5.0))


def _rotation(axis: int, angle: float) -> np.ndarray:
    R = np.eye(3)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    R[i, i] = R[j, j] = np.cos(angle)
    R[i, j], R[j, i] = -np.sin(angle), np.sin(angle)
    return R
