# SPDX-License-Identifier: Apache-2.0
"""
Compare two reports of replay or demo on the same bag, frame by frame.

Frames are paired by their stamps; a difference comes with its 95 % bootstrap interval, and the
table says which ones are beyond it. Writes compare.html and compare.json.
"""
import argparse
from pathlib import Path

from crossview_ros.cli.console import print_rows

HELP = 'compare two reports frame by frame, differences with their intervals'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('first', metavar='A', type=Path,
                        help='folder of a report, or its metrics.json')
    parser.add_argument('second', metavar='B', type=Path, help='the report to hold against it')
    parser.add_argument('--out', type=Path, default=Path('out/compare'), metavar='DIR',
                        help='folder to write (default: out/compare)')
    parser.add_argument('--seed', type=int, default=0, help='of the bootstrap (default: 0)')
    parser.add_argument('--json', action='store_true',
                        help='print compare.json instead of a table')


def run(args: argparse.Namespace) -> int:
    """Compare, write the page, print the table."""
    from dataclasses import asdict
    import json
    from crossview_ros.replay.comparison import compare, read_report
    from crossview_ros.replay.comparison_page import (
        comparison_page, comparison_rows, HEADER, verdict_sentence)
    comparison = compare(read_report(args.first), read_report(args.second), args.seed)
    text = json.dumps(_strict({'schema': 1, 'command': args.command, 'a': str(args.first),
                               'b': str(args.second), 'seed': args.seed, **asdict(comparison)}),
                      allow_nan=False)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / 'compare.json').write_text(text + '\n', encoding='utf-8')
    page = args.out / 'compare.html'
    page.write_text(comparison_page(comparison, args.command), encoding='utf-8')
    if args.json:
        print(text)
        return 0
    print_rows([HEADER, *comparison_rows(comparison)], '<>>>><><')
    print(f'\n{comparison.num_common} frames in common. {verdict_sentence(comparison)}')
    print(f'page: {page}')
    return 0


def _strict(value: object) -> object:
    """Return the value with null for every number that JSON does not have."""
    from math import isfinite
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
