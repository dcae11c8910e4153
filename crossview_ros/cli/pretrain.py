# SPDX-License-Identifier: Apache-2.0
"""Verb pretrain: train encoder and decoder to complete one view from another."""
import argparse

from crossview_ros.cli.training import add_run_arguments, train

HELP = 'pre-train encoder and decoder (croco) as a YAML file says'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    add_run_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train."""
    return train('pretrain', args)
