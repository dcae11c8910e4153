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
from crossview_ros.networks.pretrained import encoder_of, plain_name, resample_cosine
from crossview_ros.networks.resnet import ResNet
from crossview_ros.training.batches import open_batches
from crossview_ros.training.blocks import prepare_blocks
from crossview_ros.training.engine import Engine, open_engine
from crossview_ros.training.loop import Report, Trainer
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import BEST, environment, LAST, PREVIOUS, RunFolder
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
    engine = open_engine(device, config.precision, config.engine.strategy)
    model = model.to(engine.device)
    prepare_blocks(model, config.engine)
    if engine.rank == 0:
        if not resume:
            folder.create(config)
        folder.add_environment(environment(engine.device, engine.world_size))
    training, validation = _open_batches_in_turn(engine, lambda: open_batches(
        task, model, config, cache_dir, progress, threads or os.cpu_count() or 1))
    trainer = Trainer(config, model, task, training, validation, folder, report, engine)
    if resume:
        source = trainer.resume()
        if engine.rank == 0:
            report({'resumed_from': source, 'step': trainer.step})
    return trainer


def _open_batches_in_turn(engine: Engine, open_all: Callable[[], tuple]) -> tuple:
    """Let one process of each computer render what is missing before the others read it."""
    if engine.local_rank == 0:
        opened = open_all()
    engine.wait()
    return opened if engine.local_rank == 0 else open_all()


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
    fitting = start_from(model, config.model.start_from) if config.model.start_from else set()
    freeze(model, config.model.freeze, fitting)
    return task, model


def start_from(model: nn.Module, source: str) -> set[str]:
    """
    Copy every weight that a run or a model has under the same name and of the same shape.

    Cosine positions of another grid are resampled (croco.md 3.7).

    :param source: Run folder, or what `load_network` takes.
    :return: Names of the weights that were copied.
    :raises ConfigError: If the encoder gets nothing.
    """
    run = Path(source)
    weights = RunFolder(run).load()[0]['average'] if (run / 'config.yaml').is_file() \
        else load_network(source).state_dict()
    names = {plain_name(name): name for name in model.state_dict()}
    own = {plain_name(name): value for name, value in model.state_dict().items()}
    weights = {plain_name(name): value for name, value in weights.items()}
    encoder = encoder_of(model)
    grid_hw = getattr(encoder.config, 'grid_hw', None)   # a ResNet has none
    weights = {k: resample_cosine(v, grid_hw) if k.endswith('.pos_embed') and k in own
               and v.shape != own[k].shape else v for k, v in weights.items()}
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    if not any(name.startswith('encoder.') for name in fitting):
        raise ConfigError(f"model.start_from '{source}' shares no encoder weights with the preset")
    random = [name for name in own if name.startswith('encoder.') and name not in fitting]
    if random and isinstance(encoder, ResNet):
        raise ConfigError(f"model.start_from '{source}' lacks {len(random)} weights of the "
                          f"preset's ResNet, or has them in other shapes: {random[0]} ...")
    model.load_state_dict({names[plain]: value for plain, value in fitting.items()}, strict=False)
    return {names[plain] for plain in fitting}


def freeze(model: nn.Module, parts: tuple[str, ...], loaded: set[str]) -> None:
    """
    Exclude parts from training; what nothing trainable lies below is computed without gradients.

    :param parts: Names of modules or weights, e.g. 'encoder' or 'heads.stereo'.
    :param loaded: Names of the weights that `start_from` has set.
    :raises ConfigError: If there is no such part, if some of its weights would stay random, or
        if nothing is left to train.
    """
    for part in parts:
        frozen = {name: parameter for name, parameter in model.named_parameters()
                  if name == part or name.startswith(f'{part}.')}
        missing = sorted(set(frozen) - loaded)
        if not frozen or missing:
            raise ConfigError(f"model.freeze '{part}': " + (
                f"model.start_from does not have its weights {', '.join(missing[:3])}" if frozen
                else f'the network has no such part; it has {", ".join(_parts(model))}'))
        for parameter in frozen.values():
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ConfigError(f'model.freeze {list(parts)} leaves nothing to train')


def _parts(model: nn.Module) -> list[str]:
    """Name the parts of a network: its children, and each head."""
    heads = [f'heads.{task}' for task in getattr(model, 'heads', ())]
    return [name for name, _ in model.named_children() if name != 'heads'] + heads


def load_run(run_dir: Path, best: bool = False) -> tuple[
        RunConfig, ModelConfig | CroCoConfig, dict[str, torch.Tensor], dict]:
    """
    Read a run's result: its config, architecture, averaged weights and a short history.

    :param best: Of the best validation, in place of the last step.
    :return: The architecture is a `CroCoConfig` where the task was croco.
    :raises CheckpointError: If the folder holds no readable checkpoint.
    """
    folder = RunFolder(run_dir)
    state, _ = folder.load((BEST,) if best else (LAST, PREVIOUS))
    config = from_dict(RunConfig, state['config'], str(run_dir))
    model = from_dict(TASKS[config.task](config).architecture, state['architecture'],
                      str(run_dir))
    history = {key: state[key] for key in ('step', 'elapsed_s', 'best_score')}
    return config, model, state['average'], history
