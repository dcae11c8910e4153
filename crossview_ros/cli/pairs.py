# SPDX-License-Identifier: Apache-2.0
"""
Turn rosbags into pre-training pairs: stereo, sequential, and image + cloud.

Writes WebDataset shards with an index, a sheet of thumbnails and statistics into OUT. A run that
was stopped goes on when it is called again.
"""
import argparse
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli.console import (
    add_input_arguments, FrameBar, positive, positive_number, print_rows)

HELP = 'turn rosbags into pre-training pairs: stereo, sequential, image + cloud'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('bags', metavar='BAG', type=Path, nargs='+',
                        help='bag folder or .mcap file')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to write')
    for name, text in (
            ('min-covisibility', 'least share that each view sees of the other (default: 0.5)'),
            ('max-covisibility', 'largest share (default: 1)'),
            ('min-parallax-deg', 'least median angle between the lines of sight [deg] '
                                 '(default: 1)'),
            ('min-sharpness', 'least variance of the Laplacian (default: 30)'),
            ('min-brightness', 'least mean grey value, of 255 (default: 20)'),
            ('min-change', 'least difference of thumbnails from earlier views, grey values of '
                           '255 (default: 1.5)')):
        parser.add_argument(f'--{name}', type=float, metavar='X', help=text)
    parser.add_argument('--max-pairs', type=positive, metavar='N',
                        help='stop after N pairs of all kinds (default: no limit)')
    parser.add_argument('--window', type=positive, metavar='N',
                        help='earlier views that each is compared with (default: 16)')
    parser.add_argument('--max-cloud-offset', dest='max_cloud_offset_s', type=positive_number,
                        metavar='S', help='largest time between image and cloud [s] '
                                          '(default: 0.05)')
    add_input_arguments(parser)
    parser.add_argument('--size', type=_size, dest='size_hw', metavar='HxW',
                        help='cut the middle to this shape and resize [px] (default: as it is)')
    parser.add_argument('--jpeg-quality', type=positive, metavar='Q',
                        help='1 to 100 (default: 95)')
    parser.add_argument('--shard-mb', type=positive_number, metavar='MB',
                        help='close a shard at this size [MB] (default: 256)')
    parser.add_argument('--json', action='store_true',
                        help='print statistics.json on stdout instead of a table')


def run(args: argparse.Namespace) -> int:
    """Mine, then print and draw what was found."""
    import json
    import cv2
    from crossview_ros.data.pair_shards import write_json
    from crossview_ros.replay.pair_run import mine_pairs
    from crossview_ros.replay.pair_statistics import statistics, STATISTICS, write_sheet
    cv2.setNumThreads(1)   # equal results whatever the number of cores
    with FrameBar('pairs') as bar:
        state = mine_pairs(args.bags, args.out, _options(args), bar.update)
    figures = statistics(args.out, state)
    write_json(args.out / STATISTICS, figures)
    sheet = write_sheet(args.out)
    if args.json:
        print(json.dumps(figures, allow_nan=False))
    else:
        _print_tables(figures)
        print(f'sheet: {sheet}')
    for note in figures['notes']:
        print(f'note: {note}', file=sys.stderr)
    return 0


def _options(args: argparse.Namespace) -> Any:
    from dataclasses import fields
    from crossview_ros.replay.pair_options import PairOptions
    given = {entry.name: getattr(args, entry.name, None) for entry in fields(PairOptions)}
    return PairOptions(**{name: value for name, value in given.items() if value is not None})


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition('x')
    if not (height.isdigit() and width.isdigit()):
        raise argparse.ArgumentTypeError(f'expected HxW such as 256x256 [px], got {text!r}')
    return int(height), int(width)


def _print_tables(figures: dict[str, Any]) -> None:
    rows = [('bag and camera', 'kind', 'pairs', 'co-visibility', 'parallax [deg]', 'points',
             'by')]
    for row in figures['pairs']:
        rows.append((row['bag'], row['kind'], str(row['count']),
                     _number(row['median_covisibility'], 2),
                     _number(row['median_parallax_deg'], 2),
                     _number(row['median_num_points'], 0), row['method']))
    print_rows(rows, '<<>>>><')
    print('medians; by: what co-visibility was found from\n')
    dropped = [(bag, kind, str(count), reason) for bag, kinds in figures['dropped'].items()
               for kind, reasons in kinds.items() for reason, count in reasons.items()]
    if dropped:
        print_rows([('bag and camera', 'kind', 'dropped', 'why'), *dropped], '<<><')
    print(f'{figures["total"]} pairs')


def _number(value: float | None, digits: int) -> str:
    return '-' if value is None else f'{value:.{digits}f}'
