# SPDX-License-Identifier: Apache-2.0
"""Score methods on samples: a row for each sample and method, their mean, the pooled figures."""
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
import math
from pathlib import Path

from crossview_ros.data.folders import read_flow_sample, read_stereo_sample, SampleFiles
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.methods import Method
from crossview_ros.evaluation.pictures import write_picture
from crossview_ros.evaluation.scaling import scaled_flow, scaled_stereo
from crossview_ros.geometry.stereo import disparity_to_depth
from crossview_ros.metrics import Metric
from crossview_ros.metrics.dense import pooled_metrics, pooled_sums, Sums
from crossview_ros.metrics.depth_protocol import protocol_metrics
from crossview_ros.metrics.disparity import disparity_metrics
from crossview_ros.metrics.flow import flow_metrics
from crossview_ros.metrics.pixel_errors import disparity_errors, flow_errors
from crossview_ros.metrics.sparsification import REMOVED, sparsification
import numpy as np

LEFT_OUT = 0.2   # share of the pixels that `epe_sure` leaves out, the least confident
SURE_ERRORS = {'stereo': disparity_errors, 'flow': flow_errors}

Figures = Callable[[np.ndarray, np.ndarray], dict[str, Metric]]   # of answer and truth


@dataclass(frozen=True)
class Score:
    """What one method got on one sample; all NaN where the sample has no pixel with truth."""

    sample: str
    method: str
    metrics: dict[str, Metric]
    elapsed_ms: float = float('nan')                 # NaN: an answer from a file
    sums: Sums = field(default_factory=dict)         # for the pooled figures


@dataclass(frozen=True)
class Task:
    """How a task is evaluated."""

    kind: str   # of the samples and of the head: 'stereo' or 'flow'
    read: Callable[[SampleFiles, float], StereoSample | FlowSample]   # files, scale
    # sample, answer of the head -> answer and truth as they are compared
    compared: Callable[[StereoSample | FlowSample, np.ndarray], tuple[np.ndarray, np.ndarray]]
    metrics: Figures
    sums: Callable[[np.ndarray, np.ndarray], Sums] = lambda answer, truth: {}


def score_samples(task: str, files: list[SampleFiles], methods: list[Method], scale: float = 1.0,
                  progress: Callable[[int, int], None] | None = None,
                  note: Callable[[str], None] | None = None,
                  figures: Figures | None = None,
                  pictures: Path | None = None) -> list[Score]:
    """
    Score each method on each sample; a sample is in memory only while it is scored.

    :param task: One of `TASKS`. 'depth' leaves out samples whose calibration is incomplete.
    :param scale: Shrinks images and truth, (0, 1].
    :param progress: Told (done, total) samples.
    :param note: Told what is left out or has no pixel with truth, and why.
    :param figures: As for `score_answer`.
    :param pictures: Folder for a PNG of each answer, its truth and its errors; None: no picture.
    :raises DatasetError: If a sample cannot be read, none is left, or none has truth.
    :raises CrossviewError: If a method fails.
    """
    scores: list[Score] = []
    for done, item in enumerate(files, start=1):
        sample = TASKS[task].read(item, scale)
        if task == 'depth' and sample.rig is None:
            (note or _ignore)(f"'{item.name}' left out: no calibration that gives metric depth")
        else:
            scores += [_score(task, sample, method, figures, pictures) for method in methods]
        (progress or _ignore)(done, len(files))
    if not scores:
        raise DatasetError(f'none of {len(files)} samples can be evaluated for {task}; metric '
                           'depth needs a calibration with baseline and doffs')
    check_truth(scores, note)
    return scores


def score_answer(task: str, name: str, method: str, answer: np.ndarray, truth: np.ndarray,
                 elapsed_ms: float = float('nan'), figures: Figures | None = None) -> Score:
    """
    Score one answer.

    :param task: One of `TASKS`.
    :param answer: (H, W) disparity [px] or depth [m], or (H, W, 2) flow [px]; NaN missing.
    :param truth: As ``answer``; NaN unknown.
    :param figures: What computes the figures; None: the task's own.
    :raises DatasetError: If the sizes differ; the sample is named.
    """
    try:
        return Score(name, method, (figures or TASKS[task].metrics)(answer, truth), elapsed_ms,
                     TASKS[task].sums(answer, truth))
    except DatasetError as error:
        raise DatasetError(f"'{name}': {error}") from error


