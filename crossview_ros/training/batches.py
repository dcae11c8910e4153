# SPDX-License-Identifier: Apache-2.0
"""Open the training and validation batches that a run asks for."""
from collections.abc import Callable
from pathlib import Path

from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.training.clouds import open_cloud_files
from crossview_ros.training.dataset_batches import open_dataset_batches
from crossview_ros.training.pairs import PairFileBatches
from crossview_ros.training.records import OnlineBatches, prepare_records
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks.step import Task
from torch import nn

CLOUD_TASKS = ('simipu', 'joint')


def open_batches(task: Task, model: nn.Module, config: RunConfig, cache_dir: Path,
                 progress: Callable[[int, int], None] | None = None, jobs: int = 1) -> tuple:
    """
    Render what is missing, or open what lies on disk.

    :param model: Of the task, on the device that trains.
    :param cache_dir: Of rendered records, shared by runs.
    :param jobs: Processes that render.
    :return: Training and validation batches, which may be the same object.
    :raises CrossviewError: If a data set cannot be opened, or does not serve the task.
    """
    architecture = model.config
    if config.data.source != 'rendered' and config.task in CLOUD_TASKS:
        both = open_cloud_files(config, architecture)
        return both, both
    if config.data.source != 'rendered':
        views = open_dataset_batches(
            config, getattr(architecture, 'normalisation', Normalisation()))
        both = PairFileBatches(views, architecture) if config.task == 'croco' else views
        return both, both
    folders = prepare_records(config.data, cache_dir, progress, jobs, task.records_config())
    training, validation = (task.batches(path, config, architecture) for path in folders)
    if config.data.online:
        training = OnlineBatches(training, next(model.parameters()).device)
    return training, validation
