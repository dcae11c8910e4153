# SPDX-License-Identifier: Apache-2.0
"""Score a trajectory against a reference: pair the poses, align, sum up the errors."""
from dataclasses import dataclass
from typing import Literal

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.trajectory import (
    associate, associate_nearest, nearest_moments, Trajectory)
from crossview_ros.metrics import Metric
from crossview_ros.metrics.path_errors import Steps
from crossview_ros.metrics.pose import Alignment, trajectory_errors, TrajectoryErrors
import numpy as np

Association = Literal['one-to-one', 'nearest']


@dataclass(frozen=True)
class Spread:
    """How an error is distributed over the poses or steps."""

    rmse: float
    mean: float
    median: float
    min: float   # noqa: A003 (the usual name)
    max: float   # noqa: A003 (the usual name)
    std: float
    sse: float   # sum of the squares, in squares of the unit
    unit: str


@dataclass(frozen=True)
class TrajectoryScore:
    """What a trajectory got; read the errors beside the coverage."""

    num_pairs: int
    num_estimated: int
    num_reference: int
    spreads: dict[str, Spread]    # ape, ape_angle, rpe, rpe_angle
    metrics: dict[str, Metric]    # coverage and figures of the whole path
    segments: str                 # lengths of the segments of t_err and r_err


def score_trajectory(estimate: Trajectory, reference: Trajectory, alignment: Alignment = 'se3',
                     max_difference_s: float = 0.02, steps: Steps = Steps(),
                     association: Association = 'one-to-one') -> TrajectoryScore:
    """
    Compare two trajectories over the poses that both have.

    :param alignment: As for `trajectory_metrics`.
    :param max_difference_s: Poses farther apart in time are no pair [s].
    :param steps: From which pair to which rpe is taken.
    :param association: Each pose in one pair at most, or each of the shorter list with the
        nearest of the longer one, as evo does.
    :return: Metrics coverage (share of the reference poses that are paired), time_coverage
        (share of them with an estimate near in time: the same at equal rates, and fair where the
        reference is the faster one), drift [%], t_err [%] and r_err [deg/m], the means of
        `segment_errors` over 100 to 800 m, or over shares of a path too short for them; length
        [m] of the true path, scale [-].
    :raises DatasetError: If nothing can be paired or aligned.
    """
    first, second = _pair(estimate, reference, max_difference_s, association)
    fewest = int(steps.delta) if steps.unit == 'frames' else 1
    if len(first) <= fewest:
        raise DatasetError(f'only {len(first)} of {len(estimate)} estimated poses can be paired '
                           f'with a reference pose; expected more than {fewest}')
    errors = trajectory_errors(estimate.poses[first], reference.poses[second], alignment, steps)
    return TrajectoryScore(
        len(first), len(estimate), len(reference),
        {'ape': _spread(errors.ape_m, 'm'), 'ape_angle': _spread(errors.ape_deg, 'deg'),
         'rpe': _spread(errors.rpe_m, 'm'), 'rpe_angle': _spread(errors.rpe_deg, 'deg')},
        {'coverage': Metric(len(first) / len(reference), '-'),
         'time_coverage': Metric(_time_coverage(estimate, reference, max_difference_s), '-'),
         **_path_metrics(errors)}, errors.segments_label)


def _pair(estimate: Trajectory, reference: Trajectory, max_difference_s: float,
          association: Association) -> tuple[np.ndarray, np.ndarray]:
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
    paired = associate if association == 'one-to-one' else associate_nearest
    pairs = paired(estimate.stamps_ns, reference.stamps_ns, round(max_difference_s * 1e9))
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
        _, drift, turn, _ = errors.segments.mean(axis=0)
        metrics.update(t_err=Metric(float(drift), '%'), r_err=Metric(float(turn), 'deg/m'))
    return {**metrics, 'length': Metric(errors.length_m, 'm'), 'scale': Metric(errors.scale, '-')}


def _spread(errors: np.ndarray, unit: str) -> Spread:
    return Spread(float(np.sqrt(np.mean(errors ** 2))), float(errors.mean()),
                  float(np.median(errors)), float(errors.min()), float(errors.max()),
                  float(errors.std()), float(np.sum(errors ** 2)), unit)


def _span(trajectory: Trajectory) -> str:
    start_s, end_s = trajectory.stamps_ns[[0, -1]] * 1e-9
    return f'{len(trajectory)} poses, {start_s:.3f} to {end_s:.3f} s'
