# SPDX-License-Identifier: Apache-2.0
"""
Run perception_node, or the same node with one task on, until it is told to end.

Nothing heavy is imported here: from the first line of `main` SIGINT and SIGTERM wait to be taken
in one place, so that they never interrupt an import, a model being loaded or an inference.
"""
from collections.abc import Callable
import signal
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM)


def main(args: list[str] | None = None,
         engine_factory: Callable[[Any, Any], Any] | None = None, task: str | None = None) -> int:
    """
    Run the node in this process, which serves nothing else.

    :param args: Command line without the program's name; None: sys.argv.
    :param engine_factory: As `EngineFactory`; None: Perception.
    :param task: 'depth', 'flow' or 'odometry', the only one that is on by default; None: all.
    :return: Exit code: 0 when ended by SIGINT or SIGTERM, 1 when it could not start.
    """
    # before any thread starts: they inherit the mask, and only sigtimedwait takes the signals
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    from crossview_ros.ros.node_runner import run_node
    return run_node(args, engine_factory, task)


def depth_node() -> int:
    """Run the node with depth alone."""
    return main(task='depth')


def flow_node() -> int:
    """Run the node with optical flow alone."""
    return main(task='flow')


def odometry_node() -> int:
    """Run the node with odometry alone."""
    return main(task='odometry')


if __name__ == '__main__':
    raise SystemExit(main())
