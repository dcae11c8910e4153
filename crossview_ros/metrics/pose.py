# SPDX-License-Identifier: Apache-2.0
"""
Errors of a trajectory against the true one.

A trajectory is (N, 4, 4) float64, T_world_body; both have one pose for each of the same moments.
"""
from dataclasses import dataclass
from typing import Literal

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import invert
from crossview_ros.metrics import Metric
import numpy as np

Alignment = Literal['none', 'origin', 'se3', 'sim3']
SEGMENTS_M = (100, 200, 300, 400, 500, 600, 700, 800)   # lengths of KITTI's odometry benchmark
SEGMENT_STEP = 10                                       # frames between the starts of segments


@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of a trajectory after its alignment."""

    ape_m: np.ndarray      # (N,) of the positions
    ape_deg: np.ndarray    # (N,) of the rotations
    rpe_m: np.ndarray      # (N - delta,) of the steps
    rpe_deg: np.ndarray    # (N - delta,)
    drift: float           # [%] see `trajectory_metrics`
    length_m: float        # of the true path
    scale: float           # that the alignment applied
    segments: np.ndarray   # (K, 3) of `segment_errors`


def path_length(poses: np.ndarray) -> float:
    """Return the length [m] of the way through the positions of (N, 4, 4) poses."""
    positions = _checked(poses, 'trajectory')[:, :3, 3]
    return float(np.linalg.norm(np.diff(positions, axis=0), axis=1).sum())


def trajectory_metrics(poses: np.ndarray, truth: np.ndarray, alignment: Alignment = 'origin',
                       delta: int = 1) -> dict[str, Metric]:
    """
    Compare a trajectory with the truth.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :param alignment: What is done before ape: 'none' nothing, 'origin' puts the first poses on
        each other, 'se3' fits the positions by a rigid motion, 'sim3' by one with scale (then
        rpe and drift are scaled too).
    :param delta: Poses from the start to the end of a step of rpe.
    :return: ape [m] and ape_angle [deg], rpe [m] and rpe_angle [deg] (all rms), drift [%]
        (distance of the last positions after the first poses are put on each other, over the
        true path length), length [m] (true), scale [-] (applied).
    :raises DatasetError: If the trajectories differ in length or are too short.

    Source: Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012.
    """
    errors = trajectory_errors(poses, truth, alignment, delta)
    return {
        'ape': Metric(_rms(errors.ape_m), 'm'), 'ape_angle': Metric(_rms(errors.ape_deg), 'deg'),
        'rpe': Metric(_rms(errors.rpe_m), 'm'), 'rpe_angle': Metric(_rms(errors.rpe_deg), 'deg'),
        'drift': Metric(errors.drift, '%'), 'length': Metric(errors.length_m, 'm'),
        'scale': Metric(errors.scale, '-'),
    }


def trajectory_errors(poses: np.ndarray, truth: np.ndarray, alignment: Alignment = 'origin',
                      delta: int = 1) -> TrajectoryErrors:
    """
    Return the errors that `trajectory_metrics` sums up; the arguments are the same.

    :raises DatasetError: If the trajectories differ in length or are too short.
    """
    poses, truth = _checked(poses, 'trajectory'), _checked(truth, 'true trajectory')
    if len(poses) != len(truth):
        raise DatasetError(f'trajectory has {len(poses)} poses but the truth has {len(truth)}')
    if not 1 <= delta < len(poses):
        raise DatasetError(f'delta must be from 1 to {len(poses) - 1} poses, got {delta}')
    aligned, scale = align_trajectory(poses, truth, alignment)
    origin, _ = align_trajectory(aligned, truth, 'origin')
    step_m, step_deg = step_errors(aligned, truth, delta)
    length = path_length(truth)
    gap = float(np.linalg.norm(origin[-1, :3, 3] - truth[-1, :3, 3]))
    return TrajectoryErrors(
        np.linalg.norm(aligned[:, :3, 3] - truth[:, :3, 3], axis=1),
        rotation_angle_deg(invert(truth) @ aligned), step_m, step_deg,
        100 * gap / length if length > 0 else float('nan'), length, scale,
        segment_errors(aligned, truth))


def segment_errors(poses: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """
    Return how far each stretch of the path of 100, 200 ... 800 m drifts, whatever the alignment.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :return: (K, 3) rows of length [m], drift [%] and turn [deg/100 m]; a segment starts at each
        tenth pose and ends at the first one farther along the true path than its length.

    Source: Geiger et al., Are we ready for Autonomous Driving?, CVPR 2012, section 3.
    """
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    travelled = np.concatenate(([0.0], np.cumsum(steps)))
    rows = []
    for length in SEGMENTS_M:
        start = np.arange(0, len(truth), SEGMENT_STEP)
        end = np.searchsorted(travelled, travelled[start] + length, side='right')
        start, end = start[end < len(truth)], end[end < len(truth)]
        error_m, error_deg = _relative_errors(poses, truth, start, end)
        rows.append(np.stack((np.full(len(start), length), 100 * error_m / length,
                              100 * error_deg / length), axis=1))
    return np.concatenate(rows)


def step_errors(poses: np.ndarray, truth: np.ndarray,
                delta: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the error of each step from pose i to pose i + delta, whatever the alignment.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :return: (N - delta,) [m] and (N - delta,) [deg].
    """
    start = np.arange(len(truth) - delta)
    return _relative_errors(poses, truth, start, start + delta)


