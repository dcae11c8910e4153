# SPDX-License-Identifier: Apache-2.0
"""Score a trajectory against a reference: pair the poses, align, sum up the errors."""
from dataclasses import dataclass

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.trajectory import associate, nearest_moments, Trajectory
from crossview_ros.metrics import Metric
from crossview_ros.metrics.pose import Alignment, trajectory_errors, TrajectoryErrors
import numpy as np


@dataclass(frozen=True)
class Spread:
    """How an error is distributed over the poses or steps."""

    rmse: float
    mean: float
    median: float
    max: float   # noqa: A003 (the usual name)
    unit: str


@dataclass(frozen=True)
class TrajectoryScore:
    """What a trajectory got; read the errors beside the coverage."""

    num_pairs: int
    num_estimated: int
    num_reference: int
    spreads: dict[str, Spread]    # ape, ape_angle, rpe, rpe_angle
    metrics: dict[str, Metric]    # coverage and figures of the whole path


def score_trajectory(estimate: Trajectory, reference: Trajectory, alignment: Alignment = 'se3',
                     max_difference_s: float = 0.02, delta: int = 1) -> TrajectoryScore:
    """
    Compare two trajectories over the poses that both have.

    :param alignment: As for `trajectory_metrics`.
    :param max_difference_s: Poses farther apart in time are no pair [s].
    :param delta: Pairs from the start to the end of a step of rpe.
    :return: Metrics coverage (share of the reference poses that are paired), time_coverage
        (share of them with an estimate near in time: the same at equal rates, and fair where the
        reference is the faster one), drift [%] and, where the path is long enough, segment_drift
        [%] and segment_turn [deg/100 m], the means of `segment_errors`; length [m] of the true
        path, scale [-].
    :raises DatasetError: If nothing can be paired or aligned.
    """
    first, second = _pair(estimate, reference, max_difference_s)
    if len(first) <= delta:
        raise DatasetError(f'only {len(first)} of {len(estimate)} estimated poses can be paired '
                           f'with a reference pose; expected more than {delta}')
    errors = trajectory_errors(estimate.poses[first], reference.poses[second], alignment, delta)
    return TrajectoryScore(
        len(first), len(estimate), len(reference),
        {'ape': _spread(errors.ape_m, 'm'), 'ape_angle': _spread(errors.ape_deg, 'deg'),
         'rpe': _spread(errors.rpe_m, 'm'), 'rpe_angle': _spread(errors.rpe_deg, 'deg')},
        {'coverage': Metric(len(first) / len(reference), '-'),
         'time_coverage': Metric(_time_coverage(estimate, reference, max_difference_s), '-'),
         **_path_metrics(errors)})


def _pair(estimate: Trajectory, reference: Trajectory,
          max_difference_s: float) -> tuple[np.ndarray, np.ndarray]:
    if estimate.stamps_ns is None and reference.stamps_ns is None:
        if len(estimate) != len(reference):
            raise DatasetError(f'the estimate has {len(estimate)} poses but the reference '
                               f'{len(reference)}; without times (KITTI) each frame needs its '
                               'row in both: write TUM files with times instead')
        return np.arange(len(estimate)), np.arange(len(reference))
    if estimate.stamps_ns is None or reference.stamps_ns is None:
        bare = 'estimate' if estimate.stamps_ns is None else 'reference'
        raise DatasetError(f'the {bare} has no times (KITTI) but the other file has; give both '
                           'as TUM files or both as KITTI files')
    pairs = associate(estimate.stamps_ns, reference.stamps_ns, round(max_difference_s * 1e9))
    if not len(pairs[0]):
        raise DatasetError(
            f'no pose of the estimate ({_span(estimate)}) lies within {max_difference_s:g} s of '
            f'one of the reference ({_span(reference)}); is it the same clock? '
            '--max-difference allows more')
    return pairs


def _time_coverage(estimate: Trajectory, reference: Trajectory, max_difference_s: float) -> float:
    if estimate.stamps_ns is None:
        return 1.0   # a row for each frame in both
    nearest = nearest_moments(reference.stamps_ns, estimate.stamps_ns)
    difference = np.abs(estimate.stamps_ns[nearest] - reference.stamps_ns)
    return float((difference <= round(max_difference_s * 1e9)).mean())


def _path_metrics(errors: TrajectoryErrors) -> dict[str, Metric]:
    metrics = {'drift': Metric(errors.drift, '%')}
    if len(errors.segments):
        _, drift, turn = errors.segments.mean(axis=0)
        metrics.update(segment_drift=Metric(float(drift), '%'),
                       segment_turn=Metric(float(turn), 'deg/100m'))
    return {**metrics, 'length': Metric(errors.length_m, 'm'), 'scale': Metric(errors.scale, '-')}


def _spread(errors: np.ndarray, unit: str) -> Spread:
    return Spread(float(np.sqrt(np.mean(errors ** 2))), float(errors.mean()),
                  float(np.median(errors)), float(errors.max()), unit)


def _span(trajectory: Trajectory) -> str:
    start_s, end_s = trajectory.stamps_ns[[0, -1]] * 1e-9
    return f'{len(trajectory)} poses, {start_s:.3f} to {end_s:.3f} s'
