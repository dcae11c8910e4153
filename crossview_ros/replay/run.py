# SPDX-License-Identifier: Apache-2.0
"""Replay a bag in process: every frame once, no clock, the same answer each time."""
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, fields
import itertools
from pathlib import Path
import time
from typing import Any

from crossview_ros.errors import ConfigError, MessageError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.evaluation import Evaluation, rate_of
from crossview_ros.replay.extrinsics import base_frame_of
from crossview_ros.replay.facts import input_facts, input_notes, machine_facts, model_facts
from crossview_ros.replay.inputs import FrameInput, InputReader, MAX_CLOUD_AGE_NS
from crossview_ros.replay.lidar_holdout import holdout_notes, KEEP_EVERY
from crossview_ros.replay.outputs import OutputBag, write_trajectory
from crossview_ros.replay.pairing import Frame, frames_of, PairCounts, pairer_of
from crossview_ros.replay.path_truth import PathTruth, read_path_truth
from crossview_ros.replay.report_data import Count, IN_PROCESS, ReportData
from crossview_ros.replay.stamped_topic import StampedTopics
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import find_input_topics, InputTopics
from crossview_ros.replay.truth import GroundTruth

Progress = Callable[[int, int], None]   # (frames done, frames in all)


@dataclass(frozen=True)
class ReplayOptions:
    """What to replay and how; a YAML file given to `replay --config` sets any of it."""

    model: str = 'crossview_tiny'
    backend: str = 'auto'
    device: str = 'auto'
    left: str | None = None    # image topics; None finds the pair by its CameraInfo
    right: str | None = None   # None beside a left one: one camera
    cloud: str | None = None   # PointCloud2 topic; None takes the only one of the bag
    rectify: bool = False      # the images are raw: rectify them with their CameraInfo
    # every so many-th ring of the cloud goes in, the others judge; 1: all go in; None: 5 where
    # depth comes from the cloud, else 1
    lidar_holdout: int | None = None
    slop: float = 0.02         # [s] images with unequal stamps pair up to this distance
    truth: str | None = None   # true poses: a topic, a TUM, KITTI or EuRoC file, or kiss-icp
    truth_frame: str | None = None   # whose poses; None: the topic's child frame, or the camera
    max_frames: int | None = None
    min_depth: float = 0.1     # [m] nearer answers are -Inf
    max_depth: float = 80.0    # [m] farther answers are +Inf
    min_confidence: float = 0.0   # answers below it are NaN
    refine_flow: bool = True   # where depth and the odometry's motion explain it
    inference_mode: str = 'single'   # or tiled, for models that can
    inference_size: tuple[int, int] | None = None   # (h, w) px; None: the model's own
    tile_overlap: float | None = None   # [0, 1); None: the model's own
    sharpen: str = 'auto'      # on, off, or as the model says: match again in the full images
    tasks: list[str] | None = None   # stereo, flow, odometry; None: all of the model
    outputs: bool = True       # write outputs.mcap

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        if not 0.0 <= self.min_depth < self.max_depth:
            raise ConfigError(f'expected 0 <= min_depth < max_depth, got {self.min_depth} and '
                              f'{self.max_depth} m')
        if self.lidar_holdout is not None and self.lidar_holdout < 1:
            raise ConfigError(f'lidar_holdout must be at least 1, got {self.lidar_holdout}')

    def keep_every(self, topics: InputTopics) -> int | None:
        """Return which share of the rings of a bag's cloud goes in, 1 in n; None: all of them."""
        kept = self.lidar_holdout
        if kept is None and topics.right is None and topics.cloud is not None:
            kept = KEEP_EVERY
        return None if kept == 1 else kept

    def perception_options(self) -> dict[str, Any]:
        """Return the arguments of `Perception.open`."""
        return {name: getattr(self, name)
                for name in ('model', 'backend', 'device', 'tasks', 'min_depth', 'max_depth',
                             'min_confidence', 'refine_flow', 'inference_mode',
                             'inference_size', 'tile_overlap', 'sharpen')}

    def as_dict(self) -> dict[str, Any]:
        """Return every option by name, for metrics.json."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def replay_bag(path: Path, perception: Any, options: ReplayOptions, out_dir: Path,
               progress: Progress | None = None, baseline: tuple[str, Any] | None = None,
               **report: Any) -> ReportData:
    """
    Run every frame of a bag through Perception and compare with the bag's truth.

    Frames are stereo pairs, or the images of one camera where there is no pair. Writes
    outputs.mcap (unless switched off) and, if there is odometry, trajectory.tum.

    :param perception: Perception, opened with the options; it is reset first.
    :param out_dir: Folder for the files; made if missing.
    :param progress: Called after each frame.
    :param baseline: Name of a classical odometry to run beside, and the object: `reset`, and
        `process` of left, right, rig that returns T_odom_camera (4, 4) or None.
    :param report: Further fields of ReportData: title, command, notes.
    :raises MessageError: If the bag is damaged, holds no camera, or no frame can be read.
    :raises CalibrationError: If the cameras do not make a stereo rig.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(path))
        topics = find_input_topics(bag, options.left, options.right, options.cloud)
        num_frames = min(topics.left.count, options.max_frames or topics.left.count)
        run = _Run(stack, bag, topics, perception, options, num_frames, baseline)
        if options.outputs:
            run.outputs = stack.enter_context(_output_bag(run, out_dir / 'outputs.mcap'))
        for frame in itertools.islice(frames_of(bag, topics, run.pairer), options.max_frames):
            run.answer(frame)
            if progress is not None:
                progress(frame.index + 1, num_frames)
        run.check()
        poses = [(frame.stamp_ns, frame.estimate) for frame in run.evaluation.track.frames
                 if frame.estimate is not None]
        if poses:
            write_trajectory(out_dir / 'trajectory.tum', poses)
        return _report(run, report)