def check_truth(scores: list[Score], note: Callable[[str], None] | None = None) -> None:
    """
    Tell which samples have no pixel with truth: their figures are NaN and in no mean.

    :raises DatasetError: If that is so for all.
    """
    names = list(dict.fromkeys(score.sample for score in scores))
    empty = list(dict.fromkeys(score.sample for score in scores
                               if math.isnan(score.metrics['coverage'].value)))
    if len(empty) == len(names):
        raise DatasetError(f"'{empty[0]}' has no pixel with truth at this scale and range"
                           + (f', nor have the other {len(names) - 1}' if names[1:] else ''))
    for name in empty:
        (note or _ignore)(f"'{name}' has no pixel with truth at this scale and range: nan, and "
                          'not counted in the means')


def mean_scores(scores: list[Score]) -> list[Score]:
    """
    Average the scores of each method, every sample with truth counting the same.

    :return: One score for each method, named 'mean', in the order of their first rows.
    """
    means = []
    for method, rows in _by_method(scores).items():
        metrics = {name: Metric(_mean(row.metrics[name].value for row in rows), metric.unit)
                   for name, metric in rows[0].metrics.items()}
        means.append(Score('mean', method, metrics, _mean(row.elapsed_ms for row in rows)))
    return means


def pooled_scores(scores: list[Score]) -> list[Score]:
    """
    Return the standard figures of each method, every pixel counting the same (croco.md 6.3).

    :return: One score for each method, named 'pooled'; none for depth.
    """
    return [Score('pooled', method, pooled_metrics(row.sums for row in rows),
                  _mean(row.elapsed_ms for row in rows))
            for method, rows in _by_method(scores).items() if rows[0].sums]


def _by_method(scores: list[Score]) -> dict[str, list[Score]]:
    return {method: [score for score in scores if score.method == method]
            for method in dict.fromkeys(score.method for score in scores)}


def _score(task: str, sample: StereoSample | FlowSample, method: Method,
           figures: Figures | None, pictures: Path | None) -> Score:
    value, elapsed_ms, *confidence = method.answer(sample)
    answer, truth = TASKS[task].compared(sample, value)
    if pictures is not None:
        image = sample.left if isinstance(sample, StereoSample) else sample.image1
        name = '_'.join((task, sample.name, Path(method.name).name)).replace('/', '_')
        write_picture(pictures / f'{name}.png', task, f'{sample.name}: {task} of {method.name}',
                      image, answer, truth)
    score = score_answer(task, sample.name, method.name, answer, truth, elapsed_ms, figures)
    if task not in SURE_ERRORS:
        return score
    sure = _sure_error(SURE_ERRORS[task](answer, truth).length, truth, *confidence)
    return replace(score, metrics={**score.metrics, 'epe_sure': Metric(sure, 'px')})


def _sure_error(error: np.ndarray, truth: np.ndarray,
                confidence: np.ndarray | None = None) -> float:
    """Return the mean error (N,) [px] of the pixels with truth that are not the least sure."""
    if confidence is None or not error.size:
        return float('nan')
    known = np.isfinite(truth).reshape(*truth.shape[:2], -1).all(2)
    curve = sparsification(error, np.nan_to_num(confidence[known]))
    return 0.0 if curve is None else \
        float(error.mean() * np.interp(LEFT_OUT, REMOVED, curve.by_confidence))


def _read_stereo(files: SampleFiles, scale: float) -> StereoSample:
    return scaled_stereo(read_stereo_sample(files), scale)


def _read_flow(files: SampleFiles, scale: float) -> FlowSample:
    return scaled_flow(read_flow_sample(files), scale)


def _disparities(sample: StereoSample, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return answer, sample.disparity


def _flows(sample: FlowSample, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return answer, sample.flow


def _depths(sample: StereoSample, answer: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (disparity_to_depth(answer, sample.rig),
            disparity_to_depth(sample.disparity, sample.rig))


def _stereo_sums(disparity: np.ndarray, truth: np.ndarray) -> Sums:
    return pooled_sums('stereo', disparity_errors(disparity, truth))


def _flow_sums(flow: np.ndarray, truth: np.ndarray) -> Sums:
    return pooled_sums('flow', flow_errors(flow, truth))


TASKS = {
    'stereo': Task('stereo', _read_stereo, _disparities, disparity_metrics, _stereo_sums),
    'flow': Task('flow', _read_flow, _flows, flow_metrics, _flow_sums),
    'depth': Task('stereo', _read_stereo, _depths, protocol_metrics),
}


def _mean(values: Iterable[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else float('nan')


def _ignore(*_: object) -> None:
    pass
