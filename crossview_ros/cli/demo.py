# SPDX-License-Identifier: Apache-2.0
"""
Show the main job: play a bag through the live ROS 2 node, and report.

The bag is a rendered sample, or one of yours. Writes report.html, metrics.json and the pictures.
Without rclpy, and on aarch64, the bag is run in process instead, and the report says so.
"""
import argparse
from dataclasses import replace
from pathlib import Path
import platform
import shutil
import signal
import sys
from typing import Any

from crossview_ros.cli.console import (
    add_input_arguments, FrameBar, positive, positive_number, print_result, read_size)

HELP = 'play a bag, by default a rendered sample, through the live ROS 2 node, report'
TITLE = 'A stereo bag becomes depth, flow and odometry'
MODEL = 'crossview_small'
SIZE_ON_CPU = (240, 320)     # [px] so that it answers more than once a second
SAMPLE_FRAMES = 100
NUM_MEASURED = 6             # frames that tell how fast this machine is
SLOWEST_HZ, FASTEST_HZ = 2.0, 10.0
LOAD = 0.5                  # share of the in-process rate: player, transport and report take too
PLAY_LIMIT_S = 35.0
NODE_TASKS = {'depth': 'stereo', 'flow': 'flow', 'odometry': 'odometry'}   # the node's words
SAMPLE_NOTE = ('The sample is rendered, with textures that no training saw. Real cameras are '
               'harder: run crossview replay on a bag of your own.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('bag', metavar='BAG', type=Path, nargs='?',
                        help='bag folder or .mcap file (default: a sample is rendered)')
    parser.add_argument('--out', type=Path, default=Path('out/demo'), metavar='DIR',
                        help='folder to write (default: out/demo)')
    parser.add_argument('--model', default=MODEL,
                        help=f'name or folder of a model (default: {MODEL})')
    parser.add_argument('--size', metavar='HxW',
                        help="working size of the model [px] (default: the model's; without a "
                        f'GPU {SIZE_ON_CPU[0]}x{SIZE_ON_CPU[1]} of {MODEL})')
    parser.add_argument('--frames', type=positive, metavar='N',
                        help='frames to play (default: 100 of the sample, all of a bag)')
    add_input_arguments(parser)
    parser.add_argument('--seed', type=int, default=0, help='another drive (default: 0)')
    parser.add_argument('--rate', type=positive_number, metavar='HZ',
                        help='pairs published per second (default: half of what this machine '
                             'answers in process, 2 to 10; later where the node is behind)')
    parser.add_argument('--in-process', action='store_true', help='do not start a ROS 2 node')
    parser.add_argument('--json', action='store_true',
                        help='print metrics.json on stdout instead of a table')


def run(args: argparse.Namespace) -> int:
    """Render or find the bag, run, report."""
    from crossview_ros.replay.report import write_report
    from crossview_ros.replay.run import ReplayOptions
    # so that the node is ended also where a supervisor, e.g. timeout, ends us
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    options = ReplayOptions(model=args.model, outputs=False, left=args.left, right=args.right,
                            cloud=args.cloud, rectify=args.rectify, max_frames=args.frames,
                            lidar_holdout=args.lidar_holdout,
                            inference_size=_inference_size(args))
    reason = _why_in_process(args.in_process)
    args.out.mkdir(parents=True, exist_ok=True)
    bag = args.bag or _render(args)
    data = _live(bag, options, args) if reason is None else \
        _in_process(bag, options, args, reason)
    print_result(data, write_report(args.out, data), args.json)
    return 0


def _inference_size(args: argparse.Namespace) -> tuple[int, int] | None:
    """Return the working size [px]; None leaves it to the model."""
    if args.size is not None:
        return read_size(args.size)
    if args.model != MODEL:
        return None
    import torch
    return None if torch.cuda.is_available() else SIZE_ON_CPU


def _why_in_process(asked: bool) -> str | None:
    from crossview_ros.cli.ros import missing_ros
    if asked:
        return 'Run in process, as asked for.'
    if platform.machine() == 'aarch64':
        return 'Run in process: the demo starts no ROS 2 node on aarch64.'
    reason = missing_ros()
    return None if reason is None else f'Run in process, without a ROS 2 node: {reason}.'


