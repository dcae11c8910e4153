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
from crossview_ros.metrics.path_errors import (
    relative_errors, rotation_angle_deg, segment_errors, segment_plan, step_pairs, Steps,
    travelled_m)
import numpy as np

Alignment = Literal['none', 'origin', 'se3', 'sim3']


@dataclass(frozen=True)
class TrajectoryErrors:
    """Errors of a trajectory after its alignment."""

    ape_m: np.ndarray      # (N,) of the positions
    ape_deg: np.ndarray    # (N,) of the rotations
    rpe_m: np.ndarray      # (K,) of the steps
    rpe_deg: np.ndarray    # (K,)
    drift: float           # [%] see `trajectory_metrics`
    length_m: float        # of the true path
    scale: float           # that the alignment applied
    segments: np.ndarray   # (M, 4) of `segment_errors`
    segments_label: str    # which lengths these are


def path_length(poses: np.ndarray) -> float:
    """Return the length [m] of the way through the positions of (N, 4, 4) poses."""
    return float(travelled_m(_checked(poses, 'trajectory'))[-1])


def trajectory_metrics(poses: np.ndarray, truth: np.ndarray, alignment: Alignment = 'origin',
                       steps: Steps = Steps()) -> dict[str, Metric]:
    """
    Compare a trajectory with the truth.

    :param poses: (N, 4, 4), estimated.
    :param truth: (N, 4, 4), same moments.
    :param alignment: What is done before ape: 'none' nothing, 'origin' puts the first poses on
        each other, 'se3' fits the positions by a rigid motion, 'sim3' by one with scale (then
        rpe and drift are scaled too).
    :param steps: From which pose to which rpe is taken.
    :return: ape [m] and ape_angle [deg], rpe [m] and rpe_angle [deg] (all rms), drift [%]
        (distance of the last positions after the first poses are put on each other, over the
        true path length), length [m] (true), scale [-] (applied).
    :raises DatasetError: If the trajectories differ in length or are too short.

    Source: Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems, IROS 2012.
    """
    errors = trajectory_errors(poses, truth, alignment, steps)
    return {
        'ape': Metric(_rms(errors.ape_m), 'm'), 'ape_angle': Metric(_rms(errors.ape_deg), 'deg'),
        'rpe': Metric(_rms(errors.rpe_m), 'm'), 'rpe_angle': Metric(_rms(errors.rpe_deg), 'deg'),
        'drift': Metric(errors.drift, '%'), 'length': Metric(errors.length_m, 'm'),
        'scale': Metric(errors.scale, '-'),
    }


def trajectory_errors(poses: np.ndarray, truth: np.ndarray, alignment: Alignment = 'origin',
                      steps: Steps = Steps()) -> TrajectoryErrors:
    """
    Return the errors that `trajectory_metrics` sums up; the arguments are the same.

    :raises DatasetError: If the trajectories differ in length or are too short.
    """
    poses, truth = _checked(poses, 'trajectory'), _checked(truth, 'true trajectory')
    if len(poses) != len(truth):
        raise DatasetError(f'trajectory has {len(poses)} poses but the truth has {len(truth)}')
    aligned, scale = align_trajectory(poses, truth, alignment)
    origin, _ = align_trajectory(aligned, truth, 'origin')
    start, end = step_pairs(aligned, steps)
    if not len(start):
        raise DatasetError(f'{len(poses)} poses over {path_length(poses):.3f} m hold no step of '
                           f'{steps.delta:g} {steps.unit}; give a smaller delta')
    step_m, step_deg = relative_errors(aligned, truth, start, end)
    lengths_m, spacing, label = segment_plan(truth)
    length = path_length(truth)
    gap = float(np.linalg.norm(origin[-1, :3, 3] - truth[-1, :3, 3]))
    return TrajectoryErrors(
        np.linalg.norm(aligned[:, :3, 3] - truth[:, :3, 3], axis=1),
        rotation_angle_deg(invert(truth) @ aligned), step_m, step_deg,
        100 * gap / length if length > 0 else float('nan'), length, scale,
        segment_errors(aligned, truth, lengths_m, spacing), label)


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


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values ** 2)))


def _checked(poses: np.ndarray, name: str) -> np.ndarray:
    poses = np.asarray(poses, np.float64)
    if poses.ndim != 3 or poses.shape[1:] != (4, 4) or len(poses) < 2:
        raise DatasetError(f'{name} must be (N, 4, 4) with two poses or more, got {poses.shape}')
    if not np.isfinite(poses).all():
        raise DatasetError(f'{name} has poses that are not finite')
    return poses
