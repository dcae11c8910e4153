# SPDX-License-Identifier: Apache-2.0
"""
Write metrics.json, the report for machines.

Keys: `schema` (1); `title`; `mode` ('live': a ROS 2 node, 'in_process'); `command`; `options`;
`facts` (section -> name -> text: what ran); `notes` (what limits the figures);
`metrics` (name -> {value, unit, label, meaning}; value null where undefined, names in figures.py,
depth and flow each the mean over frames); `frames` ({subject, offered, answered, outputs: task ->
{answered, possible}, counts: name -> {value, meaning}});
`timing` ({rate_hz, latency_ms: {p50, p95, max}, stages_ms: stage -> {p50, p95}});
`depth_by_range`, `depth_by_lidar_range` and `confidence_reliability` (rows as in scores.py);
`sparsification` (rows as in calibration_scores.py); `odometry_by_length` (drift over sub-paths,
rows as in subpaths.py); `path_truth` (what the true poses are; empty: the topic of the bag);
`baseline` (null, or {name, metrics} of a classical odometry on the same frames);
`trajectory` (rows of index, stamp_ns, lost, and the positions x y z [m] by odometry and in truth,
in the frame of the truth where there is one; null where unknown);
`per_frame` (rows of index, stamp_ns, latency_ms or null,
figures). Only `timing`, `per_frame[].latency_ms` and the versions in
`facts` differ between two replays of one bag.
"""
import dataclasses
import json
import math
from pathlib import Path
from typing import Any

from crossview_ros.metrics import Metric
from crossview_ros.replay.figures import describe
from crossview_ros.replay.odometry_scores import Track
from crossview_ros.replay.report_data import Baseline, ReportData
import numpy as np

SCHEMA = 1


def metrics_dict(data: ReportData) -> dict:
    """Return the content of metrics.json as plain values."""
    metrics = _metrics(data.figures)
    counts = {count.name: {'value': count.value, 'meaning': count.meaning}
              for count in data.counts}
    outputs = {output.task: {'answered': output.answered, 'possible': output.possible}
               for output in data.outputs}
    return _plain({
        'schema': SCHEMA, 'title': data.title, 'mode': data.mode, 'command': data.command,
        'options': data.options, 'facts': data.facts, 'notes': data.notes, 'metrics': metrics,
        'frames': {'subject': data.subject, 'offered': len(data.frames),
                   'answered': data.num_answered, 'outputs': outputs, 'counts': counts},
        'timing': {'rate_hz': data.rate_hz, 'latency_ms': percentiles(data.latencies_ms),
                   'stages_ms': {stage: percentiles(values)
                                 for stage, values in data.stages_ms.items()}},
        'depth_by_range': [dataclasses.asdict(row) for row in data.ranges],
        'depth_by_lidar_range': [dataclasses.asdict(row) for row in data.lidar_ranges],
        'sparsification': [dataclasses.asdict(row) for row in data.sparsification],
        'odometry_by_length': [dataclasses.asdict(row) for row in data.subpaths],
        'path_truth': data.path_truth, 'baseline': _baseline(data.baseline),
        'confidence_reliability': [dataclasses.asdict(row) for row in data.reliability],
        'trajectory': _trajectory(data.track),
        'per_frame': [dataclasses.asdict(frame) for frame in data.frames],
    })


def write_metrics(path: Path, data: ReportData) -> None:
    """Write metrics.json: strict JSON, undefined numbers are null."""
    path.write_text(json.dumps(metrics_dict(data), indent=1, allow_nan=False) + '\n',
                    encoding='utf-8')


def percentiles(values: Any) -> dict[str, float]:
    """Return p50, p95 and max of some durations; empty without any."""
    values = np.asarray(values, np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return {}
    p50, p95 = np.percentile(values, (50, 95))
    return {'p50': float(p50), 'p95': float(p95), 'max': float(values.max())}


def _metrics(figures: dict[str, Metric]) -> dict[str, dict]:
    return {name: {'value': metric.value, 'unit': metric.unit,
                   'label': describe(name).label, 'meaning': describe(name).meaning}
            for name, metric in figures.items()}


def _baseline(baseline: Baseline | None) -> dict | None:
    return None if baseline is None else {'name': baseline.name,
                                          'metrics': _metrics(baseline.figures)}


def _trajectory(track: Track) -> list[dict]:
    T_world_odom = track.T_world_odom()
    return [{'index': frame.index, 'stamp_ns': frame.stamp_ns, 'lost': frame.lost,
             'odometry': _position(frame.estimate, T_world_odom),
             'truth': _position(frame.truth, np.eye(4))} for frame in track.frames]


def _position(pose: np.ndarray | None, T_target_source: np.ndarray) -> list[float] | None:
    return None if pose is None else (T_target_source @ pose)[:3, 3].tolist()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)
