# SPDX-License-Identifier: Apache-2.0
"""Read official checkpoints (.pth) of CroCo (croco.md 5) and of SimIPU (simipu.md 10)."""
import argparse
import ast
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig
from crossview_ros.networks.heads import DptHeadConfig
from crossview_ros.networks.image_encoder import ImageEncoderConfig
from crossview_ros.networks.official_keys import (
    config_from_official, from_official_key, to_official_keys)
from crossview_ros.networks.plain_file import read_plain_file
from crossview_ros.networks.simipu_file import LICENCE as SIMIPU_LICENCE, read_simipu
import torch
from torch import Tensor

LICENCE = 'CC BY-NC-SA 4.0 (non-commercial): the terms of the official weights stay'
NUM_VALUES = {'stereo': 1, 'flow': 2}
# official loss -> what the last channel means
SCALES = {'L1Loss': 'none', 'LaplacianLoss': 'exp', 'LaplacianLossBounded': 'bounded',
          'LaplacianLossBounded2': 'symmetric'}
# (task, scale) -> weight of the windows' pixels in tiled inference (croco.md 4)
TILE_MODES = {('stereo', 'symmetric'): 'conf_expsigmoid_15_3', ('stereo', 'exp'): 'conf_expbeta3',
              ('flow', 'bounded'): 'conf_expsigmoid_10_5'}
LOSS_ARGUMENTS = ('max_gtnorm', 'a', 'b')
LONGEST_CALL = 2000   # characters of a constructor as text; an official one has a tenth


@dataclass(frozen=True)
class OfficialCheckpoint:
    """What an official file says; the tensors may still be pages of the file."""

    config: CroCoConfig | ModelConfig | OneViewConfig | ImageEncoderConfig
    weights: dict[str, Tensor]    # by our names
    settings: dict[str, Any]      # the options of the training script; {} in some releases
    contents: list[str]           # entries of the file
    window_hw: tuple[int, int] | None   # [px] of the images that it was trained with, if of one
    licence: str = LICENCE


def read_official(path: str | Path) -> OfficialCheckpoint:
    """
    Read a checkpoint of CroCo, CroCo-Stereo, CroCo-Flow or SimIPU; optimizer state is ignored.

    Of SimIPU, whatever else its file holds, the image encoder is read.

    :raises CheckpointError: If it is none, is damaged, contradicts itself, or holds anything
        but weights and plain values. Whether the weights fit is not checked here.
    """
    try:
        content = read_plain_file(Path(path))
        return _read_croco(content) if isinstance(content.get('model'), dict) \
            else _read_simipu(content)
    except (CheckpointError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f'{path}: {error}') from error


def parse_call(text: str) -> tuple[str, list, dict[str, Any]]:
    """
    Read ``Name(1, key='value')`` without running it: the name, positional and named arguments.

    :raises CheckpointError: If it is anything else, or an argument is no literal.
    """
    try:
        call = ast.parse(text.strip()[:LONGEST_CALL], mode='eval').body
        name = call.func.id
        positional = [ast.literal_eval(node) for node in call.args]
        named = {item.arg: ast.literal_eval(item.value) for item in call.keywords}
    except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError,
            MemoryError) as error:
        raise CheckpointError('expected a name with literal arguments, such as L1Loss(), got '
                              f"'{text[:80]}'") from error
    if None in named or len(named) < len(call.keywords):   # **something, or a name twice
        raise CheckpointError(f"expected named arguments, each once, got '{text[:80]}'")
    return name, positional, named


def _read_croco(content: dict[str, Any]) -> OfficialCheckpoint:
    settings = _settings(content)
    weights = _weights(content)
    backbone = config_from_official(_arguments(content, settings))
    return OfficialCheckpoint(_architecture(backbone, weights, settings), weights, settings,
                              list(content), _window(settings, backbone))


def _read_simipu(content: dict[str, Any]) -> OfficialCheckpoint:
    config, weights = read_simipu(content)
    entries = list(map(str, content)) if 'state_dict' in content else [f'{len(content)} tensors']
    return OfficialCheckpoint(config, weights, {}, entries, None, SIMIPU_LICENCE)


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    args = content.get('args')
    if args is None:
        return {}
    if not isinstance(args, argparse.Namespace):
        raise CheckpointError(f"expected 'args' to be the options of a training script, got a "
                              f'{type(args).__name__}')
    return vars(args)


def _weights(content: dict[str, Any]) -> dict[str, Tensor]:
    """Rename the tensors; those with two names must be the same."""
    weights: dict[str, Tensor] = {}
    unknown = []
    for official, tensor in content['model'].items():
        name = from_official_key(str(official))
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise CheckpointError(f"expected a tensor of floats for '{official}', got "
                                  f'{getattr(tensor, "dtype", type(tensor).__name__)}')
        if name == official:
            unknown.append(official)
        elif not _same(weights.setdefault(name, tensor), tensor):
            both = ' and '.join(to_official_keys(name))
            raise CheckpointError(f'{both} are two names of one tensor, but they differ; the file '
                                  'is damaged or was edited')
    if unknown:
        raise CheckpointError('expected the weights of CroCo, got unknown '
                              f'{", ".join(unknown[:3])}{" ..." if len(unknown) > 3 else ""}')
    return weights


