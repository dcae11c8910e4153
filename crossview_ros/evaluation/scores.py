# SPDX-License-Identifier: Apache-2.0
"""Score methods on samples: one row for each sample and method, and the mean of each method."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass
import math

from crossview_ros.data.folders import read_flow_sample, read_stereo_sample, SampleFiles
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.methods import Method
from crossview_ros.evaluation.scaling import scaled_flow, scaled_stereo
from crossview_ros.geometry.stereo import disparity_to_depth
from crossview_ros.metrics import Metric
from crossview_ros.metrics.depth import depth_metrics
from crossview_ros.metrics.disparity import disparity_metrics
from crossview_ros.metrics.flow import flow_metrics
import numpy as np


@dataclass(frozen=True)
class Score:
    """What one method got on one sample."""

    sample: str
    method: str
    metrics: dict[str, Metric]
    elapsed_ms: float


@dataclass(frozen=True)
class Task:
    """How a task is evaluated."""

    kind: str   # of the samples and of the head: 'stereo' or 'flow'
    read: Callable[[SampleFiles, float], StereoSample | FlowSample]   # files, scale
    metrics: Callable[[StereoSample | FlowSample, np.ndarray], dict[str, Metric]]


def score_samples(task: str, files: list[SampleFiles], methods: list[Method], scale: float = 1.0,
                  progress: Callable[[int, int], None] | None = None,
                  note: Callable[[str], None] | None = None) -> list[Score]:
    """
    Score each method on each sample; a sample is in memory only while it is scored.

    :param task: One of `TASKS`. 'depth' leaves out samples whose calibration is incomplete.
    :param scale: Shrinks images and truth, (0, 1].
    :param progress: Told (done, total) samples.
    :param note: Told what is left out, and why.
    :raises DatasetError: If a sample cannot be read, has no truth, or none is left.
    :raises CrossviewError: If a method fails.
    """
    scores: list[Score] = []
    for done, item in enumerate(files, start=1):
        sample = TASKS[task].read(item, scale)
        if task == 'depth' and sample.rig is None:
            (note or _ignore)(f"'{item.name}' left out: no calibration that gives metric depth")
        else:
            scores += [_score(task, sample, method) for method in methods]
        (progress or _ignore)(done, len(files))
    if not scores:
        raise DatasetError(f'none of {len(files)} samples can be evaluated for {task}; metric '
                           'depth needs a calibration with baseline and doffs')
    return scores


def mean_scores(scores: list[Score]) -> list[Score]:
    """
    Average the scores of each method, every sample counting the same.

    :return: One score for each method, named 'mean', in the order of their first rows.
    """
    means = []
    for method in dict.fromkeys(score.method for score in scores):
        rows = [score for score in scores if score.method == method]
        metrics = {name: Metric(_mean(row.metrics[name].value for row in rows), metric.unit)
                   for name, metric in rows[0].metrics.items()}
        means.append(Score('mean', method, metrics, _mean(row.elapsed_ms for row in rows)))
    return means


def _score(task: str, sample: StereoSample | FlowSample, method: Method) -> Score:
    value, elapsed_ms = method.answer(sample)
    metrics = TASKS[task].metrics(sample, value)
    if math.isnan(metrics['coverage'].value):
        raise DatasetError(f"'{sample.name}' has no pixel with truth at this scale and range")
    return Score(sample.name, method.name, metrics, elapsed_ms)


def _read_stereo(files: SampleFiles, scale: float) -> StereoSample:
    return scaled_stereo(read_stereo_sample(files), scale)


def _read_flow(files: SampleFiles, scale: float) -> FlowSample:
    return scaled_flow(read_flow_sample(files), scale)


def _stereo_metrics(sample: StereoSample, disparity: np.ndarray) -> dict[str, Metric]:
    return disparity_metrics(disparity, sample.disparity)


def _flow_metrics(sample: FlowSample, flow: np.ndarray) -> dict[str, Metric]:
    return flow_metrics(flow, sample.flow)


def _depth_metrics(sample: StereoSample, disparity: np.ndarray) -> dict[str, Metric]:
    return depth_metrics(disparity_to_depth(disparity, sample.rig),
                         disparity_to_depth(sample.disparity, sample.rig))


TASKS = {
    'stereo': Task('stereo', _read_stereo, _stereo_metrics),
    'flow': Task('flow', _read_flow, _flow_metrics),
    'depth': Task('stereo', _read_stereo, _depth_metrics),
}


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _ignore(*_: object) -> None:
    pass
