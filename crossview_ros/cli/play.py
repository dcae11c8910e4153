# SPDX-License-Identifier: Apache-2.0
"""Publish a bag over ROS 2 without rosbag2: every topic whose message type is installed."""
import argparse
from pathlib import Path
import signal
import sys
import time

from crossview_ros.cli.console import positive_number

HELP = 'publish a bag over ROS 2'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('bag', metavar='BAG', type=Path, help='bag folder or .mcap file')
    parser.add_argument('--rate', type=positive_number, default=1.0, metavar='R',
                        help='speed relative to the recording (default: 1.0)')
    parser.add_argument('--delay', type=_seconds, default=1.0, metavar='S',
                        help='time for subscribers to find the topics, before the first message '
                             '(default: 1.0 s)')
    parser.add_argument('--loop', action='store_true', help='start again at the end, until Ctrl-C')
    parser.add_argument('--clock', action='store_true', help='publish /clock for use_sim_time')
    parser.add_argument('--remap', action='append', default=[], metavar='A:=B', type=_remapping,
                        help='publish topic A of the bag as B; may be repeated')


def run(args: argparse.Namespace) -> int:
    """Play to the end of the bag, or until Ctrl-C; say what was published."""
    from crossview_ros.cli.ros import require_ros
    require_ros()
    from crossview_ros.ros.player import BagPlayer
    from tqdm import tqdm
    with BagPlayer(args.bag, rate=args.rate, loop=args.loop, clock=args.clock,
                   remap=dict(args.remap)) as player:
        for topic, reason in player.skipped.items():
            print(f'not played: {topic}: {reason}', file=sys.stderr)
        # both end the loop between two messages, so that nothing is cut off
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: player.stop())
        time.sleep(args.delay)
        with tqdm(desc='play', unit='message', file=sys.stderr) as bar:
            player.play(lambda published: bar.update())
        width = max(map(len, player.topics.values()), default=0)
        for topic, target in player.topics.items():
            print(f'{target:<{width}}  {player.counts[topic]:>8}  messages')
    return 0


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value < 3600:
        raise argparse.ArgumentTypeError(f'expected seconds, 0 or more, got {text}')
    return value


def _remapping(text: str) -> tuple[str, str]:
    old, separator, new = text.partition(':=')
    if not (separator and old and new):
        raise argparse.ArgumentTypeError(f"expected A:=B, got '{text}'")
    return old, new
