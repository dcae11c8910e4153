# SPDX-License-Identifier: Apache-2.0
"""Play a bag through a live perception_node and keep everything that it answers."""
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path
import sys
import time
from typing import Any

from crossview_ros.cli.node_process import NodeProcess
from crossview_ros.cli.pacer import Pacer
from crossview_ros.cli.ros import private_domain
from crossview_ros.errors import CrossviewError

NODE = 'perception_node'
DEPTH, CONFIDENCE, DISPARITY = 'depth/image', 'depth/confidence', 'disparity'
FLOW, FLOW_CONFIDENCE, FLOW_META = ('optical_flow/image', 'optical_flow/confidence',
                                    'optical_flow/meta')
ODOM = 'odom'
# task -> topic -> type
OUTPUTS = {
    'stereo': {DEPTH: 'sensor_msgs/msg/Image', CONFIDENCE: 'sensor_msgs/msg/Image',
               DISPARITY: 'stereo_msgs/msg/DisparityImage'},
    'flow': {FLOW: 'sensor_msgs/msg/Image', FLOW_CONFIDENCE: 'sensor_msgs/msg/Image',
             # carries the stamp of the image before, and is kept under it
             FLOW_META: 'std_msgs/msg/Header'},
    'odometry': {ODOM: 'nav_msgs/msg/Odometry'},
}
OF_A_PAIR = (DISPARITY,)   # one camera has none
MAIN_OUTPUT = {'stereo': DEPTH, 'flow': FLOW, 'odometry': ODOM}
START_LIMIT_S = 60.0      # loading torch and the model on a slow machine
SILENCE_LIMIT_S = 10.0    # after the last pair, an answer must come within
DIAGNOSTICS_LIMIT_S = 2.5
SETTLE_S = 1.0            # the node's side of a connection may be later than the player's
ODOMETRY_LIMIT_S = 1.0    # it is published together with the depth
# mode -> input of the node, relative to its namespace -> which topic of the bag feeds it
INPUTS = {
    'stereo': {'left/image_rect': lambda topics: topics.left.image,
               'left/camera_info': lambda topics: topics.left.info,
               'right/image_rect': lambda topics: topics.right.image,
               'right/camera_info': lambda topics: topics.right.info},
    'sequential': {'image_rect': lambda topics: topics.left.image,
                   'camera_info': lambda topics: topics.left.info},
}
LIDAR_INPUT = 'points_in'


@dataclass(frozen=True)
class LiveRun:
    """What went into a node and what came out; times are of one steady clock [s]."""

    published_s: dict[int, float]          # stamp of a frame -> when its first message went out
    tasks: tuple[str, ...]                 # the first one's output tells that a frame is answered
    answers: dict[str, dict[int, Any]]     # output topic -> stamp -> Received
    repeated: int                          # answers with a stamp that had come before
    statuses: dict[str, dict[str, str]]    # diagnostics: name -> key -> value
    rate_hz: float                         # at which the pairs were published
    exit_code: int
    ended_by: str
    environment: dict[str, str]
    num_held: int = 0                      # frames that were sent later, for the node to catch up

    @property
    def main_output(self) -> str:
        """Return the topic that tells whether a frame is answered."""
        return MAIN_OUTPUT[self.tasks[0]]

    @property
    def expected(self) -> set[int]:
        """Return the stamps that should be answered: the first frame of all has no flow."""
        stamps = set(self.published_s)
        return stamps if 'stereo' in self.tasks else stamps - {min(stamps)}


def run_live(bag_path: Path, topics: Any, tasks: tuple[str, ...], parameters: dict[str, Any],
             out_dir: Path, speed: float, max_frames: int, held_back: bool,
             progress: Callable[[int, int], None], keep_every: int | None = None) -> LiveRun:
    """
    Start a node, play a stereo pair or one camera of a bag to it, collect, end the node.

    :param topics: InputTopics of the bag.
    :param tasks: What the model can do, of stereo, flow, odometry: what to wait for.
    :param parameters: ROS parameters of the node.
    :param out_dir: Folder for node.log and node_parameters.yaml.
    :param speed: Relative to the recording.
    :param max_frames: Frames to publish.
    :param held_back: Whether frames wait while the node is behind.
    :param progress: Called with (frames published, frames in all).
    :param keep_every: Rings of the cloud that are published, one in so many; None: all.
    :raises CrossviewError: If the node does not start, or dies.
    """
    environment = private_domain()
    os.environ.update(environment)   # of our own player and collector; read when they start
    from crossview_ros.ros.collector import OutputCollector
    outputs = {topic: kind for task in tasks for topic, kind in OUTPUTS[task].items()
               if topics.mode == 'stereo' or topic not in OF_A_PAIR}
    with NodeProcess(_node_command(parameters, out_dir), out_dir / 'node.log',
                     environment) as node, \
            OutputCollector(outputs, '/stereo') as collector:
        collector.wait_until_active(NODE, START_LIMIT_S, node.check)
        with _player(bag_path, topics, speed, max_frames, keep_every) as player:
            pacer = Pacer(partial(collector.wait_for, MAIN_OUTPUT[tasks[0]]),
                          num_without_answer=0 if 'stereo' in tasks else 1)
            published_s = _play(player, topics, max_frames, node, progress,
                                pacer if held_back else None)
            # the player stays: what it has sent may still be on the way
            _wait_for_answers(collector, tasks, outputs, len(published_s), node)
        if not collector.received(MAIN_OUTPUT[tasks[0]]):
            raise CrossviewError(f'{NODE} answered none of {len(published_s)} frames; its '
                                 f'last words ({node.log}): {node.last_words()}')
        collector.wait_for_status(lambda statuses: _has_counted(statuses, len(published_s)),
                                  DIAGNOSTICS_LIMIT_S)
        statuses = {name: collector.diagnostic_values(name) for name in collector.statuses()}
        exit_code = node.stop()
        answers = {topic: collector.received(topic) for topic in outputs}
        return LiveRun(published_s, tasks, answers, collector.repeated(MAIN_OUTPUT[tasks[0]]),
                       statuses, _rate(published_s), exit_code, node.ended_by, environment,
                       pacer.num_held)


