# SPDX-License-Identifier: Apache-2.0
"""Collect what a report needs, frame by frame, from a live node or from an in-process run."""
from collections.abc import Iterable
from typing import Any

from crossview_ros.metrics import Metric
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.inputs import StereoInput
from crossview_ros.replay.pairing import StereoFrame
from crossview_ros.replay.report_data import FrameRecord, Panel, panel_indices, ReportData
from crossview_ros.replay.scores import ScoreSum, Truth
from crossview_ros.replay.truth import GroundTruth, photometric_error
import numpy as np


class Evaluation:
    """
    Scores answers against the truth of a bag and keeps pictures of a few frames.

    Use it as a context manager; add the frames in the order of the bag, from one thread.
    """

    def __init__(self, bag: Bag, num_frames: int, min_depth: float, max_depth: float) -> None:
        """
        Prepare for a run.

        :param num_frames: How many stereo pairs are expected; the pictures are spread over them.
        :param min_depth: True depths below it are not compared [m].
        :param max_depth: True depths above it are not compared [m].
        """
        self.truth = GroundTruth(bag.path)
        self.frames: list[FrameRecord] = []
        self.panels: list[Panel] = []
        self.stages_ms: dict[str, list[float]] = {}
        self._scores = ScoreSum(min_depth, max_depth)
        self._pictured = panel_indices(num_frames)

    def __enter__(self) -> 'Evaluation':
        """Open the ground truth."""
        self.truth.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the ground truth."""
        self.truth.__exit__(*error)

    def add(self, frame: StereoFrame, data: StereoInput, answer: Any,
            latency_ms: float) -> None:
        """
        Score one answered frame.

        :param answer: Has ``depth``, ``disparity``, ``confidence``: (H, W) arrays or None.
        :param latency_ms: What the answer took [ms].
        """
        if frame.restart:
            self.truth.restart()
        truth = self.truth.at(frame.stamp_ns, data.rig, data.left, data.right)
        figures = self._scores.add(answer.depth, answer.disparity, answer.confidence, truth)
        if answer.disparity is not None:
            photo = _photometric_figures(data, answer.disparity)
            self._scores.note(photo)
            figures.update(photo)
        self.frames.append(FrameRecord(frame.index, frame.stamp_ns, latency_ms,
                                       {name: metric.value for name, metric in figures.items()}))
        if frame.index in self._pictured and answer.depth is not None:
            self.panels.append(_panel(frame, data, answer, truth, figures))

    def add_unanswered(self, frame: StereoFrame) -> None:
        """Record a frame that got no answer."""
        self.frames.append(FrameRecord(frame.index, frame.stamp_ns, None))

    def add_stages(self, timing_ms: dict[str, float]) -> None:
        """Record how long the stages of one frame took [ms]."""
        for stage, value in timing_ms.items():
            self.stages_ms.setdefault(stage, []).append(float(value))

    def report(self, **rest: Any) -> ReportData:
        """Return the report data; ``rest`` are the fields that only the caller knows."""
        figures = self._scores.figures()
        notes = [*rest.pop('notes', ()), *_warnings(figures)]
        return ReportData(
            figures=figures, notes=notes, frames=self.frames, panels=self.panels,
            ranges=self._scores.range_table(), reliability=self._scores.reliability_table(),
            stages_ms=self.stages_ms, **rest)


def rate_of(durations_ms: Iterable[float]) -> float | None:
    """Return frames a second from the time each took [ms]."""
    durations_ms = list(durations_ms)
    total_ms = sum(durations_ms)
    return 1000.0 * len(durations_ms) / total_ms if total_ms > 0 else None


def _warnings(figures: dict[str, Metric]) -> list[str]:
    """Return what a reader must not overlook in the figures."""
    limits = {
        'disparity.epe': ('disparity.epe_constant', 'The disparity error is not below that of the '
                          'best constant disparity: on this bag the depth is of no use.'),
        'photo.error': ('photo.unmoved', 'Moved by the disparity, the right image is no more like '
                        'the left one than unmoved: on this bag the depth is of no use.'),
    }
    return [text for name, (limit, text) in limits.items() if name in figures
            and limit in figures and figures[name].value >= figures[limit].value]


def _photometric_figures(data: StereoInput, disparity: np.ndarray) -> dict[str, Metric]:
    moved, unmoved = photometric_error(data.left, data.right, disparity)
    return {'photo.error': Metric(moved, 'grey levels'),
            'photo.unmoved': Metric(unmoved, 'grey levels')}


def _panel(frame: StereoFrame, data: StereoInput, answer: Any, truth: Truth,
           figures: dict[str, Metric]) -> Panel:
    return Panel(frame.index, frame.stamp_ns, data.left, np.asarray(answer.depth),
                 None if answer.confidence is None else np.asarray(answer.confidence),
                 truth.depth, figures)
