# SPDX-License-Identifier: Apache-2.0
"""Write checkpoints that the official code of CroCo loads strictly (croco.md 5)."""
import argparse
from collections.abc import Callable
import os
from pathlib import Path
from typing import Any

from crossview_ros.errors import CheckpointError
from crossview_ros.export.convert import tiling_of
from crossview_ros.model_store import find_model, MANIFEST
from crossview_ros.networks.checkpoint import (
    Architecture, read_checkpoint, SUFFIX, weight_file)
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.networks.official_file import (
    NUM_VALUES, read_official, SCALES, TILE_MODES)
from crossview_ros.networks.official_keys import config_to_official, to_official_keys
from crossview_ros.networks.position import cosine_table
from crossview_ros.runtime.manifest import load_manifest
import torch
from torch import Tensor

LOSSES = {scale: loss for loss, scale in SCALES.items()}


def write_official(path: str | Path, out: Path, task: str | None = None) -> None:
    """
    Write a model as an official checkpoint, float32.

    :param path: What `load_model` takes; ``task`` chooses among several.
    :param out: File to write, .pth.
    :raises CheckpointError: If it cannot be read, or official code has no such network.
    """
    write_official_network(path, *read_checkpoint(path, task), out, task,
                           lambda config: _tile_mode(path, config))


def write_official_network(
        source: str | Path, config: Architecture, weights: dict[str, Tensor], out: Path,
        task: str | None = None, tile_mode: Callable[[Architecture], str | None] | None = None
        ) -> None:
    """
    Write a network as an official checkpoint; as `write_official`.

    :param source: Where it is from, for errors: a model, or the folder of a run.
    :param weights: State dict of the network.
    :param tile_mode: Gives the weight of the windows' pixels that the source names, if it does.
    """
    if isinstance(config, ModelConfig):
        config, weights = _one_task(source, config, weights, task)
    elif task is not None and isinstance(config, CroCoConfig):
        raise CheckpointError(f"'{source}': pre-training has no task '{task}'; leave task out")
    try:
        content = official_content(config, weights, tile_mode and tile_mode(config))
    except CheckpointError as error:
        raise CheckpointError(f"'{source}' cannot become an official checkpoint: {error}") \
            from error
    part = out.with_name(f'{out.name}.part')   # the weights may be pages of the file at out
    torch.save(content, part)
    os.replace(part, out)


def official_content(config: Architecture, weights: dict[str, Tensor],
                     tile_mode: str | None = None) -> dict[str, Any]:
    """
    Return what an official file holds: ``model`` and, by the kind, ``croco_kwargs`` or ``args``.

    :param config: Architecture of a network with one head.
    :param weights: Its state dict.
    :param tile_mode: Weight of the windows' pixels; None takes that of the official release.
    :raises CheckpointError: If official code has no such network.
    """
    if not isinstance(config, (CroCoConfig, ModelConfig, OneViewConfig)):
        raise CheckpointError('official code of CroCo has nothing like a ResNet; its weights are '
                              'written by --format simipu-backbone')
    backbone = config if isinstance(config, CroCoConfig) else config.backbone
    arguments = config_to_official(backbone)
    if isinstance(config, CroCoConfig):
        return {'model': _official_state(weights), 'croco_kwargs': arguments}
    task, head = ('depth', config.head) if isinstance(config, OneViewConfig) \
        else next(iter(config.heads.items()))
    loss = _loss(task, head)
    if isinstance(config, OneViewConfig):
        if backbone.position == 'cosine':   # made, but not used, by the official encoder
            weights = {**weights, 'decoder.pos_embed':
                       cosine_table(backbone.dec_embed_dim, backbone.grid_hw)}
        args = argparse.Namespace(croco_args=arguments, criterion=loss)
    else:
        mode = tile_mode or TILE_MODES.get((task, head.scale), 'conf_expsigmoid_15_3')
        args = argparse.Namespace(
            task=task, criterion=loss, tile_conf_mode=mode, crop=list(backbone.img_size),
            croco_args={**arguments, 'img_size': tuple(backbone.img_size)})
    return {'model': _official_state(weights), 'args': args}


def _one_task(path: str | Path, config: ModelConfig, weights: dict[str, Tensor],
              task: str | None) -> tuple[ModelConfig, dict[str, Tensor]]:
    """Leave the heads of other tasks out."""
    tasks = list(config.heads)
    if task not in tasks and (task is not None or len(tasks) > 1):
        raise CheckpointError(f"'{path}' has the tasks {tasks}, and an official checkpoint holds "
                              f'one: pass task= one of them, got {task!r}')
    task = task or tasks[0]
    kept = {name: tensor for name, tensor in weights.items()
            if not name.startswith('heads.') or name.startswith(f'heads.{task}.')}
    return ModelConfig(config.backbone, {task: config.heads[task]}, config.normalisation), kept


def _loss(task: str, head: Any) -> str:
    """Return the official loss, as text, that means the head's scale."""
    if not isinstance(head, DptHeadConfig):
        raise CheckpointError('official networks of two views have a DPT head, this one has a '
                              f'{type(head).__name__.removesuffix("Config")}')
    if head.hooks is not None:
        raise CheckpointError('official files do not say which blocks the head reads, so they '
                              f'must be the default ones, but hooks are {head.hooks}')
    if head.num_values != NUM_VALUES.get(task, head.num_values):
        raise CheckpointError(f'{task} has {NUM_VALUES[task]} values per pixel, got '
                              f'{head.num_values}')
    if head.scale_range == DptHeadConfig(1, head.scale).scale_range:
        return f'{LOSSES[head.scale]}()'
    low, high = head.scale_range
    return f'{LOSSES[head.scale]}(a={low!r}, b={high!r})'


def _official_state(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename; an alias is the same tensor, so that it is stored once."""
    state = {}
    for name, tensor in weights.items():
        state.update(dict.fromkeys(to_official_keys(name), tensor.detach().float().contiguous()))
    return state


def _tile_mode(path: str | Path, config: Architecture) -> str | None:
    """Return the weight of the windows' pixels that the source names, if it does."""
    if not isinstance(config, ModelConfig):
        return None
    task, folder = next(iter(config.heads)), find_model(path)
    if (folder / MANIFEST).is_file():
        tiling = load_manifest(folder).tiling
    elif weight_file(path, task).suffix != SUFFIX:
        tiling = tiling_of(read_official(path))
    else:
        tiling = {}
    return tiling[task].weight if task in tiling else None
