# SPDX-License-Identifier: Apache-2.0
"""Collect what a report needs, frame by frame, from a live node or from an in-process run."""
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crossview_ros.geometry.camera import StereoRig
from crossview_ros.metrics import Metric
from crossview_ros.replay.flow_scores import score_flow
from crossview_ros.replay.inputs import FrameInput
from crossview_ros.replay.lidar_scores import LidarComparison
from crossview_ros.replay.odometry_scores import odometry_figures, Track, TrackedFrame
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.report_data import (
    FlowPanel, FrameRecord, OutputCount, Panel, panel_indices, ReportData)
from crossview_ros.replay.scores import ScoreSum, Truth
from crossview_ros.replay.truth import GroundTruth, photometric_error
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

# figure -> (the figure that it must be below, what it means if it is not)
_LIMITS = {
    'disparity.epe': ('disparity.epe_constant', 'The disparity error is not below that of the '
                      'best constant disparity: on this bag the depth is of no use.'),
    'photo.error': ('photo.unmoved', 'Moved by the disparity, the right image is no more like '
                    'the left one than unmoved: on this bag the depth is of no use.'),
    'flow.epe': ('flow.epe_zero', 'The flow error is not below that of no motion at all: on this '
                 'bag the flow is of no use.'),
    'flow.photo': ('flow.photo_unmoved', 'Moved back by the flow, an image is no more like the '
                   'one before than unmoved: on this bag the flow is of no use.'),
}


@dataclass(frozen=True)
class _Before:
    """The frame that was answered before."""

    index: int
    stamp_ns: int
    image: np.ndarray   # (H, W, 3) uint8, left


