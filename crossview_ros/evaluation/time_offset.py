# SPDX-License-Identifier: Apache-2.0
"""Find by how much the clock of a trajectory differs from that of its reference."""
from dataclasses import replace

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import invert
from crossview_ros.geometry.trajectory import Trajectory
from crossview_ros.metrics.path_errors import rotation_angle_deg, travelled_m
import numpy as np

TICK_S = 0.01        # grid on which speeds are compared
SMOOTH_S = 0.1       # speeds are means over so long: pose noise at 200 Hz is no speed
STEADY = 1e-3        # a speed that changes by a smaller share of it tells no time
LEAST_OVERLAP_S = 2.0
LEAST_LIKENESS = 0.3   # correlation below which there is no offset to speak of


def find_time_offset(estimate: Trajectory, reference: Trajectory,
                     largest_s: float = 5.0) -> tuple[float, float]:
    """
    Return what to add to the estimate's times so that it moves as the reference does.

    Compared are how fast both turn and how fast both move, which neither the frames nor the
    scale of a trajectory change: the offset is the peak of their correlation, refined by a
    parabola.

    :param largest_s: Offsets up to this are tried [s], either way.
    :return: Offset [s], and the correlation at it, [-1, 1].
    :raises DatasetError: If a trajectory has no times, they hardly overlap, or nothing moves
        alike.
    """
    if estimate.stamps_ns is None or reference.stamps_ns is None:
        raise DatasetError('an offset can only be found between trajectories with times')
    start_ns = reference.stamps_ns[0]
    times = [(path.stamps_ns - start_ns) * 1e-9 for path in (estimate, reference)]
    reach = round(largest_s / TICK_S)
    scores = np.zeros(2 * reach + 1)
    found = 0
    for signal in (_turned_deg, travelled_m):
        score = _correlations(times, [signal(path.poses) for path in (estimate, reference)],
                              largest_s)
        if score is not None:
            scores, found = scores + score, found + 1
    if not found or scores.max() < LEAST_LIKENESS * found:
        raise DatasetError(
            f'no time offset within {largest_s:g} s makes the trajectories move alike: they must '
            f'overlap by {LEAST_OVERLAP_S:g} s or more and change their speed')
    best = int(scores.argmax())
    return (best - reach + _peak(scores, best)) * TICK_S, float(scores[best] / found)


def shifted(trajectory: Trajectory, offset_s: float) -> Trajectory:
    """Add an offset [s] to the times of a trajectory."""
    return replace(trajectory,
                   stamps_ns=trajectory.stamps_ns + np.int64(round(offset_s * 1e9)))


def _turned_deg(poses: np.ndarray) -> np.ndarray:
    """Return by how many degrees the body has turned, all turns added up, (N,)."""
    return np.concatenate(([0.0], np.cumsum(rotation_angle_deg(invert(poses[:-1]) @ poses[1:]))))


def _correlations(times: list[np.ndarray], ways: list[np.ndarray],
                  largest_s: float) -> np.ndarray | None:
    """Return the correlation of two speeds at each offset; None where one is constant."""
    reach = round(largest_s / TICK_S)
    (estimate_s, reference_s), (way, true_way) = times, ways
    half = SMOOTH_S / 2   # beyond the ends there is no speed
    first = max(estimate_s[0] - largest_s, reference_s[0] + half)
    last = min(estimate_s[-1] + largest_s, reference_s[-1] - half)
    if last - first < LEAST_OVERLAP_S:
        return None
    grid = np.arange(first, last, TICK_S)
    true_speed = _speed(reference_s, true_way, grid)
    scores = np.full(2 * reach + 1, -1.0)
    for shift in range(-reach, reach + 1):
        moved = grid - shift * TICK_S
        inside = (moved >= estimate_s[0] + half) & (moved <= estimate_s[-1] - half)
        if inside.sum() * TICK_S < LEAST_OVERLAP_S:
            continue
        pair = true_speed[inside], _speed(estimate_s, way, moved[inside])
        if min(np.ptp(speed) - STEADY * np.abs(speed).max() for speed in pair) <= 0:
            return None
        scores[shift + reach] = np.corrcoef(*pair)[0, 1]
    return scores


def _speed(times_s: np.ndarray, way: np.ndarray, at_s: np.ndarray) -> np.ndarray:
    half = SMOOTH_S / 2
    return (np.interp(at_s + half, times_s, way) - np.interp(at_s - half, times_s, way)) / SMOOTH_S


def _peak(scores: np.ndarray, best: int) -> float:
    """Return where between its neighbours a parabola through three values has its top."""
    if not 0 < best < len(scores) - 1:
        return 0.0
    before, top, after = scores[best - 1:best + 2]
    bend = before - 2 * top + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0