def _same(first: Tensor, second: Tensor) -> bool:
    return first is second or first.shape == second.shape and (
        first.data_ptr() == second.data_ptr() or torch.equal(first, second))


def _arguments(content: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor arguments of encoder and decoder (croco.md 5.3)."""
    for place, arguments in (('args.croco_args', settings.get('croco_args')),
                             ('croco_kwargs', content.get('croco_kwargs'))):
        if isinstance(arguments, dict):
            return arguments
        if arguments is not None:
            raise CheckpointError(f"expected '{place}' to be a dict, got {arguments!r}")
    if settings.get('model') is None:
        return {}   # the first release says nothing: the defaults
    name, positional, named = parse_call(str(settings['model']))
    if name != 'CroCoNet' or positional:
        raise CheckpointError('expected args.model to be CroCoNet(...) with named arguments, got '
                              f"'{settings['model']}'")
    return named


def _architecture(backbone: CroCoConfig, weights: dict[str, Tensor],
                  settings: dict[str, Any]) -> CroCoConfig | ModelConfig | OneViewConfig:
    if backbone.enc_num_layers + backbone.dec_num_layers > len(weights):
        raise CheckpointError(f'expected the weights of {backbone.enc_num_layers} encoder and '
                              f'{backbone.dec_num_layers} decoder blocks, got {len(weights)} '
                              'tensors in all')
    task = settings.get('task')
    if task is None and not any(name.startswith('head.leave.') for name in weights):
        return backbone
    loss = settings.get('criterion')
    scale, scale_range = ('none', None) if loss is None else _scale(str(loss))
    head = _head(weights, scale, scale_range)
    if not any(name.startswith('decoder.blocks.') for name in weights):
        # the reference makes the decoder's positions before it drops the decoder
        weights.pop('decoder.pos_embed', None)
        return OneViewConfig(backbone, head)
    if task not in NUM_VALUES or loss is None:
        raise CheckpointError("a network of two views needs args.task, 'stereo' or 'flow', and "
                              f'args.criterion; got {task!r} and {loss!r}')
    if head.num_values != NUM_VALUES[task]:
        raise CheckpointError(f'{task} with {loss} has {NUM_VALUES[task] + (scale != "none")} '
                              f'channels, but the head gives {head.num_channels}')
    for name in [name for name in weights if name.startswith('head.')]:
        weights[f'heads.{task}.{name[5:]}'] = weights.pop(name)
    return ModelConfig(backbone, {task: head})


def _window(settings: dict[str, Any], backbone: CroCoConfig) -> tuple[int, int]:
    crop = settings.get('crop') or backbone.img_size
    if not isinstance(crop, (list, tuple)) or len(crop) != 2 \
            or not all(isinstance(side, int) for side in crop):
        raise CheckpointError(f'expected args.crop to be [height, width], got {crop!r}')
    return tuple(crop)


def _scale(loss: str) -> tuple[str, tuple[float, float] | None]:
    name, positional, named = parse_call(loss)
    if name not in SCALES or len(positional) > len(LOSS_ARGUMENTS) \
            or set(named) - set(LOSS_ARGUMENTS):
        raise CheckpointError(f"args.criterion: unknown loss '{loss}'; known: "
                              f'{", ".join(SCALES)}, with {", ".join(LOSS_ARGUMENTS)}')
    arguments = {**dict(zip(LOSS_ARGUMENTS, positional)), **named}
    default = DptHeadConfig(1, SCALES[name]).scale_range
    if default is None:
        return SCALES[name], None
    scale_range = tuple(arguments.get(key, value) for key, value in zip('ab', default))
    if not all(isinstance(value, (int, float)) for value in scale_range):
        raise CheckpointError(f"args.criterion: '{loss}' needs numbers for a and b")
    return SCALES[name], (float(scale_range[0]), float(scale_range[1]))


def _head(weights: dict[str, Tensor], scale: str,
          scale_range: tuple[float, float] | None) -> DptHeadConfig:
    """Read the widths of the head from its tensors: the file names them nowhere."""
    levels = tuple(_width(weights, f'head.reassemble.{i}.0.weight') for i in range(4))
    return DptHeadConfig(
        num_values=_width(weights, 'head.leave.weight') - (scale != 'none'), scale=scale,
        layer_dims=levels, feature_dim=_width(weights, 'head.align.0.weight'),
        last_dim=_width(weights, 'head.body.weight'), scale_range=scale_range)


def _width(weights: dict[str, Tensor], name: str) -> int:
    official = to_official_keys(name)[0]
    if name not in weights or not weights[name].ndim:
        raise CheckpointError(f"expected a dense head with '{official}', but there is none")
    return weights[name].shape[0]