class Evaluation:
    """
    Scores answers against the truth of a bag and keeps pictures of a few frames.

    Use it as a context manager; add the frames in the order of the bag, from one thread.
    """

    def __init__(self, truth: GroundTruth, num_frames: int, min_depth: float, max_depth: float,
                 tasks: Iterable[str] = ('stereo',)) -> None:
        """
        Prepare for a run.

        :param num_frames: How many frames are expected; the pictures are spread over them.
        :param min_depth: True depths below it are not compared [m].
        :param max_depth: True depths above it are not compared [m].
        :param tasks: What is asked for: stereo, flow, odometry.
        """
        self.truth = truth
        self.tasks = tuple(tasks)
        self.frames: list[FrameRecord] = []
        self.panels: list[Panel] = []
        self.flow_panels: list[FlowPanel] = []
        self.track = Track()
        self.stages_ms: dict[str, list[float]] = {}
        self._answered = dict.fromkeys(self.tasks, 0)
        self._scores = ScoreSum(min_depth, max_depth)
        self._lidar = LidarComparison(min_depth, max_depth)
        self._pictured = panel_indices(num_frames)
        self._before: _Before | None = None
        self._num_starts = 1   # frames without one before: nothing can have moved

    def __enter__(self) -> 'Evaluation':
        """Open the ground truth."""
        self.truth.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the ground truth."""
        self.truth.__exit__(*error)

    def add(self, frame: Frame, data: FrameInput, answer: Any, latency_ms: float) -> None:
        """
        Score one answered frame.

        :param answer: Has fields of PerceptionResult; those that are None or missing are off.
        :param latency_ms: What the answer took [ms].
        """
        if frame.restart:
            self.truth.restart()
            self._before, self._num_starts = None, self._num_starts + 1
        truth = self.truth.at(frame, data)
        figures = self._score_depth(data, answer, truth)
        flow_figures = self._score_flow(frame, data, answer, truth)
        self._note_pose(frame, answer, truth)
        figures = {**figures, **flow_figures}
        self.frames.append(FrameRecord(frame.index, frame.stamp_ns, latency_ms,
                                       {name: metric.value for name, metric in figures.items()}))
        if frame.index in self._pictured and answer.depth is not None:
            self.panels.append(_panel(frame, data, answer, truth, figures))
        if frame.index in self._pictured and flow_figures:
            self.flow_panels.append(self._flow_panel(frame, answer, truth, flow_figures))
        self._before = _Before(frame.index, frame.stamp_ns, data.left)

    def add_first(self, frame: Frame, data: FrameInput) -> None:
        """Take a first frame that nothing was asked about; what follows is compared with it."""
        self._before, self._num_starts = _Before(frame.index, frame.stamp_ns, data.left), 0

    def add_unanswered(self, frame: Frame) -> None:
        """Record a frame that got no answer."""
        self.frames.append(FrameRecord(frame.index, frame.stamp_ns, None))
        self.track.frames.append(TrackedFrame(frame.index, frame.stamp_ns, None, None))

    def add_stages(self, timing_ms: dict[str, float]) -> None:
        """Record how long the stages of one frame took [ms]."""
        for stage, value in timing_ms.items():
            self.stages_ms.setdefault(stage, []).append(float(value))

    def report(self, **rest: Any) -> ReportData:
        """Return the report data; ``rest`` are the fields that only the caller knows."""
        figures = {**self._scores.figures(), **odometry_figures(self.track)}
        notes = [*rest.pop('notes', ()), *self.truth.notes, *_warnings(figures)]
        return ReportData(
            figures=figures, notes=notes, frames=self.frames, panels=self.panels,
            flow_panels=self.flow_panels, track=self.track, outputs=self._outputs(),
            density=self._lidar.density(), ranges=self._scores.range_table(),
            reliability=self._scores.reliability_table(), stages_ms=self.stages_ms, **rest)

    def _score_depth(self, data: FrameInput, answer: Any, truth: Truth) -> dict[str, Metric]:
        if answer.depth is None:
            return {}
        figures = self._scores.add(answer.depth, answer.disparity, answer.confidence, truth)
        further = {}
        if answer.disparity is not None and isinstance(data.rig, StereoRig):
            further.update(_photometric_figures(data, answer.disparity))
        if data.cloud is not None:
            further.update(self._lidar.add(answer.depth, data.cloud, data.camera))
        self._scores.note(further)
        self._count('stereo')
        return {**figures, **further}

    def _score_flow(self, frame: Frame, data: FrameInput, answer: Any,
                    truth: Truth) -> dict[str, Metric]:
        flow = getattr(answer, 'flow', None)
        if flow is None:
            return {}
        self._count('flow')
        before_ns = None if self._before is None else self._before.stamp_ns
        if before_ns != answer.previous_stamp_ns:
            return {}   # the image that the flow starts from is not at hand
        if self._before.index != frame.index - 1:
            # the truth of the bag is about the image just before, the flow about an earlier one
            truth = Truth()
        figures = score_flow(flow, getattr(answer, 'flow_confidence', None), self._before.image,
                             data.left, truth)
        self._scores.note(figures)
        return figures

    def _note_pose(self, frame: Frame, answer: Any, truth: Truth) -> None:
        if 'odometry' not in self.tasks:
            return
        lost = getattr(answer, 'status', None) == TrackingStatus.LOST
        pose = getattr(answer, 'T_odom_camera', None)
        if pose is not None and self._before is not None:
            self._count('odometry')
        self.track.frames.append(TrackedFrame(frame.index, frame.stamp_ns, pose,
                                              truth.T_world_camera, lost))

    def _flow_panel(self, frame: Frame, answer: Any, truth: Truth,
                    figures: dict[str, Metric]) -> FlowPanel:
        compared = 'flow.epe' in figures
        return FlowPanel(frame.index, frame.stamp_ns, self._before.image,
                         np.asarray(answer.flow), truth.flow if compared else None,
                         getattr(answer, 'flow_confidence', None), figures)

    def _count(self, task: str) -> None:
        self._answered[task] = self._answered.get(task, 0) + 1

    def _outputs(self) -> list[OutputCount]:
        moving = max(0, len(self.frames) - self._num_starts)
        return [OutputCount(task, self._answered[task],
                            len(self.frames) if task == 'stereo' else moving)
                for task in self.tasks]


def rate_of(durations_ms: Iterable[float]) -> float | None:
    """Return frames a second from the time each took [ms]."""
    durations_ms = list(durations_ms)
    total_ms = sum(durations_ms)
    return 1000.0 * len(durations_ms) / total_ms if total_ms > 0 else None


def _warnings(figures: dict[str, Metric]) -> list[str]:
    """Return what a reader must not overlook in the figures."""
    return [text for name, (limit, text) in _LIMITS.items() if name in figures
            and limit in figures and figures[name].value >= figures[limit].value]


def _photometric_figures(data: FrameInput, disparity: np.ndarray) -> dict[str, Metric]:
    moved, unmoved = photometric_error(data.left, data.right, disparity)
    return {'photo.error': Metric(moved, 'grey levels'),
            'photo.unmoved': Metric(unmoved, 'grey levels')}


def _panel(frame: Frame, data: FrameInput, answer: Any, truth: Truth,
           figures: dict[str, Metric]) -> Panel:
    return Panel(frame.index, frame.stamp_ns, data.left, np.asarray(answer.depth),
                 None if answer.confidence is None else np.asarray(answer.confidence),
                 truth.depth, figures)
