# SPDX-License-Identifier: Apache-2.0
"""
Score a trajectory against a reference: APE, RPE, drift, always beside the coverage.

Both are TUM files (t x y z qx qy qz qw, times in seconds) or both KITTI files (3 x 4 matrices, a
row for each frame); the reference may be EuRoC's csv. Poses are paired by their times. With
--association nearest and --max-difference 0.01 every figure is that of evo.
"""
import argparse
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli.console import positive_number, print_rows

LABELS = {'ape': 'APE translation', 'ape_angle': 'APE rotation', 'rpe': 'RPE translation',
          'rpe_angle': 'RPE rotation', 'coverage': 'coverage, paired',
          'time_coverage': 'coverage, in time', 'drift': 'drift, whole path',
          't_err': 't_err', 'r_err': 'r_err', 'length': 'reference path',
          'scale': 'scale applied', 'time_offset': 'time offset, added'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('estimate', metavar='ESTIMATE', type=Path, help='file of poses to score')
    parser.add_argument('reference', metavar='REFERENCE', type=Path, help='file of true poses')
    parser.add_argument('--align', choices=('none', 'origin', 'se3', 'sim3'), default='se3',
                        help='before APE: leave the poses, put the first ones on each other, fit '
                        'by a rigid motion, or with scale (default: se3)')
    parser.add_argument('--max-difference', type=positive_number, default=0.02, metavar='SECONDS',
                        help='poses farther apart in time are no pair [s] (default: 0.02)')
    parser.add_argument('--association', choices=('one-to-one', 'nearest'), default='one-to-one',
                        help='each pose in one pair at most, or as evo: each pose of the shorter '
                        'file with the nearest of the other (default: one-to-one)')
    parser.add_argument('--find-offset', action='store_true',
                        help='find what to add to the times of ESTIMATE, and add it')
    parser.add_argument('--max-offset', type=positive_number, default=5.0, metavar='SECONDS',
                        help='largest offset to try [s] (default: 5)')
    parser.add_argument('--delta', type=positive_number, default=1.0, metavar='N',
                        help='length of a step of RPE (default: 1)')
    parser.add_argument('--delta-unit', choices=('frames', 'metres'), default='frames',
                        help='what --delta counts: paired poses, or metres along the estimate '
                        '(default: frames)')
    parser.add_argument('--all-pairs', action='store_true',
                        help='a step of RPE starts at every pose, not where the one before ended')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Pair, align, compare and print."""
    from crossview_ros.data.trajectory_files import read_trajectory
    from crossview_ros.evaluation.time_offset import find_time_offset, shifted
    from crossview_ros.evaluation.trajectories import score_trajectory
    from crossview_ros.metrics import Metric
    from crossview_ros.metrics.path_errors import Steps
    nearest = args.association == 'nearest'
    estimate, reference = (read_trajectory(path, _note, keep_repeats=nearest)
                           for path in (args.estimate, args.reference))
    steps = Steps(args.delta, args.delta_unit, args.all_pairs)
    offset = None
    if args.find_offset:
        offset, likeness = find_time_offset(estimate, reference, args.max_offset)
        _note(f'{offset:+.4f} s are added to the times of {args.estimate}: there the speeds of '
              f'both correlate best, by {likeness:.3f}')
        estimate = shifted(estimate, offset)
    score = score_trajectory(estimate, reference, args.align, args.max_difference, steps,
                             args.association)
    if offset is not None:
        score.metrics['time_offset'] = Metric(offset, 's')
    if args.json:
        _print_json(args, score)
    else:
        _print_table(score)
    return 0


def _print_table(score: Any) -> None:
    print_rows([('error', 'rmse', 'mean', 'median', 'max', 'unit')]
               + [(LABELS[name], *map(_number, (spread.rmse, spread.mean, spread.median,
                                                spread.max)), spread.unit)
                  for name, spread in score.spreads.items()], '<>>>><')
    print()
    print_rows([('path', 'value', 'unit')]
               + [(_label(name, score), _number(metric.value), metric.unit)
                  for name, metric in score.metrics.items()]
               + [('paired poses', str(score.num_pairs), '-'),
                  ('estimated poses', str(score.num_estimated), '-'),
                  ('reference poses', str(score.num_reference), '-')], '<><')


def _print_json(args: argparse.Namespace, score: Any) -> None:
    from dataclasses import asdict
    import json
    from math import isfinite
    metrics = {name: asdict(spread) for name, spread in score.spreads.items()}
    metrics.update({name: {'value': metric.value if isfinite(metric.value) else None,
                           'unit': metric.unit} for name, metric in score.metrics.items()})
    print(json.dumps({
        'task': 'trajectory', 'estimate': str(args.estimate), 'reference': str(args.reference),
        'align': args.align, 'association': args.association,
        'max_difference_s': args.max_difference, 'delta': args.delta,
        'delta_unit': args.delta_unit, 'all_pairs': args.all_pairs, 'segments': score.segments,
        'num_pairs': score.num_pairs, 'num_estimated': score.num_estimated,
        'num_reference': score.num_reference, 'metrics': metrics}, allow_nan=False))


def _label(name: str, score: Any) -> str:
    """Name a figure, and for KITTI's errors the lengths that they are about."""
    return f'{LABELS[name]}, {score.segments}' if name in ('t_err', 'r_err') else LABELS[name]


def _number(value: float) -> str:
    return f'{value:.4f}'


def _note(text: str) -> None:
    print(f'note: {text}', file=sys.stderr)
