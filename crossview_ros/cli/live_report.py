# SPDX-License-Identifier: Apache-2.0
"""Compare the answers of a live node with the truth of the bag that was played."""
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crossview_ros.cli.live import (
    CONFIDENCE, DEPTH, DISPARITY, FLOW, FLOW_CONFIDENCE, FLOW_META, LiveRun, MAIN_OUTPUT, NODE,
    ODOM)


def evaluate_live(bag_path: Path, topics: Any, live: LiveRun, options: Any,
                  facts: dict[str, dict[str, str]], **report: Any) -> Any:
    """
    Return the report data of a live run.

    :param topics: InputTopics of the bag.
    :param options: ReplayOptions: depth limits, and what to store.
    :param facts: More sections of facts.
    :param report: Further fields of ReportData: title, command, notes.
    """
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.evaluation import Evaluation
    from crossview_ros.replay.facts import input_facts, machine_facts
    from crossview_ros.replay.lidar_holdout import holdout_notes
    from crossview_ros.replay.report_data import LIVE
    from crossview_ros.replay.static_transforms import StaticTransforms
    from crossview_ros.replay.truth import GroundTruth
    with Bag(bag_path) as bag:
        transforms = StaticTransforms.of_bag(bag)
        with Evaluation(GroundTruth(bag_path, transforms), len(live.published_s),
                        options.min_depth, options.max_depth, live.tasks) as evaluation:
            answers = _LiveAnswers(live, transforms)
            rig = _add_frames(evaluation, bag, topics, answers, options)
        facts = {**facts, 'Input': {**input_facts(bag, topics, rig),
                                    'published at': f'{live.rate_hz:.1f} Hz'},
                 'ROS 2': {'node': f'/stereo/{NODE}, a process of its own', **live.environment},
                 'Inside the node, by its diagnostics': _inner_facts(live),
                 'Machine and versions': machine_facts()}
    subject = 'stereo pairs' if topics.right else 'images'
    counts = _counts(live, answers.wrong_frame)
    report['notes'] = [*holdout_notes(options.keep_every(topics)), *report.get('notes', ())]
    return evaluation.report(mode=LIVE, subject=subject, facts=facts, counts=counts,
                             rate_hz=_answer_rate(live), options=options.as_dict(), **report)


def _add_frames(evaluation: Any, bag: Any, topics: Any, answers: '_LiveAnswers',
                options: Any) -> Any:
    """Score every published frame; return the rig."""
    from crossview_ros.replay.inputs import InputReader, MAX_CLOUD_AGE_NS
    from crossview_ros.replay.pairing import frames_of, pairer_of
    from crossview_ros.replay.stamped_topic import StampedTopics
    live, rig = answers.live, None
    reader = InputReader(topics, answers.transforms, options.rectify, options.keep_every(topics))
    with StampedTopics(bag.path, [topics.cloud] if topics.cloud else []) as clouds:
        for frame in frames_of(bag, topics, pairer_of(topics, 0)):
            if frame.stamp_ns not in live.published_s:
                continue
            if frame.stamp_ns not in live.expected:
                evaluation.add_first(frame, reader.read(frame))
                continue
            if frame.stamp_ns not in live.answers[live.main_output]:
                evaluation.add_unanswered(frame)
                continue
            cloud = clouds.nearest(topics.cloud, frame.stamp_ns, MAX_CLOUD_AGE_NS)
            data = reader.read(frame, cloud)
            rig = data.rig
            answer = live.answers[live.main_output][frame.stamp_ns]
            latency_ms = 1e3 * (answer.monotonic_s - live.published_s[frame.stamp_ns])
            evaluation.add(frame, data, answers.of(frame, rig), latency_ms)
    return rig


