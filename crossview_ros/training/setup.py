# SPDX-License-Identifier: Apache-2.0
"""Put a run together: config, model, records, folder."""
from collections.abc import Callable
import os
from pathlib import Path

from crossview_ros.config import from_dict, load_config
from crossview_ros.errors import ConfigError
from crossview_ros.networks.checkpoint import load_network
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig
from crossview_ros.training.loop import Report, Trainer
from crossview_ros.training.records import OnlineBatches, prepare_records
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks import TASKS, TASKS_OF_VERB
from crossview_ros.training.tasks.step import Task
import torch
from torch import nn


def open_run(verb: str, config_path: Path, overrides: list[str], run_dir: Path, cache_dir: Path,
             resume: bool, device: str, threads: int, report: Report,
             progress: Callable[[int, int], None] | None = None) -> Trainer:
    """
    Prepare a run, new or resumed, up to its first step.

    :param verb: 'pretrain' or 'finetune'; each has its own tasks.
    :param threads: CPU threads; 0 leaves torch's choice.
    :raises CrossviewError: For a bad config, a folder in use, or unusable weights.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = RunFolder(run_dir)
    config = folder.config() if resume else load_config(RunConfig, config_path, overrides)
    task, model = build(verb, config)
    model = model.to(pick_device(device))
    if not resume:
        folder.create(config)
    folders = prepare_records(config.data, cache_dir, progress, threads or os.cpu_count() or 1,
                              task.records_config())
    training, validation = (task.batches(path, config, model.config) for path in folders)
    if config.data.online:
        training = OnlineBatches(training, next(model.parameters()).device)
    trainer = Trainer(config, model, task, training, validation, folder, report)
    if resume:
        report({'resumed_from': trainer.resume(), 'step': trainer.step})
    return trainer


def build(verb: str, config: RunConfig) -> tuple[Task, nn.Module]:
    """
    Make the task and the network of a run, with the weights that it starts from.

    :raises CrossviewError: If another verb trains the task, or the network cannot be made.
    """
    if config.task not in TASKS_OF_VERB[verb]:
        right = next(name for name, tasks in TASKS_OF_VERB.items() if config.task in tasks)
        raise ConfigError(f"'crossview {verb}' trains {', '.join(TASKS_OF_VERB[verb])}, but the "
                          f"config asks for task '{config.task}'; use 'crossview {right}'")
    torch.manual_seed(config.seed)
    task = TASKS[config.task](config)
    model = task.build()
    if config.model.start_from:
        start_from(model, config.model.start_from)
    return task, model


def start_from(model: nn.Module, source: str) -> None:
    """
    Copy every weight that a run or a model has under the same name and of the same shape.

    :param source: Run folder, or what `load_network` takes.
    :raises ConfigError: If the encoder gets nothing.
    """
    run = Path(source)
    weights = RunFolder(run).load()[0]['average'] if (run / 'config.yaml').is_file() \
        else load_network(source).state_dict()
    own = model.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not any(name.startswith('encoder.') for name in fitting):
        raise ConfigError(f"model.start_from '{source}' shares no encoder weights with the preset")
    model.load_state_dict(fitting, strict=False)


def pick_device(name: str) -> torch.device:
    """
    Resolve auto, cpu or cuda.

    :raises ConfigError: If cuda is asked for and there is none.
    """
    if name == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: torch finds no CUDA device; use --device cpu')
    if name == 'auto':
        name = 'cuda' if torch.cuda.is_available() else 'cpu'
    return torch.device(name)


def load_run(run_dir: Path) -> tuple[RunConfig, ModelConfig | CroCoConfig,
                                     dict[str, torch.Tensor], dict]:
    """
    Read a run's result: its config, architecture, averaged weights and a short history.

    :return: The architecture is a `CroCoConfig` where the task was croco.
    :raises CheckpointError: If the folder holds no readable checkpoint.
    """
    folder = RunFolder(run_dir)
    state, _ = folder.load()
    config = from_dict(RunConfig, state['config'], str(run_dir))
    model = from_dict(TASKS[config.task](config).architecture, state['architecture'],
                      str(run_dir))
    history = {key: state[key] for key in ('step', 'elapsed_s', 'best_score')}
    return config, model, state['average'], history
