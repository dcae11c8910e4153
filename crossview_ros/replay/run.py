# SPDX-License-Identifier: Apache-2.0
"""Replay a bag in process: every stereo pair once, no clock, the same answer each time."""
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, fields
import itertools
from pathlib import Path
import time
from typing import Any

from crossview_ros.errors import ConfigError, MessageError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.evaluation import Evaluation, rate_of
from crossview_ros.replay.facts import input_facts, input_notes, machine_facts, model_facts
from crossview_ros.replay.inputs import InputReader, StereoInput
from crossview_ros.replay.outputs import OutputBag, write_trajectory
from crossview_ros.replay.pairing import PairCounts, stereo_frames, StereoFrame, StereoPairer
from crossview_ros.replay.report_data import Count, IN_PROCESS, ReportData
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import find_stereo_topics, StereoTopics

Progress = Callable[[int, int], None]   # (frames done, frames in all)


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay and how; a YAML file given to `replay --config` sets any of it."""

    model: str = 'crossview_tiny'
    backend: str = 'auto'
    device: str = 'auto'
    left: str | None = None    # image topics; None finds the pair by its CameraInfo
    right: str | None = None
    cloud: str | None = None   # PointCloud2 topic; None takes the only one of the bag
    slop: float = 0.02         # [s] images with unequal stamps pair up to this distance
    max_frames: int | None = None
    min_depth: float = 0.1     # [m] nearer answers are -Inf
    max_depth: float = 80.0    # [m] farther answers are +Inf
    min_confidence: float = 0.0   # answers below it are NaN
    inference_size: tuple[int, int] | None = None   # (h, w) px; None: the model's own
    tasks: list[str] | None = None   # heads to run; None: all of the model
    outputs: bool = True       # write outputs.mcap

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not 0.0 <= self.min_depth < self.max_depth:
            raise ConfigError(f'expected 0 <= min_depth < max_depth, got {self.min_depth} and '
                              f'{self.max_depth} m')

    def perception_options(self) -> dict[str, Any]:
        """Return the arguments of `Perception.open`."""
        return {name: getattr(self, name)
                for name in ('model', 'backend', 'device', 'tasks', 'min_depth', 'max_depth',
                             'min_confidence', 'inference_size')}

    def as_dict(self) -> dict[str, Any]:
        """Return every option by name, for metrics.json."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def replay_bag(path: Path, perception: Any, options: ReplayOptions, out_dir: Path,
               progress: Progress | None = None, **report: Any) -> ReportData:
    """
    Run every stereo pair of a bag through Perception and compare with the bag's truth.

    Writes outputs.mcap (unless switched off) and, if there is odometry, trajectory.tum.

    :param perception: Perception, opened with the options; it is reset first.
    :param out_dir: Folder for the files; made if missing.
    :param progress: Called after each frame.
    :param report: Further fields of ReportData: title, command, notes.
    :raises MessageError: If the bag is damaged, holds no pair, or no pair can be read.
    :raises CalibrationError: If the cameras do not make a stereo rig.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        topics = find_stereo_topics(bag, options.left, options.right, options.cloud)
        num_frames = min(topics.left.count, options.max_frames or topics.left.count)
        run = _Run(perception, InputReader(topics, StaticTransforms.of_bag(bag)), options)
        run.evaluation = stack.enter_context(
            Evaluation(bag, num_frames, options.min_depth, options.max_depth))
        if options.outputs:
            run.outputs = stack.enter_context(
                OutputBag(out_dir / 'outputs.mcap', options.min_depth, options.max_depth))
        pairer = StereoPairer(round(options.slop * 1e9))
        frames = stereo_frames(bag, topics, pairer)
        for frame in itertools.islice(frames, options.max_frames):
            run.answer(frame)
            if progress is not None:
                progress(frame.index + 1, num_frames)
        run.check(bag)
        if run.poses:
            write_trajectory(out_dir / 'trajectory.tum', run.poses)
        return _report(run, bag, topics, pairer.counts, report)


class _Run:
    """The state of one replay."""

    def __init__(self, perception: Any, reader: InputReader, options: ReplayOptions) -> None:
        self.perception = perception
        self.reader = reader
        self.options = options
        self.evaluation: Evaluation | None = None
        self.outputs: OutputBag | None = None
        self.poses: list[tuple[int, Any]] = []
        self.rejected: list[str] = []
        self.last_input: StereoInput | None = None
        perception.reset()

    def answer(self, frame: StereoFrame) -> None:
        """Run one pair; a broken one is counted and the replay goes on."""
        if frame.restart:
            self.perception.reset()
        try:
            data = self.reader.read(frame)
        except MessageError as error:
            self.rejected.append(str(error))
            self.evaluation.add_unanswered(frame)
            return
        self.last_input = data
        start_s = time.perf_counter()
        result = self.perception.process(data.left, data.right, data.rig, frame.stamp_ns,
                                         cloud=data.cloud)
        latency_ms = 1e3 * (time.perf_counter() - start_s)
        self.evaluation.add(frame, data, result, latency_ms)
        self.evaluation.add_stages(getattr(result, 'timing_ms', None) or {})
        if self.outputs is not None:
            self.outputs.write(result, data.rig, frame.stamp_ns, frame.left.header.frame_id)
        if getattr(result, 'T_odom_camera', None) is not None:
            self.poses.append((frame.stamp_ns, result.T_odom_camera))

    def check(self, bag: Bag) -> None:
        """Refuse a run without a single answer."""
        if self.last_input is None:
            reason = self.rejected[0] if self.rejected else \
                f'no left and right image within {self.options.slop:g} s of each other'
            raise MessageError(f'{bag.path}: no stereo pair could be answered: {reason}')


def _report(run: _Run, bag: Bag, topics: StereoTopics, counts: PairCounts,
            report: dict[str, Any]) -> ReportData:
    perception, evaluation = run.perception, run.evaluation
    answered = [frame.latency_ms for frame in evaluation.frames if frame.latency_ms is not None]
    notes = [*report.pop('notes', ()), *input_notes(topics), *run.reader.notes]
    if run.rejected:
        notes.append(f'{len(run.rejected)} pairs were rejected; the first: {run.rejected[0]}')
    facts = {
        'Model and backend': model_facts(perception.manifest, perception.backend_name,
                                         perception.device, list(perception.tasks)),
        'Input': input_facts(bag, topics, run.last_input.rig),
        'Machine and versions': machine_facts(),
    }
    return evaluation.report(
        mode=IN_PROCESS, notes=notes, facts=facts, rate_hz=rate_of(answered),
        counts=pair_counts(counts, len(answered), len(run.rejected)),
        options=run.options.as_dict(), **report)


def pair_counts(counts: PairCounts, answered: int, rejected: int) -> list[Count]:
    """Return the rows that say what became of the images of a bag."""
    return [
        Count('left images read', counts.left, 'from the bag'),
        Count('right images read', counts.right, 'from the bag'),
        Count('stereo pairs', counts.paired, 'left and right images matched by stamp'),
        Count('answered', answered, 'pairs that got a depth image', 'ok'),
        Count('rejected', rejected, 'pairs with a broken or unknown image', 'loss'),
        Count('unmatched', counts.unmatched, 'images without a partner', 'loss'),
        Count('out of order', counts.backward, 'left images older than the one before', 'loss'),
        Count('restarts', counts.restarts, 'jumps of a second or more back in time'),
    ]