def _render(args: argparse.Namespace) -> Path:
    from crossview_ros.data.synthetic.bag_writer import write_drive_bag
    from crossview_ros.data.synthetic.drive import DriveConfig
    bag = args.out / 'sample_bag'
    if (bag / 'metadata.yaml').is_file():
        shutil.rmtree(bag)   # of an earlier demo
    config = DriveConfig(num_frames=args.frames or SAMPLE_FRAMES)
    with FrameBar('rendering the sample') as bar:
        return write_drive_bag(bag, config, args.seed, bar.update)


def _in_process(bag: Path, options: Any, args: argparse.Namespace, reason: str) -> Any:
    from crossview_ros.replay.run import replay_bag
    from crossview_ros.runtime.perception import Perception
    with Perception.open(**options.perception_options()) as perception, \
            FrameBar('perception') as bar:
        return replay_bag(bag, perception, options, args.out, progress=bar.update,
                          title=_title(args), command=args.command,
                          notes=[reason, *_notes(args)])


def _title(args: argparse.Namespace) -> str:
    return TITLE if args.bag is None else f'{args.bag.resolve().name}, through the live node'


def _notes(args: argparse.Namespace) -> list[str]:
    return [SAMPLE_NOTE] if args.bag is None else []


def _live(bag: Path, options: Any, args: argparse.Namespace) -> Any:
    from crossview_ros.cli.live import run_live
    from crossview_ros.cli.live_report import evaluate_live
    from crossview_ros.errors import MessageError
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.extrinsics import extrinsic_parameters
    from crossview_ros.replay.topics import find_input_topics
    with Bag(bag) as opened:
        topics = find_input_topics(opened, options.left, options.right, options.cloud)
        recorded_hz = opened.topic(topics.left.image).rate_hz or FASTEST_HZ
        extrinsics = extrinsic_parameters(opened, topics)
    measured_hz, tasks, facts = _measure(bag, options, args.out)
    rate_hz = args.rate or min(FASTEST_HZ, max(SLOWEST_HZ, LOAD * measured_hz))
    num_frames = min(args.frames or topics.left.count, topics.left.count)
    if tasks == ('flow',) and num_frames < 2:
        raise MessageError(f'{bag}: {topics.left.image} has one image, and flow needs two')
    if args.bag is None:
        num_frames = min(num_frames, max(2, int(PLAY_LIMIT_S * rate_hz)))
    print(f'{topics.described}, played at {rate_hz:.1f} Hz', file=sys.stderr)
    parameters = {name: getattr(options, name) for name in
                  ('model', 'backend', 'device', 'min_depth', 'max_depth', 'min_confidence',
                   'rectify')}
    parameters.update({f'{name}.enabled': task in tasks for name, task in NODE_TASKS.items()},
                      mode=topics.mode, **_working_size(options),
                      image_transport='compressed' if topics.left.compressed else 'raw')
    with FrameBar(f'live node, {rate_hz:.1f} Hz') as bar:
        live = run_live(bag, topics, tasks, {**parameters, **extrinsics}, args.out,
                        rate_hz / recorded_hz, num_frames, args.rate is None, bar.update,
                        options.keep_every(topics))
    notes = [*_notes(args), f'In process this machine answers {measured_hz:.1f} frames/s; the '
             f'bag was played at {live.rate_hz:.1f} Hz to leave room for player, transport and '
             'measurement.']
    if live.num_held:
        notes.append(f'{live.num_held} frames were sent later than this rate says, because the '
                     'node was still busy with the ones before.')
    return evaluate_live(bag, topics, live, options, facts, title=_title(args),
                         command=args.command, notes=notes)


def _working_size(options: Any) -> dict[str, int]:
    rows, cols = options.inference_size or (0, 0)
    return {'inference.height': rows, 'inference.width': cols}


def _measure(bag: Path, options: Any, out_dir: Path) -> tuple[float, tuple[str, ...], dict]:
    """Return the rate of a few frames in process [Hz], the tasks, and what ran."""
    import numpy as np
    from crossview_ros.replay.run import replay_bag
    from crossview_ros.runtime.perception import Perception
    few = replace(options, max_frames=NUM_MEASURED)
    with Perception.open(**options.perception_options()) as perception:
        data = replay_bag(bag, perception, few, out_dir, title='', command='')
    (out_dir / 'trajectory.tum').unlink(missing_ok=True)   # of these few frames only
    # the first frame allocates, and has no flow yet
    times_ms = data.latencies_ms[1:] if data.num_answered > 1 else data.latencies_ms
    return 1000.0 / float(np.median(times_ms)), tuple(o.task for o in data.outputs), {
        'Model and backend': data.facts['Model and backend']}