class _LiveAnswers:
    """Reads the messages of a live run as fields of a PerceptionResult."""

    def __init__(self, live: LiveRun, transforms: Any) -> None:
        self.live, self.transforms = live, transforms
        self.wrong_frame = 0   # answers in another frame than their image

    def of(self, frame: Any, rig: Any) -> Any:
        """Return what came for a frame; None where nothing did."""
        from crossview_ros.messages.disparity_image import read_disparity_image
        from crossview_ros.messages.image import read_float_image
        stamp_ns, frame_id = frame.stamp_ns, frame.left.header.frame_id
        messages = {topic: answers[stamp_ns].message
                    for topic, answers in self.live.answers.items() if stamp_ns in answers}
        self.wrong_frame += messages[self.live.main_output].header.frame_id != frame_id
        images = {topic: read_float_image(messages[topic], topic) if topic in messages else None
                  for topic in (DEPTH, CONFIDENCE, FLOW, FLOW_CONFIDENCE)}
        disparity = None
        if DISPARITY in messages:
            # the message subtracts the difference of the principal points
            disparity = read_disparity_image(messages[DISPARITY]) - rig.doffs
        pose, status = self._pose(messages.get(ODOM), stamp_ns, frame_id)
        return SimpleNamespace(
            depth=images[DEPTH], confidence=images[CONFIDENCE], disparity=disparity,
            flow=images[FLOW], flow_confidence=images[FLOW_CONFIDENCE],
            previous_stamp_ns=self._previous_stamp(stamp_ns), T_odom_camera=pose, status=status)

    def _previous_stamp(self, stamp_ns: int) -> int | None:
        before = [stamp for stamp in self.live.answers.get(FLOW_META, ()) if stamp < stamp_ns]
        return max(before, default=None)

    def _pose(self, message: Any, stamp_ns: int, camera_frame: str) -> tuple[Any, Any]:
        from crossview_ros.messages.odometry import read_pose
        from crossview_ros.runtime.results import TrackingStatus
        if message is None:
            # a pair with a flow, and so with one before it, should have had a pose
            moved = stamp_ns in self.live.answers.get(FLOW, ())
            return None, TrackingStatus.LOST if moved else TrackingStatus.INITIALISING
        T_base_camera = self.transforms.lookup(message.child_frame_id, camera_frame)
        return read_pose(message.pose.pose) @ T_base_camera, TrackingStatus.OK


def _answer_rate(live: LiveRun) -> float | None:
    """Return answered frames a second, from the first pair sent to the last answer."""
    times_s = [answer.monotonic_s for stamp, answer in live.answers[live.main_output].items()
               if stamp in live.published_s]
    if not times_s:
        return None
    return len(times_s) / (max(times_s) - min(live.published_s.values()))


def _counts(live: LiveRun, wrong_frame: int) -> list:
    from crossview_ros.replay.report_data import Count
    published, answered = live.expected, set(live.answers[live.main_output])
    stereo = 'stereo' in live.tasks
    frames, output = ('stereo pairs', 'depth image') if stereo else ('images', 'flow')
    replaced = _inner_facts(live).get('sync: Dropped for newer sets', '0')
    unasked = sum(len(set(live.answers[MAIN_OUTPUT[task]]) - published) for task in live.tasks)
    return [
        Count(f'{frames} published', len(published),
              'left and right image with camera_info, one stamp each' if stereo else
              'after the first one, which has none before it'),
        Count('answered', len(published & answered),
              f'{frames} whose {output} came back with the stamp of the (left) image', 'ok'),
        Count('not answered', len(published - answered),
              f'lost on the way, or replaced by newer ones in a busy node ({replaced})', 'loss'),
        Count('wrong frame_id', wrong_frame,
              'answers in another frame than their image', 'loss'),
        Count('unasked', unasked, 'depth, flow or odometry with a stamp never sent', 'loss'),
        Count('repeated', live.repeated, 'second answers with one stamp', 'loss'),
        Count('exit code of the node', live.exit_code, f'ended by {live.ended_by}', 'loss'),
    ]


def _inner_facts(live: LiveRun) -> dict[str, str]:
    """Return the node's own account of its work; zeros are left out."""
    parts = {name.rpartition(': ')[2]: values for name, values in live.statuses.items()}
    return {f'{part}: {key}': value for part in ('sync', 'inference', 'tracking', 'lidar')
            for key, value in parts.get(part, {}).items()
            if value != '0' and key not in ('Model', 'Backend', 'Device', 'Tasks')}
