# SPDX-License-Identifier: Apache-2.0
"""Put a run together: config, model, records, folder."""
from collections.abc import Callable
import os
from pathlib import Path

from crossview_ros.config import from_dict, load_config
from crossview_ros.errors import ConfigError
from crossview_ros.networks.checkpoint import load_multi_task
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.presets import MODEL_PRESETS
from crossview_ros.training.loop import Report, Trainer
from crossview_ros.training.records import OnlineBatches, prepare_records, RecordBatches
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks import TASKS
import torch


def open_run(config_path: Path, overrides: list[str], run_dir: Path, cache_dir: Path,
             resume: bool, device: str, threads: int, report: Report,
             progress: Callable[[int, int], None] | None = None) -> Trainer:
    """
    Prepare a run, new or resumed, up to its first step.

    :param threads: CPU threads; 0 leaves torch's choice.
    :raises CrossviewError: For a bad config, a folder in use, or unusable weights.
    """
    if threads:
        torch.set_num_threads(threads)
    folder = RunFolder(run_dir)
    if resume:
        config = folder.config()
    else:
        config = load_config(RunConfig, config_path, overrides)
        folder.create(config)
    torch.manual_seed(config.seed)
    task = TASKS[config.task]()
    model = build_model(config, task.heads).to(pick_device(device))
    training, validation = (
        RecordBatches(records, config, model.config.normalisation)
        for records in prepare_records(config.data, cache_dir, progress,
                                       threads or os.cpu_count() or 1))
    if config.data.online:
        training = OnlineBatches(training, next(model.parameters()).device)
    trainer = Trainer(config, model, task, training, validation, folder, report)
    if resume:
        report({'resumed_from': trainer.resume(), 'step': trainer.step})
    return trainer


def build_model(config: RunConfig, heads: tuple[str, ...]) -> MultiTaskModel:
    """
    Build the preset with the heads of the task, and start from other weights where told to.

    :raises ConfigError: If the preset is unknown or lacks a head.
    """
    if config.model.preset not in MODEL_PRESETS:
        raise ConfigError(f"unknown model.preset '{config.model.preset}'; "
                          f'known: {", ".join(MODEL_PRESETS)}')
    preset = MODEL_PRESETS[config.model.preset]()
    missing = set(heads) - set(preset.heads)
    if missing:
        raise ConfigError(f"preset '{config.model.preset}' has no head for {sorted(missing)}")
    model = MultiTaskModel(ModelConfig(
        preset.backbone, {name: preset.heads[name] for name in heads}, preset.normalisation))
    if config.model.start_from:
        _start_from(model, config.model.start_from)
    return model


def _start_from(model: MultiTaskModel, source: str) -> None:
    run = Path(source)
    weights = RunFolder(run).load()[0]['average'] if (run / 'config.yaml').is_file() \
        else load_multi_task(source).state_dict()
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


def load_run(run_dir: Path) -> tuple[RunConfig, ModelConfig, dict[str, torch.Tensor], dict]:
    """
    Read a run's result: its config, architecture, averaged weights and a short history.

    :raises CheckpointError: If the folder holds no readable checkpoint.
    """
    folder = RunFolder(run_dir)
    state, _ = folder.load()
    config = from_dict(RunConfig, state['config'], str(run_dir))
    model = from_dict(ModelConfig, state['architecture'], str(run_dir))
    history = {key: state[key] for key in ('step', 'elapsed_s', 'best_score')}
    return config, model, state['average'], history
