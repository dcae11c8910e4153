# SPDX-License-Identifier: Apache-2.0
"""What verbs share: argument types, the progress bar on stderr, the table of results."""
import argparse
from pathlib import Path
import sys
from typing import Any


def positive(text: str) -> int:
    """Read a count of at least one."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'expected a count of at least 1, got {text}')
    return value


def positive_number(text: str) -> float:
    """Read a number above zero."""
    value = float(text)
    if not 0.0 < value < float('inf'):
        raise argparse.ArgumentTypeError(f'expected a number above zero, got {text}')
    return value


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that choose what of a bag is read."""
    parser.add_argument('--left', metavar='TOPIC', help='left images (default: found by the '
                        'baseline in CameraInfo); without --right one camera')
    parser.add_argument('--right', metavar='TOPIC', help='right images; goes with --left')
    parser.add_argument('--cloud', metavar='TOPIC',
                        help='LiDAR cloud (default: the only one of the bag)')
    parser.add_argument('--rectify', action='store_true',
                        help='the images are raw: rectify them with their CameraInfo')
    parser.add_argument('--lidar-holdout', type=positive, metavar='N',
                        help='one ring of the cloud in N goes in, the others judge the depth; 1: '
                        'all go in (default: 5 with one camera and a LiDAR, else 1)')


def add_backend_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that say how a backend is opened."""
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'),
                        help='where it runs (default: auto)')
    parser.add_argument('--precision', default='auto',
                        choices=('auto', 'fp32', 'fp16', 'bf16', 'int8'),
                        help="of the network's products (default: the backend's own)")
    parser.add_argument('--threads', type=positive, metavar='N',
                        help="CPU threads of the network (default: the backend's own)")
    parser.add_argument('--cache-dir', metavar='DIR',
                        help='graphs and engines (default: ~/.cache/crossview_ros)')


def read_size(text: str) -> tuple[int, int]:
    """
    Read a size such as 240x320: height, then width.

    :raises ConfigError: If it is none.
    """
    from crossview_ros.errors import ConfigError
    rows, separator, cols = text.partition('x')
    if not (separator and rows.isdigit() and cols.isdigit()):
        raise ConfigError(f"--size expects HxW, e.g. 240x320; got '{text}'")
    return int(rows), int(cols)


def print_result(data: Any, page: Path, as_json: bool) -> None:
    """
    Print the figures as a table with units, or all of metrics.json.

    :param data: ReportData.
    :param page: Where the report was written.
    """
    import json
    from crossview_ros.replay.figures import describe, number_and_unit, position
    from crossview_ros.replay.metrics_file import metrics_dict, percentiles
    if as_json:
        print(json.dumps(metrics_dict(data), allow_nan=False))
        return
    rows = [(describe(name).label, *number_and_unit(name, data.figures[name]))
            for name in sorted(data.figures, key=position)]
    rows.append((f'{data.subject.capitalize()} answered',
                 f'{data.num_answered}/{len(data.frames)}', '-'))
    rows += [(f'{output.task.capitalize()} answered', f'{output.answered}/{output.possible}', '-')
             for output in data.outputs if output.task != 'stereo']
    times = percentiles(data.latencies_ms)
    rows += [(f'Latency {name}', f'{times[name]:.0f}', 'ms') for name in ('p50', 'p95') if times]
    if data.rate_hz:
        rows.append(('Rate', f'{data.rate_hz:.2f}', 'frames/s'))
    for label, number, unit in rows:
        print(f'{label:<32}{number:>10}  {unit or "-"}')
    _print_odometry(data)
    for note in data.notes:
        print(f'note: {note}', file=sys.stderr)
    print(f'report: {page}')


def _print_odometry(data: Any) -> None:
    """Print the drift by length, and what a classical odometry got on the same frames."""
    from crossview_ros.replay.figures import describe, number_and_unit, position, significant
    from crossview_ros.replay.report_odometry import subpath_name
    if data.subpaths:
        print()
        print_rows([('sub-paths of', 'method', 'drift', '', 'turn', '', 'count')]
                   + [(subpath_name(row), row.method, significant(row.drift_percent), '%',
                       significant(row.turn_deg_m), 'deg/m', str(row.count))
                      for row in sorted(data.subpaths, key=lambda row: row.length_m)], '<<><><>')
    if data.baseline is not None:
        figures = data.baseline.figures
        print()
        print_rows([('odometry', 'crossview', data.baseline.name, 'unit')]
                   + [(describe(name).label, *(number_and_unit(name, of[name])[0] if name in of
                                               else '-' for of in (data.figures, figures)),
                       number_and_unit(name, figures[name])[1])
                      for name in sorted(figures, key=position)], '<>><')


def print_rows(rows: list[tuple[str, ...]], sides: str) -> None:
    """
    Print aligned columns.

    :param rows: The first one is the heading.
    :param sides: '<' or '>' for each column.
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in rows:
        print('  '.join(f'{text:{side}{width}}' for text, side, width
                        in zip(row, sides, widths)).rstrip())


class FrameBar:
    """A progress bar on stderr that learns its length with the first step."""

    def __init__(self, name: str, unit: str = 'frame') -> None:
        """Show nothing yet."""
        self._name, self._unit, self._bar = name, unit, None

    def __enter__(self) -> 'FrameBar':
        """Return the bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the line as it is."""
        if self._bar is not None:
            self._bar.close()

    def update(self, done: int, total: int) -> None:
        """Show how many are done."""
        from tqdm import tqdm
        if self._bar is None:
            # a log file wants a line now and then, not one for each frame
            self._bar = tqdm(total=total, desc=self._name, unit=self._unit, file=sys.stderr,
                             mininterval=0.1 if sys.stderr.isatty() else 5.0)
        self._bar.update(done - self._bar.n)