class _Run:
    """The state of one replay."""

    def __init__(self, stack: ExitStack, bag: Bag, topics: InputTopics, perception: Any,
                 options: ReplayOptions, num_frames: int,
                 baseline: tuple[str, Any] | None = None) -> None:
        self.bag, self.topics = bag, topics
        self.baseline_name, self.baseline = baseline or ('', None)
        if self.baseline is not None and topics.right is None:
            raise ConfigError('a baseline needs a stereo pair; the bag is replayed as one camera')
        self.perception, self.options = perception, options
        self.tasks = answered_tasks(perception.tasks, topics)
        self.transforms = StaticTransforms.of_bag(bag)
        self.reader = InputReader(topics, self.transforms, options.rectify,
                                  options.keep_every(topics))
        self.pairer = pairer_of(topics, round(options.slop * 1e9))
        self.clouds = stack.enter_context(
            StampedTopics(bag.path, [topics.cloud] if topics.cloud else []))
        self.poses = _path_truth(self)
        self.evaluation = stack.enter_context(Evaluation(
            GroundTruth(bag.path, self.transforms, self.poses), num_frames, options.min_depth,
            options.max_depth, self.tasks))
        self.outputs: OutputBag | None = None
        self.rejected: list[str] = []
        self.last_input: FrameInput | None = None
        perception.reset()

    def answer(self, frame: Frame) -> None:
        """Run one frame; a broken one is counted and the replay goes on."""
        if frame.restart:
            self.perception.reset()
            self.clouds.restart()
            if self.baseline is not None:
                self.baseline.reset()
        cloud = self.clouds.nearest(self.topics.cloud, frame.stamp_ns, MAX_CLOUD_AGE_NS)
        try:
            data = self.reader.read(frame, cloud)
        except MessageError as error:
            self.rejected.append(str(error))
            self.evaluation.add_unanswered(frame)
            return
        self.last_input = data
        start_s = time.perf_counter()
        result = self.perception.process(data.left, data.right, data.rig, frame.stamp_ns,
                                         cloud=data.cloud, visible=data.visible)
        latency_ms = 1e3 * (time.perf_counter() - start_s)
        self.evaluation.add(frame, data, result, latency_ms)
        self.evaluation.add_stages(getattr(result, 'timing_ms', None) or {})
        if self.baseline is not None:
            self.evaluation.add_baseline(
                frame, self.baseline.process(data.left, data.right, data.rig))
        if self.outputs is not None:
            self.outputs.write(result, data.rig, frame.stamp_ns, frame.left.header.frame_id)

    def check(self) -> None:
        """Refuse a run without a single answer."""
        if self.last_input is not None:
            return
        if self.rejected:
            reason = self.rejected[0]
        elif self.topics.right is None:
            reason = 'no image could be read'
        else:
            reason = f'no left and right image within {self.options.slop:g} s of each other'
        raise MessageError(f'{self.bag.path}: no {self.subject[:-1]} could be answered: {reason}')

    @property
    def subject(self) -> str:
        """Return what the frames are called."""
        return 'images' if self.topics.right is None else 'stereo pairs'