def _player(bag_path: Path, topics: Any, speed: float, max_frames: int,
            keep_every: int | None) -> Any:
    """Return a player of the frames and the clouds of a bag."""
    from crossview_ros.ros.player import BagPlayer
    compressed = '/compressed' if topics.left.compressed else ''
    remap = {choose(topics): f'/stereo/{name}{compressed if "image" in name else ""}'
             for name, choose in INPUTS[topics.mode].items()}
    changes = {}
    if topics.cloud is not None:
        remap[topics.cloud] = f'/stereo/{LIDAR_INPUT}'
        if keep_every is not None:
            from crossview_ros.replay.lidar_holdout import kept_rings
            changes[topics.cloud] = partial(kept_rings, keep_every=keep_every)
    return BagPlayer(bag_path, rate=speed, remap=remap, topics=remap, max_frames=max_frames,
                     frame_topic=topics.left.image, changes=changes)


def _play(player: Any, topics: Any, max_frames: int, node: NodeProcess,
          progress: Callable[[int, int], None], pacer: Pacer | None) -> dict[int, float]:
    """Publish to the end; return when the first message of each frame went out."""
    if not player.wait_for_subscribers(topics.names, SILENCE_LIMIT_S):
        raise CrossviewError(f'{NODE} is active but does not listen to '
                             f'/stereo/{", /stereo/".join(INPUTS[topics.mode])}; see {node.log}')
    time.sleep(SETTLE_S)
    published_s: dict[int, float] = {}

    def note(published: Any) -> None:
        if published.topic != topics.cloud and published.stamp_ns not in published_s:
            node.check()
            if pacer is not None:
                pacer.before_frame(len(published_s))
            published_s[published.stamp_ns] = time.monotonic()
            progress(len(published_s), max_frames)
    player.play(note)
    return published_s


def _node_command(parameters: dict[str, Any], out_dir: Path) -> list[str]:
    from crossview_ros.config import dump_yaml
    file = out_dir / 'node_parameters.yaml'
    file.write_text(dump_yaml({'/**': {'ros__parameters': parameters}}), encoding='utf-8')
    return [sys.executable, '-m', 'crossview_ros.ros.perception_node', '--ros-args',
            '-r', '__ns:=/stereo', '--params-file', str(file)]


def _wait_for_answers(collector: Any, tasks: tuple[str, ...], outputs: dict[str, str],
                      count: int, node: NodeProcess) -> None:
    """Wait until every pair is answered, or nothing has come for a while."""
    expected = {topic: count for topic in OUTPUTS['stereo'] if topic in outputs} \
        if 'stereo' in tasks else {}
    if 'flow' in tasks:
        expected.update({topic: count - 1 for topic in OUTPUTS['flow']})
    come: dict[str, int] = {}
    deadline_s = time.monotonic() + SILENCE_LIMIT_S
    while time.monotonic() < deadline_s and any(
            come.get(topic, 0) < number for topic, number in expected.items()):
        node.check()
        for topic, number in expected.items():
            collector.wait_for(topic, number, 0.2)
        latest = {topic: len(collector.received(topic)) for topic in expected}
        if latest != come:
            come, deadline_s = latest, time.monotonic() + SILENCE_LIMIT_S
    if 'odometry' in tasks:   # none comes for a pair whose motion is lost
        collector.wait_for(ODOM, count - 1, ODOMETRY_LIMIT_S)


def _has_counted(statuses: dict[str, Any], count: int) -> bool:
    """Tell whether the diagnostics, which come once a second, have seen every answer."""
    return any(pair.key == 'Sets answered' and pair.value == str(count)
               for status in statuses.values() for pair in status.values)


def _rate(published_s: dict[int, float]) -> float:
    times_s = list(published_s.values())
    elapsed_s = times_s[-1] - times_s[0] if times_s else 0.0
    return (len(times_s) - 1) / elapsed_s if elapsed_s else 0.0
