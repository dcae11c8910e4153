# SPDX-License-Identifier: Apache-2.0
"""Collect what a report needs, frame by frame, from a live node or from an in-process run."""
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from crossview_ros.geometry.camera import StereoRig
from crossview_ros.metrics import Metric
from crossview_ros.replay.calibration_scores import SparsificationSum
from crossview_ros.replay.flow_scores import score_flow
from crossview_ros.replay.inputs import FrameInput
from crossview_ros.replay.lidar_holdout import holdout_figures, thick_points
from crossview_ros.replay.lidar_scores import inverse_depth_error, LidarComparison
from crossview_ros.replay.odometry_scores import odometry_figures, Track, TrackedFrame
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.report_data import (
    Baseline, FlowPanel, FrameRecord, OutputCount, Panel, panel_indices, ReportData)
from crossview_ros.replay.scores import ScoreSum, Truth
from crossview_ros.replay.subpaths import frame_errors, scale_figures, subpath_rows
from crossview_ros.replay.truth import GroundTruth, photometric_error
from crossview_ros.replay.worst_frames import DEPTH_RANKS, FLOW_RANKS, WorstFrames
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

# figure -> (the figure that it must be below, what it means if it is not)
_LIMITS = {
    'disparity.epe': ('disparity.epe_constant', 'The disparity error is not below that of the '
                      'best constant disparity: on this bag the depth is of no use.'),
    'holdout.mae': ('holdout.mae_linear', 'The depth error on held-out rings is not below that of '
                    'linear interpolation: on this bag the points alone say as much.'),
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
        self.baseline_track = Track()
        self.stages_ms: dict[str, list[float]] = {}
        self._answered = dict.fromkeys(self.tasks, 0)
        self._scores = ScoreSum(min_depth, max_depth)
        self._limits_m = min_depth, max_depth
        self._lidar = LidarComparison(min_depth, max_depth)
        self._calibration = SparsificationSum()
        self._worst, self._worst_flow = WorstFrames(DEPTH_RANKS), WorstFrames(FLOW_RANKS)
        self._true_pose: np.ndarray | None = None   # of the frame that was added last
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
        self._keep_worst(frame, data, answer, truth, figures, flow_figures)
        figures = {**figures, **flow_figures}
        self.frames.append(FrameRecord(frame.index, frame.stamp_ns, latency_ms,
                                       {name: metric.value for name, metric in figures.items()}))
        if frame.index in self._pictured and answer.depth is not None:
            self.panels.append(_panel(frame, data, answer, truth, figures))
        if frame.index in self._pictured and flow_figures:
            self.flow_panels.append(self._flow_panel(frame, answer, truth, flow_figures))
        self._before = _Before(frame.index, frame.stamp_ns, data.left)

    def add_baseline(self, frame: Frame, pose: np.ndarray | None) -> None:
        """Record what a classical odometry says of the frame that was just added."""
        self.baseline_track.frames.append(TrackedFrame(frame.index, frame.stamp_ns, pose,
                                                       self._true_pose, pose is None))

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

    def report(self, baseline: str = '', **rest: Any) -> ReportData:
        """
        Return the report data.

        :param baseline: Name of the classical odometry, where one ran beside ours.
        :param rest: Fields that only the caller knows.
        """
        figures = {**self._scores.figures(), **_path_figures(self.track)}
        errors = frame_errors(self.track)
        frames = [replace(frame, figures={**frame.figures, **errors.get(frame.index, {})})
                  for frame in self.frames]
        beside = Baseline(baseline, self.baseline_track, _path_figures(self.baseline_track)) \
            if baseline else None
        subpaths = subpath_rows(self.track, 'crossview')
        if beside is not None:
            subpaths += subpath_rows(beside.track, baseline)
        notes = [*rest.pop('notes', ()), *self.truth.notes, *_warnings(figures)]
        return ReportData(
            figures=figures, notes=notes, frames=frames, panels=self.panels,
            worst=self._worst.panels(), worst_flow=self._worst_flow.panels(),
            lidar_ranges=self._lidar.range_table(), sparsification=self._calibration.table(),
            subpaths=subpaths, baseline=beside,
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
            # points that went in would praise their own interpolation
            judges = data.cloud if data.held_out is None else data.held_out
            further.update(self._lidar.add(answer.depth, judges, data.camera))
            further.update(self._calibration.add(
                'lidar', inverse_depth_error(answer.depth, judges, data.camera),
                answer.confidence))
        if data.held_out is not None:
            further.update(holdout_figures(answer.depth, data.cloud, data.held_out, data.camera,
                                           *self._limits_m))
        if truth.disparity is not None and answer.disparity is not None:
            further.update(self._calibration.add(
                'disparity', np.abs(answer.disparity - truth.disparity), answer.confidence))
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
        if truth.flow is not None:
            figures.update(self._calibration.add(
                'flow', np.linalg.norm(flow - truth.flow, axis=2),
                getattr(answer, 'flow_confidence', None)))
        self._scores.note(figures)
        return figures

    def _keep_worst(self, frame: Frame, data: FrameInput, answer: Any, truth: Truth,
                    figures: dict[str, Metric], flow_figures: dict[str, Metric]) -> None:
        self._worst.add(figures, lambda: _panel(frame, data, answer, truth, figures))
        self._worst_flow.add(
            flow_figures, lambda: self._flow_panel(frame, answer, truth, flow_figures))

    def _note_pose(self, frame: Frame, answer: Any, truth: Truth) -> None:
        self._true_pose = truth.T_world_camera
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


def _path_figures(track: Track) -> dict[str, Metric]:
    return {**odometry_figures(track), **scale_figures(track)}


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
                 *_pictured_truth(data, truth, figures))


def _pictured_truth(data: FrameInput, truth: Truth, figures: dict[str, Metric]) -> tuple:
    """Return the last fields of a panel: true depth, figures, and the points that went in."""
    if data.held_out is None:
        return truth.depth, figures
    held_out = thick_points(data.held_out, data.camera) if truth.depth is None else truth.depth
    return held_out, figures, thick_points(data.cloud, data.camera)
