# SPDX-License-Identifier: Apache-2.0
"""How odometry drifts over sub-paths, from frame to frame, and in its scale."""
from dataclasses import dataclass

from crossview_ros.metrics import Metric
from crossview_ros.metrics.path_errors import (
    relative_errors, segment_errors, SEGMENTS_M, SHARES, travelled_m)
from crossview_ros.replay.odometry_scores import STILL_PATH_M, Track
import numpy as np

SUBPATHS_M = (5.0, 10.0, 20.0, *map(float, SEGMENTS_M))
SCALE_WINDOWS = 8      # stretches of equal true length in which the scale is measured
LEAST_WINDOW_M = 0.25
LEAST_DURATION_S = 10.0   # of a shorter way a drift per minute would be mostly noise


@dataclass(frozen=True)
class SubpathRow:
    """Mean drift over all sub-paths of one length, one starting at each frame."""

    method: str
    length_m: float
    share: float | None    # of the whole path, where it allows no standard length
    count: int
    drift_percent: float   # |position error| over the length [%]
    turn_deg_m: float      # rotation error over the length [deg/m]


def subpath_lengths(path_m: float) -> list[tuple[float, float | None]]:
    """
    Return what sub-paths a true path allows, as (length [m], share of the path).

    The lengths are 5, 10, 20 m and KITTI's 100 to 800 m; a path too short for them is cut into
    shares of it.
    """
    lengths = [(length, None) for length in SUBPATHS_M if length < path_m]
    return lengths or [(share * path_m, share) for share in SHARES if path_m > STILL_PATH_M]


def subpath_rows(track: Track, method: str) -> list[SubpathRow]:
    """Return the drift over every length that the true path allows; none when standing."""
    _, estimate, truth = track.compared()
    if len(truth) < 2 or track.stands_still:
        return []
    rows = []
    for length, share in subpath_lengths(travelled_m(truth)[-1]):
        errors = segment_errors(estimate, truth, (length,), step=1)
        if len(errors):
            rows.append(SubpathRow(method, length, share, len(errors),
                                   *map(float, errors[:, 1:3].mean(axis=0))))
    return rows


def frame_errors(track: Track) -> dict[int, dict[str, float]]:
    """
    Return the errors of odometry that belong to single frames.

    :return: Frame index -> odometry.step_error [m] and odometry.step_turn [deg] of the step that
        led to it, and odometry.drift_5m, _10m, _20m [%] of the sub-path that begins there.
    """
    frames, estimate, truth = track.compared()
    found: dict[int, dict[str, float]] = {frame.index: {} for frame in frames}
    if len(frames) < 2:
        return found
    index = np.array([frame.index for frame in frames])
    start = np.flatnonzero(np.diff(index) == 1)
    for end, error_m, error_deg in zip(start + 1,
                                       *relative_errors(estimate, truth, start, start + 1)):
        found[int(index[end])].update({'odometry.step_error': float(error_m),
                                       'odometry.step_turn': float(error_deg)})
    if not track.stands_still:
        for length, drift, _, first in segment_errors(estimate, truth, SUBPATHS_M[:3], step=1):
            found[int(index[int(first)])][f'odometry.drift_{length:g}m'] = float(drift)
    return found


def scale_figures(track: Track) -> dict[str, Metric]:
    """
    Return the scale of the estimated path and how it drifts.

    The true path is cut into stretches of equal length; the scale of each is its estimated over
    its true displacement. The drift is the slope of a line through the logarithms over time.

    :return: odometry.scale [-], the median, and odometry.scale_drift [%/min]; none of it where
        the path is too short to tell, no drift where the time is.
    """
    frames, estimate, truth = track.compared()
    if len(frames) < 4:
        return {}
    travelled = travelled_m(truth)
    window_m = travelled[-1] / SCALE_WINDOWS
    if window_m < LEAST_WINDOW_M:
        return {}
    ends = np.searchsorted(travelled, window_m * np.arange(SCALE_WINDOWS + 1) * (1 - 1e-9))
    ends = np.unique(ends.clip(max=len(truth) - 1))
    moved, true_moved = (np.linalg.norm(np.diff(path[ends, :3, 3], axis=0), axis=1)
                         for path in (estimate, truth))
    kept = (moved > 0) & (true_moved > 0.5 * window_m)   # there and back shows no scale
    if kept.sum() < 3:
        return {}
    scale = moved[kept] / true_moved[kept]
    figures = {'odometry.scale': Metric(float(np.median(scale)), '-')}
    if frames[-1].stamp_ns - frames[0].stamp_ns < 1e9 * LEAST_DURATION_S:
        return figures
    stamps_min = np.array([frames[end].stamp_ns for end in ends]) / 6e10
    middle = ((stamps_min[1:] + stamps_min[:-1]) / 2)[kept]
    slope = np.polyfit(middle - middle[0], np.log(scale), 1)[0]
    return {**figures, 'odometry.scale_drift': Metric(float(100 * slope), '%/min')}
