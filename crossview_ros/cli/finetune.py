# SPDX-License-Identifier: Apache-2.0
"""Verb finetune: train heads and encoder on a task named by a YAML file."""
import argparse

from crossview_ros.cli.training import add_run_arguments, train

HELP = 'train a task (stereo, flow, multi) as a YAML file says'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    return train('finetune', args)
