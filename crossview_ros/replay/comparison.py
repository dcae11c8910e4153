# SPDX-License-Identifier: Apache-2.0
"""Compare two reports frame by frame: by how much they differ, and whether that is chance."""
from dataclasses import dataclass
import json
from pathlib import Path
from typing import Any

from crossview_ros.errors import DatasetError
from crossview_ros.metrics.bootstrap import block_bootstrap, Interval
from crossview_ros.replay.figures import position
import numpy as np

LATENCY = 'latency_ms'
# more is better; of all other figures less is better, but these are neither
MORE_IS_BETTER = ('coverage', 'valid_share', 'delta_1', 'delta_2', 'delta_3')
NEITHER = ('median', 'confidence', 'mean', 'bias', 'scale', 'ause_of_chance', 'epe_zero',
           'epe_constant', 'photo_unmoved', 'unmoved', 'path', 'true_path', 'away', 'turn')
BETTER, WORSE, DIFFERENT, CHANCE, UNKNOWN = \
    'better', 'worse', 'different', 'within the interval', 'not known'


@dataclass(frozen=True)
class Difference:
    """One figure of two reports."""

    name: str
    unit: str
    first: float             # A, mean over the common frames, or of the whole run
    second: float            # B
    num_frames: int          # frames that have it in both; 0: it belongs to the whole run
    interval: Interval       # of B - A
    verdict: str             # what B is against A


@dataclass(frozen=True)
class Comparison:
    """Two reports and all that both can say."""

    titles: tuple[str, str]
    num_common: int                # frames by stamp
    num_frames: tuple[int, int]
    differences: list[Difference]


def read_report(path: Path) -> dict[str, Any]:
    """
    Read the metrics.json of a report.

    :param path: Folder of the report, or the file.
    :raises DatasetError: If there is none.
    """
    file = path / 'metrics.json' if path.is_dir() else path
    try:
        report = json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise DatasetError(f'{file}: is no metrics.json of a report: {error}') from error
    if not isinstance(report, dict) or not {'per_frame', 'metrics'} <= report.keys():
        raise DatasetError(f'{file}: is no metrics.json of a report: it lacks per_frame and '
                           'metrics')
    return report


def compare(first: dict[str, Any], second: dict[str, Any], seed: int = 0) -> Comparison:
    """
    Compare two reports, figure by figure.

    Frames are paired by their stamps; the interval is that of the mean of the paired
    differences. Figures of the whole run, such as the drift at its end, have none.

    :param seed: Of the bootstrap.
    :raises DatasetError: If the reports have no frame in common.
    """
    rows = [{row['stamp_ns']: row for row in report['per_frame']} for report in (first, second)]
    common = sorted(rows[0].keys() & rows[1].keys())
    if not common:
        raise DatasetError('the reports have no frame in common: their stamps differ; are they of '
                           'the same bag?')
    columns = [_columns([side[stamp] for stamp in common]) for side in rows]
    per_frame = [_by_frames(name, columns[0][name], columns[1][name], _unit(name, first), seed)
                 for name in columns[0] if name in columns[1]]
    of_frames = {difference.name for difference in per_frame if difference.num_frames}
    whole = [_of_run(name, first['metrics'][name], second['metrics'][name])
             for name in first['metrics'] if name in second['metrics'] and name not in of_frames]
    found = [entry for entry in (*per_frame, *whole) if np.isfinite((entry.first,
                                                                     entry.second)).all()]
    return Comparison((first.get('title', 'A'), second.get('title', 'B')), len(common),
                      (len(first['per_frame']), len(second['per_frame'])),
                      sorted(found, key=lambda entry: (position(entry.name), entry.name)))


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Return figure -> its value in each row, NaN where there is none."""
    names = dict.fromkeys(name for row in rows for name in row['figures'])
    columns = {name: [row['figures'].get(name) for row in rows] for name in names}
    columns[LATENCY] = [row[LATENCY] for row in rows]
    return {name: np.array(values, np.float64) for name, values in columns.items()}


def _by_frames(name: str, first: np.ndarray, second: np.ndarray, unit: str,
               seed: int) -> Difference:
    both = np.isfinite(first) & np.isfinite(second)
    if not both.any():
        nan = float('nan')
        return Difference(name, unit, nan, nan, 0, Interval(nan, nan, nan), UNKNOWN)
    interval = block_bootstrap(second[both] - first[both], seed)
    return Difference(name, unit, float(first[both].mean()), float(second[both].mean()),
                      int(both.sum()), interval, _verdict(name, interval))


def _of_run(name: str, first: dict[str, Any], second: dict[str, Any]) -> Difference:
    values = [float('nan') if entry['value'] is None else entry['value']
              for entry in (first, second)]
    interval = Interval(values[1] - values[0], float('nan'), float('nan'))
    return Difference(name, first['unit'], *values, 0, interval, UNKNOWN)


def _verdict(name: str, interval: Interval) -> str:
    if not np.isfinite((interval.low, interval.high)).all():
        return UNKNOWN
    if not interval.excludes_zero:
        return CHANCE
    last = name.split('.')[-1]
    if last in NEITHER:
        return DIFFERENT
    return BETTER if (interval.mean > 0) == (last in MORE_IS_BETTER) else WORSE


def _unit(name: str, report: dict[str, Any]) -> str:
    if name == LATENCY:
        return 'ms'
    if name in report['metrics']:
        return report['metrics'][name]['unit']
    return {'odometry.step_error': 'm', 'odometry.step_turn': 'deg'}.get(
        name, '%' if 'drift' in name else '-')
