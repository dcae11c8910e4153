# SPDX-License-Identifier: Apache-2.0
"""Save and load weights: safetensors files that carry their architecture, and official files."""
import json
import os
from pathlib import Path

from crossview_ros.config import from_dict, load_yaml, to_dict
from crossview_ros.errors import CheckpointError, ConfigError, CrossviewError
from crossview_ros.model_store import find_model, MANIFEST, WEIGHTS
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, one_view_model, OneViewConfig, OneViewModel, TwoViewModel)
from crossview_ros.networks.image_encoder import ImageEncoder, ImageEncoderConfig
from crossview_ros.networks.official_file import read_official
from crossview_ros.networks.official_keys import to_official_keys
from crossview_ros.networks.resnet_depth import ResNetDepthConfig, ResNetDepthModel
import torch
from torch import Tensor

FORMAT = 'crossview_1'
SUFFIX = '.safetensors'

Architecture = ModelConfig | CroCoConfig | OneViewConfig | ImageEncoderConfig | ResNetDepthConfig
Network = MultiTaskModel | CroCo | OneViewModel | ImageEncoder | ResNetDepthModel
KINDS = {   # kind -> architecture, builder
    'multi': (ModelConfig, MultiTaskModel), 'completion': (CroCoConfig, CroCo),
    'one_view': (OneViewConfig, one_view_model),
    'image_encoder': (ImageEncoderConfig, ImageEncoder),
    'resnet_depth': (ResNetDepthConfig, ResNetDepthModel)}
NAMES = {CroCo: 'a pre-training model', ImageEncoder: 'an image encoder'}   # of what has no task


def save_weights(path: str | Path, config: Architecture, weights: dict[str, Tensor],
                 dtype: torch.dtype = torch.float16, notes: dict[str, str] | None = None) -> None:
    """
    Write weights with their architecture in the header.

    :param weights: State dict of the network; floats are stored as ``dtype``.
    :param notes: More lines of the header: where the weights are from, and their licence.
    """
    from safetensors.torch import save_file
    tensors = {name: (value.to(dtype) if value.is_floating_point() else value).contiguous().cpu()
               for name, value in weights.items()}
    header = {**(notes or {}), 'format': FORMAT, 'kind': kind_of(config),
              'architecture': json.dumps(to_dict(config))}
    path = Path(path)
    part = path.with_name(f'{path.name}.part')   # tensors may be pages of the file at path
    save_file(tensors, str(part), header)
    part.chmod(0o644)   # safetensors makes files that only their owner can read
    os.replace(part, path)


def load_model(path: str | Path, task: str | None = None) -> (
        CroCo | TwoViewModel | OneViewModel | ImageEncoder | ResNetDepthModel):
    """
    Load a model for one task, or a pre-training model: eval mode, float32, CPU.

    An official SimIPU file gives its image encoder.

    :param path: Name in models/, model folder, .safetensors file, or official checkpoint.
    :param task: Which head; may be left out where there is only one.
    :raises CheckpointError: If it is missing, damaged or does not fit its own architecture, or
        if the task is missing or ambiguous.
    """
    model = load_network(path, task)
    if isinstance(model, MultiTaskModel):
        return model.task(_choose(path, model.tasks, task))
    kind = NAMES.get(type(model), 'a model of one view')
    if task is not None and (type(model) in NAMES or task != 'depth'):
        raise CheckpointError(f"'{path}' is {kind}, which has no task '{task}'; leave task out")
    return model


def load_multi_task(path: str | Path) -> MultiTaskModel:
    """
    Load a model with all its heads; as `load_network`.

    :raises CheckpointError: As `load_network`, or if it is a network of another kind.
    """
    model = load_network(path)
    if not isinstance(model, MultiTaskModel):
        raise CheckpointError(f"'{path}': expected a network of two views with heads, got a "
                              f'{type(model).__name__}')
    return model


def load_network(path: str | Path, task: str | None = None) -> Network:
    """
    Load all that a weight file holds: eval mode, float32, CPU.

    :param path: As `load_model` takes it.
    :param task: Chooses the file where a model folder has one for each task.
    :raises CheckpointError: If it is missing, damaged, or does not fit its own architecture.
    """
    config, weights = read_checkpoint(path, task)
    model = _empty(config)
    # float32 tensors of our files stay pages of the file: half the memory. `save_weights` puts
    # new files in the place of old ones; official files may be written over by anybody
    copy = weight_file(path, task).suffix != SUFFIX
    model.load_state_dict({
        name: tensor.to(torch.float32 if tensor.is_floating_point() else tensor.dtype, copy=copy)
        for name, tensor in weights.items()}, assign=True)
    return model.eval().requires_grad_(False)


