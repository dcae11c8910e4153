# SPDX-License-Identifier: Apache-2.0
"""Which tasks a model can run, and which of its heads they need."""
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.backends import OUTPUT_OF_TASK
from crossview_ros.runtime.manifest import ModelManifest

HEADS_OF_ODOMETRY = ('stereo', 'flow')
TASKS = (*HEADS_OF_ODOMETRY, 'odometry')


def choose_tasks(manifest: ModelManifest, tasks: list[str] | None) -> tuple[str, ...]:
    """
    Return the tasks that are asked for, in a fixed order.

    :param tasks: Among `TASKS`; None: all that the model can run.
    :raises ConfigError: If the model cannot run one of them, or there are none.
    """
    available = [task for task in OUTPUT_OF_TASK if task in manifest.tasks]
    if set(HEADS_OF_ODOMETRY) <= set(available):
        available.append('odometry')
    unknown = sorted(set(tasks or ()) - set(available))
    if unknown or tasks is not None and not tasks or not available:
        raise ConfigError(f"model '{manifest.name}' can run the tasks "
                          f'{", ".join(available) or "(none)"} here; asked for '
                          f'{", ".join(tasks or ()) or "none"}')
    return tuple(task for task in available if tasks is None or task in tasks)


def heads_of(tasks: tuple[str, ...]) -> tuple[str, ...]:
    """Return the heads that must run for some tasks."""
    return HEADS_OF_ODOMETRY if 'odometry' in tasks else tasks
