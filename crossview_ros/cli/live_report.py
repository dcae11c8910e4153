# SPDX-License-Identifier: Apache-2.0
"""Compare the answers of a live node with the truth of the bag that was played."""
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from crossview_ros.cli.live import CONFIDENCE, DEPTH, DISPARITY, LiveRun, NODE


def evaluate_live(bag_path: Path, topics: Any, live: LiveRun, options: Any,
                  facts: dict[str, dict[str, str]], **report: Any) -> Any:
    """
    Return the report data of a live run.

    :param topics: StereoTopics of the bag.
    :param options: ReplayOptions: depth limits, and what to store.
    :param facts: More sections of facts.
    :param report: Further fields of ReportData: title, command, notes.
    """
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.evaluation import Evaluation
    from crossview_ros.replay.facts import input_facts, machine_facts
    from crossview_ros.replay.inputs import InputReader
    from crossview_ros.replay.pairing import stereo_frames, StereoPairer
    from crossview_ros.replay.report_data import LIVE
    from crossview_ros.replay.static_transforms import StaticTransforms
    wrong_frame = 0
    with Bag(bag_path) as bag, Evaluation(bag, len(live.published_s), options.min_depth,
                                          options.max_depth) as evaluation:
        reader = InputReader(topics, StaticTransforms.of_bag(bag))
        for frame in stereo_frames(bag, topics, StereoPairer(0)):
            if frame.stamp_ns not in live.published_s:
                continue
            if frame.stamp_ns not in live.answers[DEPTH]:
                evaluation.add_unanswered(frame)
                continue
            data = reader.read(frame)
            depth = live.answers[DEPTH][frame.stamp_ns]
            wrong_frame += depth.message.header.frame_id != frame.left.header.frame_id
            latency_ms = 1e3 * (depth.monotonic_s - live.published_s[frame.stamp_ns])
            evaluation.add(frame, data, _answer(live, frame.stamp_ns, data.rig), latency_ms)
        facts = {**facts, 'Input': {**input_facts(bag, replace(topics, cloud=None), data.rig),
                                    'published at': f'{live.rate_hz:.1f} Hz'},
                 'ROS 2': {'node': f'/stereo/{NODE}, a process of its own', **live.environment},
                 'Inside the node, by its diagnostics': _inner_facts(live),
                 'Machine and versions': machine_facts()}
    return evaluation.report(mode=LIVE, facts=facts, counts=_counts(live, wrong_frame),
                             rate_hz=_answer_rate(live), options=options.as_dict(), **report)


def _answer(live: LiveRun, stamp_ns: int, rig: Any) -> Any:
    from crossview_ros.messages.disparity_image import read_disparity_image
    from crossview_ros.messages.image import read_float_image
    messages = {topic: answers[stamp_ns].message
                for topic, answers in live.answers.items() if stamp_ns in answers}
    confidence = disparity = None
    if CONFIDENCE in messages:
        confidence = read_float_image(messages[CONFIDENCE])
    if DISPARITY in messages:
        # the message subtracts the difference of the principal points
        disparity = read_disparity_image(messages[DISPARITY]) - rig.doffs
    return SimpleNamespace(depth=read_float_image(messages[DEPTH]), confidence=confidence,
                           disparity=disparity)


def _answer_rate(live: LiveRun) -> float | None:
    """Return answered frames a second, from the first pair sent to the last answer."""
    times_s = [answer.monotonic_s for stamp, answer in live.answers[DEPTH].items()
               if stamp in live.published_s]
    if not times_s:
        return None
    return len(times_s) / (max(times_s) - min(live.published_s.values()))


def _counts(live: LiveRun, wrong_frame: int) -> list:
    from crossview_ros.replay.report_data import Count
    published, answered = set(live.published_s), set(live.answers[DEPTH])
    replaced = _inner_facts(live).get('sync: Dropped for newer sets', '0')
    return [
        Count('stereo pairs published', len(published),
              'left and right image with camera_info, one stamp each'),
        Count('answered', len(published & answered),
              'pairs whose depth image came back with the stamp of the left image', 'ok'),
        Count('not answered', len(published - answered),
              f'lost on the way, or replaced by a newer pair in a busy node ({replaced})', 'loss'),
        Count('wrong frame_id', wrong_frame,
              'depth images in another frame than their left image', 'loss'),
        Count('unasked', len(answered - published), 'depth images with a stamp never sent',
              'loss'),
        Count('repeated', live.repeated, 'second depth images of one stamp', 'loss'),
        Count('exit code of the node', live.exit_code, f'ended by {live.ended_by}', 'loss'),
    ]


def _inner_facts(live: LiveRun) -> dict[str, str]:
    """Return the node's own account of synchronisation and inference; zeros are left out."""
    tasks = {name.rpartition(': ')[2]: values for name, values in live.statuses.items()}
    return {f'{task}: {key}': value for task in ('sync', 'inference')
            for key, value in tasks.get(task, {}).items()
            if value != '0' and key not in ('Model', 'Backend', 'Device', 'Tasks')}