def read_checkpoint(path: str | Path,
                    task: str | None = None) -> tuple[Architecture, dict[str, Tensor]]:
    """
    Read architecture and weights, and check that they fit.

    :param path: As `load_model` takes it; ``task`` as in `load_network`.
    :return: The tensors are as stored, and may still be pages of the file.
    :raises CheckpointError: As `load_network`.
    """
    path = weight_file(path, task)
    if path.suffix == SUFFIX:
        config, weights, _ = read_weights(path)
        check_fits(path, config, weights)
    else:
        official = read_official(path)
        config, weights = official.config, official.weights
        check_fits(path, config, weights, official=True)
    return config, weights


def weight_file(path: str | Path, task: str | None = None) -> Path:
    """
    Find the weight file of a model.

    :param path: As `load_model` takes it; ``task`` as in `load_network`.
    :raises CheckpointError: If there is none, or none for the task.
    """
    path = find_model(path)
    if not path.is_dir():
        return path
    networks = _networks(path / MANIFEST)
    return path / (networks[_choose(path, list(networks), task)] if networks else WEIGHTS)


def read_weights(path: Path) -> tuple[Architecture, dict[str, Tensor], dict[str, str]]:
    """
    Read a weight file of ours: architecture, tensors as stored, and the whole header.

    :raises CheckpointError: If it cannot be read, or was not written by `save_weights`.
    """
    from safetensors import safe_open, SafetensorError
    try:
        with safe_open(str(path), framework='pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            header = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f'{path}: expected a safetensors weight file, but it cannot be read '
                              f'({error}); is it complete? Fetch or export it again') from error
    kind = header.get('kind', 'multi')
    if header.get('format') != FORMAT or 'architecture' not in header or kind not in KINDS:
        raise CheckpointError(f'{path}: expected a {FORMAT} weight file with its architecture in '
                              f'the header, got {header}; was it written by this package?')
    try:
        config = from_dict(KINDS[kind][0], json.loads(header['architecture']), str(path))
    except (CrossviewError, ValueError) as error:
        raise CheckpointError(f'{path}: its architecture cannot be read: {error}') from error
    return config, tensors, header


def check_fits(path: Path, config: Architecture, tensors: dict[str, Tensor],
               official: bool = False) -> None:
    """
    Compare names and shapes of tensors with those that the architecture has.

    :param path: Of the file, for the error.
    :param official: Whether the error uses the names of official files.
    :raises CheckpointError: If they differ, or the architecture is impossible.
    """
    def spell(name: str) -> str:
        if not official:
            return name
        return name.removeprefix('encoder.') if isinstance(config, ImageEncoderConfig) \
            else to_official_keys(name)[0]
    try:
        expected = _empty(config).state_dict()
    except ValueError as error:
        raise CheckpointError(f'{path}: its architecture is impossible: {error}') from error
    shared = [name for name in expected if name in tensors]
    found = {
        'missing': [spell(name) for name in sorted(set(expected) - set(tensors))],
        'unknown': [spell(name) for name in sorted(set(tensors) - set(expected))],
        'shape': [f'{spell(name)} {tuple(tensors[name].shape)} instead of '
                  f'{tuple(expected[name].shape)}' for name in shared
                  if tensors[name].shape != expected[name].shape],
        'no floats': [f'{spell(name)} ({tensors[name].dtype})' for name in shared
                      if expected[name].is_floating_point()
                      and not tensors[name].is_floating_point()]}
    faults = [f'{title} {", ".join(names[:3])}{" ..." if len(names) > 3 else ""}'
              for title, names in found.items() if names]
    if faults:
        raise CheckpointError(f'{path}: the weights do not fit their architecture: '
                              f'{"; ".join(faults)}; fetch or export the model again')


def kind_of(config: Architecture) -> str:
    """Return the name of the kind of network."""
    return next(kind for kind, (architecture, _) in KINDS.items()
                if isinstance(config, architecture))


def _networks(manifest: Path) -> dict[str, str]:
    """Return the weight file of each task, where they differ; a pre-training model has none."""
    if not manifest.is_file():
        return {}
    try:
        networks = load_yaml(manifest).get('networks') or {}
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    if not isinstance(networks, dict) or any(Path(str(file)).name != file
                                             for file in networks.values()):
        raise CheckpointError(f"{manifest}: 'networks' must name a file of this folder for each "
                              f'task, got {networks}')
    return networks


def _empty(config: Architecture) -> Network:
    with torch.device('meta'):
        return KINDS[kind_of(config)][1](config)


def _choose(path: str | Path, tasks: list[str], task: str | None) -> str:
    if task is None and len(tasks) > 1:
        raise CheckpointError(f"'{path}' has several tasks; pass task= one of {tasks}")
    if task is not None and task not in tasks:
        raise CheckpointError(f"'{path}' has no task '{task}'; it has {tasks}")
    return task or tasks[0]
