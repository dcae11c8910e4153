# SPDX-License-Identifier: Apache-2.0
"""Errors of the motion from one pose of a path to a later one: steps, metres, segments."""
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import invert
import numpy as np

SEGMENTS_M = (100, 200, 300, 400, 500, 600, 700, 800)   # lengths of KITTI's odometry benchmark
SEGMENT_STEP = 10            # frames between the starts of KITTI's segments
SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)   # of a path that is too short for them
METRES_TOLERANCE = 0.1       # share by which a pair may be longer or shorter, as in evo


@dataclass(frozen=True)
class Steps:
    """From which pose to which the relative pose error is taken."""

    delta: float = 1.0
    unit: Literal['frames', 'metres'] = 'frames'
    all_pairs: bool = False   # a pair starts at every pose; False: where the one before ended

    def __post_init__(self) -> None:
        """Refuse steps that cannot be walked."""
        whole = self.unit == 'metres' or float(self.delta).is_integer()
        if self.unit not in ('frames', 'metres') or not self.delta > 0 or not whole:
            raise DatasetError(f'steps are of a whole number of frames or of metres above zero, '
                               f'got {self.delta} {self.unit}')


def step_pairs(poses: np.ndarray, steps: Steps) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the indices of the first and last pose of each step, (K,) int64 each.

    Steps of metres are walked along ``poses`` (the estimate, as evo does): with all pairs the
    last pose is the one nearest to the length, within a tenth of it, else the first beyond it.

    :param poses: (N, 4, 4).

    Source: Sturm et al., IROS 2012, eq. 3-5; pairs of evo 1.38 (--delta_unit, --all_pairs).
    """
    count = len(poses)
    if steps.unit == 'frames':
        start = np.arange(0, count - int(steps.delta), 1 if steps.all_pairs else int(steps.delta))
        return start, start + int(steps.delta)
    travelled = travelled_m(poses)
    if steps.all_pairs:
        return _nearest_ends(travelled, steps.delta)
    ends = [0]
    for index in range(1, count):
        if travelled[index] - travelled[ends[-1]] >= steps.delta:
            ends.append(index)
    return np.array(ends[:-1], np.int64), np.array(ends[1:], np.int64)


def relative_errors(poses: np.ndarray, truth: np.ndarray, start: np.ndarray,
                    end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the error of each motion from a start to its end, whatever the alignment.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :param start: (K,) indices.
    :param end: (K,) indices.
    :return: (K,) [m] and (K,) [deg].
    """
    motion, true_motion = (invert(path[start]) @ path[end] for path in (poses, truth))
    error = invert(true_motion) @ motion
    return np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle_deg(error)


def segment_errors(poses: np.ndarray, truth: np.ndarray,
                   lengths_m: Sequence[float] = SEGMENTS_M,
                   step: int = SEGMENT_STEP) -> np.ndarray:
    """
    Return how far each stretch of the path of some lengths drifts, whatever the alignment.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :param lengths_m: Lengths of the segments along the true path [m].
    :param step: Poses between the starts of segments.
    :return: (K, 4) rows of length [m], drift [%], turn [deg/m] and index of the first pose; a
        segment ends at the first pose farther along the true path than its length.

    Source: Geiger et al., Are we ready for Autonomous Driving?, CVPR 2012, section 3.
    """
    travelled = travelled_m(truth)
    rows = [np.empty((0, 4))]
    for length in lengths_m:
        start = np.arange(0, len(truth), step)
        end = np.searchsorted(travelled, travelled[start] + length, side='right')
        start, end = start[end < len(truth)], end[end < len(truth)]
        error_m, error_deg = relative_errors(poses, truth, start, end)
        rows.append(np.stack((np.full(len(start), length), 100 * error_m / length,
                              error_deg / length, start), axis=1))
    return np.concatenate(rows)


def segment_plan(truth: np.ndarray) -> tuple[tuple[float, ...], int, str]:
    """
    Choose segments: KITTI's where the true path allows the shortest of them, else shares of it.

    :param truth: (N, 4, 4).
    :return: Lengths [m], poses between their starts, and what to call them.
    """
    length = float(travelled_m(truth)[-1])
    if not length > 0:
        return (), 1, 'none: the reference stands still'
    if length > SEGMENTS_M[0]:
        longest = max(segment for segment in SEGMENTS_M if segment < length)
        return SEGMENTS_M, SEGMENT_STEP, f'100-{longest} m'
    return (tuple(share * length for share in SHARES), 1,
            f'{SHARES[0]:.0%} to {SHARES[-1]:.0%} of the path')


def travelled_m(poses: np.ndarray) -> np.ndarray:
    """Return the length [m] of the way from the first of (N, 4, 4) poses to each, (N,)."""
    steps = np.linalg.norm(np.diff(poses[:, :3, 3], axis=0), axis=1)
    return np.concatenate(([0.0], np.cumsum(steps)))


def rotation_angle_deg(T: np.ndarray) -> np.ndarray:
    """Return the angle [deg] in [0, 180] of each rotation of (N, 4, 4), exact for small ones."""
    r = T[..., :3, :3]
    twice_sine = np.linalg.norm(np.stack((r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
                                          r[..., 1, 0] - r[..., 0, 1]), axis=-1), axis=-1)
    twice_cosine = np.trace(r, axis1=-2, axis2=-1) - 1
    return np.rad2deg(np.arctan2(twice_sine, twice_cosine))


def _nearest_ends(travelled: np.ndarray, length: float) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pose the later one nearest to a length [m] away, where one is."""
    start = np.arange(len(travelled) - 1)
    goal = travelled[start] + length
    after = np.searchsorted(travelled, goal).clip(max=len(travelled) - 1)
    before = np.maximum(after - 1, start + 1)
    after = np.maximum(after, start + 1)
    nearer = np.abs(travelled[before] - goal) <= np.abs(travelled[after] - goal)
    end = np.where(nearer, before, after)
    kept = np.abs(travelled[end] - goal) <= METRES_TOLERANCE * length
    return start[kept], end[kept]
