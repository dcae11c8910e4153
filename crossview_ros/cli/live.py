# SPDX-License-Identifier: Apache-2.0
"""Play a bag through a live perception_node and keep everything that it answers."""
from collections.abc import Callable
from dataclasses import dataclass
import os
from pathlib import Path
import sys
import time
from typing import Any

from crossview_ros.cli.node_process import NodeProcess
from crossview_ros.cli.ros import private_domain
from crossview_ros.errors import CrossviewError

NODE = 'perception_node'
DEPTH, CONFIDENCE, DISPARITY = 'depth/image', 'depth/confidence', 'disparity'
OUTPUTS = {DEPTH: 'sensor_msgs/msg/Image', CONFIDENCE: 'sensor_msgs/msg/Image',
           DISPARITY: 'stereo_msgs/msg/DisparityImage'}
START_LIMIT_S = 60.0      # loading torch and the model on a slow machine
SILENCE_LIMIT_S = 10.0    # after the last pair, an answer must come within
DIAGNOSTICS_LIMIT_S = 2.5
# input of the node, relative to its namespace -> which topic of the pair feeds it
INPUTS = {'left/image_rect': lambda topics: topics.left.image,
          'left/camera_info': lambda topics: topics.left.info,
          'right/image_rect': lambda topics: topics.right.image,
          'right/camera_info': lambda topics: topics.right.info}


@dataclass(frozen=True)
class LiveRun:
    """What went into a node and what came out; times are of one steady clock [s]."""

    published_s: dict[int, float]          # stamp of a pair -> when its first message went out
    answers: dict[str, dict[int, Any]]     # output topic -> stamp -> Received
    repeated: int                          # answers with a stamp that had come before
    statuses: dict[str, dict[str, str]]    # diagnostics: name -> key -> value
    rate_hz: float                         # at which the pairs were published
    exit_code: int
    ended_by: str
    environment: dict[str, str]


def run_live(bag_path: Path, topics: Any, parameters: dict[str, Any], out_dir: Path, speed: float,
             max_frames: int, progress: Callable[[int, int], None]) -> LiveRun:
    """
    Start a node, play the stereo topics of a bag to it, collect, end the node.

    :param topics: StereoTopics of the bag.
    :param parameters: ROS parameters of the node.
    :param out_dir: Folder for node.log and node_parameters.yaml.
    :param speed: Relative to the recording.
    :param max_frames: Pairs to publish.
    :param progress: Called with (pairs published, pairs in all).
    :raises CrossviewError: If the node does not start, or dies.
    """
    environment = private_domain()
    os.environ.update(environment)   # of our own player and collector; read when they start
    from crossview_ros.ros.collector import OutputCollector
    from crossview_ros.ros.player import BagPlayer
    inputs = {choose(topics): f'/stereo/{name}' for name, choose in INPUTS.items()}
    published_s: dict[int, float] = {}

    def note(published: Any) -> None:
        if published.stamp_ns not in published_s:
            node.check()
            published_s[published.stamp_ns] = published.monotonic_s
            progress(len(published_s), max_frames)

    with NodeProcess(_node_command(parameters, out_dir), out_dir / 'node.log',
                     environment) as node, \
            OutputCollector(OUTPUTS, '/stereo') as collector:
        collector.wait_until_active(NODE, START_LIMIT_S, node.check)
        with BagPlayer(bag_path, rate=speed, remap=inputs, topics=inputs, max_frames=max_frames,
                       frame_topic=topics.left.image) as player:
            if not player.wait_for_subscribers(inputs, SILENCE_LIMIT_S):
                raise CrossviewError(f'{NODE} is active but does not listen to '
                                     f'{", ".join(inputs.values())}; see {node.log}')
            player.play(note)
            _wait_for_answers(collector, len(published_s), node)
        if not collector.received(DEPTH):
            raise CrossviewError(f'{NODE} answered none of {len(published_s)} stereo pairs; its '
                                 f'last words ({node.log}): {node.last_words()}')
        collector.wait_for_status(lambda statuses: _has_counted(statuses, len(published_s)),
                                  DIAGNOSTICS_LIMIT_S)
        statuses = {name: collector.diagnostic_values(name) for name in collector.statuses()}
        exit_code = node.stop()
        return LiveRun(published_s, {topic: collector.received(topic) for topic in OUTPUTS},
                       collector.repeated(DEPTH), statuses, _rate(published_s), exit_code,
                       node.ended_by, environment)


def _node_command(parameters: dict[str, Any], out_dir: Path) -> list[str]:
    from crossview_ros.config import dump_yaml
    file = out_dir / 'node_parameters.yaml'
    file.write_text(dump_yaml({'/**': {'ros__parameters': parameters}}), encoding='utf-8')
    return [sys.executable, '-m', 'crossview_ros.ros.perception_node', '--ros-args',
            '-r', '__ns:=/stereo', '--params-file', str(file)]


def _wait_for_answers(collector: Any, count: int, node: NodeProcess) -> None:
    """Wait until every pair is answered, or nothing has come for a while."""
    come = {topic: -1 for topic in OUTPUTS}
    deadline_s = time.monotonic() + SILENCE_LIMIT_S
    while time.monotonic() < deadline_s and min(come.values()) < count:
        node.check()
        for topic in OUTPUTS:
            collector.wait_for(topic, count, 0.2)
        latest = {topic: len(collector.received(topic)) for topic in OUTPUTS}
        if latest != come:
            come, deadline_s = latest, time.monotonic() + SILENCE_LIMIT_S


def _has_counted(statuses: dict[str, Any], count: int) -> bool:
    """Tell whether the diagnostics, which come once a second, have seen every answer."""
    return any(pair.key == 'Sets answered' and pair.value == str(count)
               for status in statuses.values() for pair in status.values)


def _rate(published_s: dict[int, float]) -> float:
    times_s = list(published_s.values())
    elapsed_s = times_s[-1] - times_s[0] if times_s else 0.0
    return (len(times_s) - 1) / elapsed_s if elapsed_s else 0.0