def align_trajectory(poses: np.ndarray, truth: np.ndarray,
                     alignment: Alignment) -> tuple[np.ndarray, float]:
    """
    Move a trajectory onto the truth.

    :param alignment: As for `trajectory_metrics`.
    :return: (N, 4, 4) moved poses, and the scale that was applied to their positions.
    :raises DatasetError: If the alignment is unknown or cannot be found.
    """
    if alignment == 'none':
        return poses, 1.0
    if alignment == 'origin':
        return truth[0] @ invert(poses[0]) @ poses, 1.0
    if alignment not in ('se3', 'sim3'):
        raise DatasetError("alignment must be 'none', 'origin', 'se3' or 'sim3', got "
                           f'{alignment!r}')
    rotation, translation, scale = umeyama(poses[:, :3, 3], truth[:, :3, 3],
                                           with_scale=alignment == 'sim3')
    aligned = np.array(poses, np.float64)
    aligned[:, :3, :3] = rotation @ poses[:, :3, :3]
    aligned[:, :3, 3] = scale * poses[:, :3, 3] @ rotation.T + translation
    return aligned, scale


def umeyama(points: np.ndarray, target: np.ndarray,
            with_scale: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """
    Find R, t, s that minimise sum |target - (s R points + t)|^2.

    :param points: (N, 3) [m].
    :param target: (N, 3) [m].
    :return: Rotation (3, 3), translation (3,) [m], scale (1 unless asked for).
    :raises DatasetError: If all points lie in one place or on one line.

    Source: Umeyama, Least-Squares Estimation of Transformation Parameters, PAMI 1991, eq. 40-42.
    """
    mean, target_mean = points.mean(axis=0), target.mean(axis=0)
    centred = points - mean
    u, d, vt = np.linalg.svd((target - target_mean).T @ centred / len(points))
    if d[1] <= 1e-9 * d[0] or d[0] == 0:
        raise DatasetError('positions in one place or on one line leave the rotation open; '
                           "use alignment 'origin'")
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * sign) @ vt
    scale = float((d * sign).sum() / (centred ** 2).sum(axis=1).mean()) if with_scale else 1.0
    return rotation, target_mean - scale * rotation @ mean, scale


def rotation_angle_deg(T: np.ndarray) -> np.ndarray:
    """Return the angle [deg] in [0, 180] of each rotation of (N, 4, 4), exact for small ones."""
    r = T[..., :3, :3]
    twice_sine = np.linalg.norm(np.stack((r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0],
                                          r[..., 1, 0] - r[..., 0, 1]), axis=-1), axis=-1)
    twice_cosine = np.trace(r, axis1=-2, axis2=-1) - 1
    return np.rad2deg(np.arctan2(twice_sine, twice_cosine))


def _relative_errors(poses: np.ndarray, truth: np.ndarray, start: np.ndarray,
                     end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the error of each motion from a start to its end, [m] and [deg]."""
    motion, true_motion = (invert(path[start]) @ path[end] for path in (poses, truth))
    error = invert(true_motion) @ motion
    return np.linalg.norm(error[:, :3, 3], axis=1), rotation_angle_deg(error)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values ** 2)))


def _checked(poses: np.ndarray, name: str) -> np.ndarray:
    poses = np.asarray(poses, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) < 2:
        raise DatasetError(f'{name} must be (N, 4, 4) with two poses or more, got {poses.shape}')
    if not np.isfinite(poses).all():
        raise DatasetError(f'{name} has poses that are not finite')
    return poses
