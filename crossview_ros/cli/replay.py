# SPDX-License-Identifier: Apache-2.0
"""
Run every frame of a bag through Perception in process, and report.

A frame is a stereo pair, found by the baseline in CameraInfo, or an image of one camera where the
bag has no pair. Writes report.html, metrics.json, per_frame.csv, outputs.mcap and, where there is
odometry, trajectory.tum.
"""
import argparse
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli.console import (
    add_input_arguments, FrameBar, positive, print_result, read_size)

HELP = 'run a bag in process, every frame once, and report'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('bag', metavar='BAG', type=Path, help='bag folder or .mcap file')
    parser.add_argument('--model', help='name or folder of a model (default: crossview_tiny)')
    parser.add_argument('--backend', help='what runs the network (default: auto)')
    parser.add_argument('--device', choices=('auto', 'cpu', 'cuda'),
                        help='where it runs (default: auto)')
    parser.add_argument('--size', metavar='HxW',
                        help="working size of the model [px] (default: the model's)")
    parser.add_argument('--sharpen', choices=('auto', 'on', 'off'),
                        help='match once more in the full images, near what the model says '
                        '(default: auto, as the model says)')
    parser.add_argument('--config', type=Path, metavar='YAML',
                        help='settings such as max_depth [m]; flags win over the file')
    parser.add_argument('--out', type=Path, default=Path('out/replay'), metavar='DIR',
                        help='folder to write (default: out/replay)')
    add_input_arguments(parser)
    parser.add_argument('--truth', metavar='SOURCE',
                        help='true poses: a topic of the bag, a TUM, KITTI or EuRoC file, or '
                        "kiss-icp: pseudo ground truth of the bag's LiDAR (default: "
                        '/ground_truth/odom, where the bag has it)')
    parser.add_argument('--truth-frame', metavar='FRAME',
                        help='frame whose poses SOURCE holds (default: the child frame of the '
                        'topic, the LiDAR, or for a file the left camera)')
    parser.add_argument('--baseline', action='store_true',
                        help='run a classical odometry (ORB + SGBM + PnP) on the same frames')
    parser.add_argument('--max-frames', type=positive, metavar='N',
                        help='stop after N frames (default: all)')
    parser.add_argument('--no-outputs', action='store_true', help='do not write outputs.mcap')
    parser.add_argument('--json', action='store_true',
                        help='print metrics.json on stdout instead of a table')


def run(args: argparse.Namespace) -> int:
    """Replay, write the report, print the figures."""
    from crossview_ros.replay.bag import Bag
    from crossview_ros.replay.report import write_report
    from crossview_ros.replay.run import replay_bag
    from crossview_ros.replay.topics import find_input_topics
    from crossview_ros.runtime.perception import Perception
    options = read_options(args)
    with Bag(args.bag) as bag:   # a wrong bag is told before the model is loaded
        topics = find_input_topics(bag, options.left, options.right, options.cloud)
    baseline = None
    if args.baseline:
        from crossview_ros.evaluation.classical_odometry import ClassicalOdometry, NAME
        baseline = NAME, ClassicalOdometry()
    print(f'replay of {topics.described}', file=sys.stderr)
    with Perception.open(**options.perception_options()) as perception, FrameBar('replay') as bar:
        print(f'backend {perception.backend_name}: {perception.backend_reason}', file=sys.stderr)
        data = replay_bag(args.bag, perception, options, args.out, progress=bar.update,
                          baseline=baseline,
                          title=f'Replay of {args.bag.resolve().name}', command=args.command)
    page = write_report(args.out, data)
    print_result(data, page, args.json)
    return 0


def read_options(args: argparse.Namespace) -> Any:
    """
    Merge the YAML file and the flags into ReplayOptions.

    :raises ConfigError: For an unknown key or a value that cannot be used.
    """
    from crossview_ros.config import from_dict, load_yaml
    from crossview_ros.replay.run import ReplayOptions
    values = {} if args.config is None else load_yaml(args.config)
    for name in ('model', 'backend', 'device', 'left', 'right', 'cloud', 'truth', 'truth_frame',
                 'max_frames', 'lidar_holdout', 'sharpen'):
        if getattr(args, name) is not None:
            values[name] = getattr(args, name)
    if args.size is not None:
        values['inference_size'] = read_size(args.size)
    if args.no_outputs:
        values['outputs'] = False
    if args.rectify:
        values['rectify'] = True
    return from_dict(ReplayOptions, values, source=str(args.config or 'command line'))
