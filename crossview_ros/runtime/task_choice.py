# SPDX-License-Identifier: Apache-2.0
"""Which tasks a model can run, and which of its heads they need."""
from collections.abc import Iterable

from crossview_ros.errors import ConfigError
from crossview_ros.runtime.backends import OUTPUT_OF_TASK
from crossview_ros.runtime.manifest import ModelManifest

DEPTH_HEADS = ('stereo', 'depth')   # of a pair, of one view; odometry takes what there is
TASKS = (*OUTPUT_OF_TASK, 'odometry')


def choose_tasks(manifest: ModelManifest, tasks: list[str] | None) -> tuple[str, ...]:
    """
    Return the tasks that are asked for, in a fixed order.

    :param tasks: Among `TASKS`; None: all that the model can run.
    :raises ConfigError: If the model cannot run one of them, or there are none.
    """
    available = [task for task in OUTPUT_OF_TASK if task in manifest.tasks]
    if can_track(available):
        available.append('odometry')
    unknown = sorted(set(tasks or ()) - set(available))
    if unknown or tasks is not None and not tasks or not available:
        raise ConfigError(f"model '{manifest.name}' can run the tasks "
                          f'{", ".join(available) or "(none)"} here; asked for '
                          f'{", ".join(tasks or ()) or "none"}')
    return tuple(task for task in available if tasks is None or task in tasks)


def heads_of(manifest: ModelManifest, tasks: tuple[str, ...]) -> tuple[str, ...]:
    """
    Return the heads that must run for some tasks.

    Odometry needs flow, and depth of the heads among the tasks; without one, of any.
    """
    if 'odometry' not in tasks:
        return tasks
    wanted = {'flow', *(set(DEPTH_HEADS) & set(tasks) or DEPTH_HEADS)}
    return tuple(head for head in OUTPUT_OF_TASK if head in wanted and head in manifest.tasks)


def can_track(heads: Iterable[str]) -> bool:
    """Tell whether some heads are enough for odometry."""
    heads = set(heads)
    return 'flow' in heads and bool(heads & set(DEPTH_HEADS))


def heads_of_frame(heads: Iterable[str], pair: bool) -> tuple[str, ...]:
    """Return the heads that answer a frame: depth is that of the pair where there is one."""
    idle = 'depth' if pair and 'stereo' in heads else 'stereo'
    return tuple(head for head in heads if head != idle)