def _path_truth(run: _Run) -> PathTruth | None:
    options = run.options
    if options.truth is None:
        return None
    camera_frame = run.bag.first(run.topics.left.image).header.frame_id
    return read_path_truth(run.bag, run.transforms, options.truth, camera_frame,
                           options.truth_frame, run.topics.cloud)


def answered_tasks(tasks: Iterable[str], topics: InputTopics) -> list[str]:
    """
    Return which tasks the frames of a bag allow; 'stereo' stands for depth, wherever it is from.

    :param tasks: Of Perception.
    """
    if topics.right is not None:
        return [task for task in tasks if task != 'depth']
    has_depth = 'depth' in tasks or 'stereo' in tasks and topics.cloud is not None
    possible = {'stereo': has_depth, 'flow': 'flow' in tasks,
                'odometry': has_depth and 'odometry' in tasks}
    return [task for task, is_possible in possible.items() if is_possible]


def _output_bag(run: _Run, path: Path) -> OutputBag:
    base = None
    if 'odometry' in run.tasks:
        camera_frame = run.bag.first(run.topics.left.image).header.frame_id
        base_frame = base_frame_of(run.bag, run.transforms, camera_frame)
        if base_frame is None:
            run.reader.notes.append(
                f'{path.name} holds no odom: /tf_static does not say where {camera_frame} sits '
                'on a base. trajectory.tum has the poses of the camera.')
        else:
            base = base_frame, run.transforms.lookup(base_frame, camera_frame)
    return OutputBag(path, run.options.min_depth, run.options.max_depth, base)


def _report(run: _Run, report: dict[str, Any]) -> ReportData:
    perception, evaluation = run.perception, run.evaluation
    answered = [frame.latency_ms for frame in evaluation.frames if frame.latency_ms is not None]
    notes = [*report.pop('notes', ()), *input_notes(run.topics, run.tasks, run.options.rectify),
             *holdout_notes(run.options.keep_every(run.topics)),
             *run.reader.notes]
    if run.poses is not None and run.poses.pseudo:
        notes.append(f'The true poses are {run.poses.label}. They drift themselves: figures of '
                     'odometry say how far the two differ.')
    if run.rejected:
        notes.append(f'{len(run.rejected)} {run.subject.split()[-1]} were rejected; the first: '
                     f'{run.rejected[0]}')
    facts = {
        'Model and backend': model_facts(perception.manifest, perception.backend_name,
                                         perception.device, run.tasks),
        'Input': input_facts(run.bag, run.topics, run.last_input.rig, run.options.rectify),
        'Machine and versions': machine_facts(),
    }
    counts = pair_counts(run.topics, run.pairer.counts, len(answered), len(run.rejected))
    if 'odometry' in run.tasks:
        counts.append(Count('odometry lost', evaluation.track.num_lost,
                            'pairs whose motion could not be found', 'loss'))
    return evaluation.report(
        mode=IN_PROCESS, baseline=run.baseline_name, subject=run.subject, notes=notes,
        path_truth='' if run.poses is None else run.poses.label, facts=facts, counts=counts,
        rate_hz=rate_of(answered), options=run.options.as_dict(), **report)


def pair_counts(topics: InputTopics, counts: PairCounts, answered: int,
                rejected: int) -> list[Count]:
    """Return the rows that say what became of the images of a bag."""
    backward = Count('out of order', counts.backward,
                     'images older than the one before of the same camera', 'loss')
    restarts = Count('restarts', counts.restarts, 'jumps of a second or more back in time')
    if topics.right is None:
        return [
            Count('images read', counts.left, 'from the bag'),
            Count('answered', answered, 'images that Perception took', 'ok'),
            Count('rejected', rejected, 'broken or unknown images', 'loss'),
            backward, restarts,
        ]
    return [
        Count('left images read', counts.left, 'from the bag'),
        Count('right images read', counts.right, 'from the bag'),
        Count('stereo pairs', counts.paired, 'left and right images matched by stamp'),
        Count('answered', answered, 'pairs that Perception took', 'ok'),
        Count('rejected', rejected, 'pairs with a broken or unknown image', 'loss'),
        Count('unmatched', counts.unmatched, 'images without a partner', 'loss'),
        backward, restarts,
    ]
