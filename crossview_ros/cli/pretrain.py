# SPDX-License-Identifier: Apache-2.0
"""Verb pretrain: learn from pairs of views, from images with LiDAR points, or from both."""
import argparse

from crossview_ros.cli.training import add_run_arguments, train

HELP = 'pre-train by view completion (croco), LiDAR points (simipu) or both (joint)'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    return train('pretrain', args)
