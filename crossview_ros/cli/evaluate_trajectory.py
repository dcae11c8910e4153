# SPDX-License-Identifier: Apache-2.0
"""
Score a trajectory against a reference: APE, RPE, drift, always beside the coverage.

Both are TUM files (t x y z qx qy qz qw, times in seconds) or both KITTI files (3 x 4 matrices, a
row for each frame); the reference may be EuRoC's csv. Poses are paired one to one by their times.
"""
import argparse
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli.console import positive, positive_number, print_rows

LABELS = {'ape': 'APE translation', 'ape_angle': 'APE rotation', 'rpe': 'RPE translation',
          'rpe_angle': 'RPE rotation', 'coverage': 'coverage, paired',
          'time_coverage': 'coverage, in time', 'drift': 'drift, whole path',
          'segment_drift': 'drift, segments of 100-800 m',
          'segment_turn': 'turn, segments of 100-800 m', 'length': 'reference path',
          'scale': 'scale applied'}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('estimate', metavar='ESTIMATE', type=Path, help='file of poses to score')
    parser.add_argument('reference', metavar='REFERENCE', type=Path, help='file of true poses')
    parser.add_argument('--align', choices=('none', 'origin', 'se3', 'sim3'), default='se3',
                        help='before APE: leave the poses, put the first ones on each other, fit '
                        'by a rigid motion, or with scale (default: se3)')
    parser.add_argument('--max-difference', type=positive_number, default=0.02, metavar='SECONDS',
                        help='poses farther apart in time are no pair [s] (default: 0.02)')
    parser.add_argument('--delta', type=positive, default=1, metavar='N',
                        help='paired poses from start to end of a step of RPE (default: 1)')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Pair, align, compare and print."""
    from crossview_ros.data.trajectory_files import read_trajectory
    from crossview_ros.evaluation.trajectories import score_trajectory
    score = score_trajectory(read_trajectory(args.estimate, _note),
                             read_trajectory(args.reference, _note), args.align,
                             args.max_difference, args.delta)
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
               + [(LABELS[name], _number(metric.value), metric.unit)
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
        'align': args.align, 'max_difference_s': args.max_difference, 'delta': args.delta,
        'num_pairs': score.num_pairs, 'num_estimated': score.num_estimated,
        'num_reference': score.num_reference, 'metrics': metrics}, allow_nan=False))


def _number(value: float) -> str:
    return f'{value:.4f}'


def _note(text: str) -> None:
    print(f'note: {text}', file=sys.stderr)
