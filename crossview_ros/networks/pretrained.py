# SPDX-License-Identifier: Apache-2.0
"""Start a downstream network from a pre-trained one (croco.md 3.6 and 3.7)."""
from dataclasses import replace
import math

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.croco import CroCo
from crossview_ros.networks.downstream import (
    ModelConfig, MultiTaskModel, one_view_model, OneViewConfig, OneViewModel)
from crossview_ros.networks.heads import DptHeadConfig, HeadConfig
from torch import nn, Tensor
import torch.nn.functional as F

LEFT_BEHIND = {'decoder.mask_token', 'head.weight', 'head.bias'}   # of pre-training only


def downstream_from_pretrained(pretrained: CroCo, heads: dict[str, HeadConfig] | DptHeadConfig,
                               img_size: tuple[int, int]) -> MultiTaskModel | OneViewModel:
    """
    Build a network with fresh heads on the weights of a pre-training model.

    :param heads: By task, for two views; or the one head of an encoder alone, for one view.
    :param img_size: (H, W) [px] of the crops to train with; cosine positions are resampled.
    :raises CheckpointError: If other weights are left over or missing than those of the heads.
    """
    backbone = replace(pretrained.config, img_size=tuple(img_size))
    if isinstance(heads, dict):
        model = MultiTaskModel(ModelConfig(backbone, heads, pretrained.normalisation))
    else:
        model = one_view_model(OneViewConfig(backbone, heads, pretrained.normalisation))
    weights = pretrained.state_dict()
    if backbone.grid_hw != pretrained.config.grid_hw:
        weights = {name: resample_cosine(value, backbone.grid_hw) if name.endswith('.pos_embed')
                   else value for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    lost = {name for name in unexpected if name not in LEFT_BEHIND
            and (isinstance(heads, dict) or not name.startswith('decoder.'))}
    absent = {name for name in missing if not name.startswith(('heads.', 'head.'))}
    if lost or absent:
        raise CheckpointError(f'the pre-trained weights do not fit: unused {sorted(lost)}, '
                              f'missing {sorted(absent)}')
    return model


def plain_name(name: str) -> str:
    """
    Return the name of a weight as in a network of one task.

    The image branch of `SimIPU` is an encoder; `Joint` keeps its parts one level deeper.
    """
    name = name.removeprefix('completion.').removeprefix('contrast.')
    return f'encoder.{rest}' if (rest := name.removeprefix('image_branch.')) != name else name


def encoder_of(model: nn.Module) -> nn.Module:
    """Return the image encoder of a network of any task."""
    model = getattr(model, 'completion', model)
    return model.image_branch if hasattr(model, 'image_branch') else model.encoder


def resample_cosine(table: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """
    Resample a position table to another patch grid (croco.md 3.7).

    :param table: (N, C) of a square grid, row-major.
    :param grid_hw: Patches along height and width.
    :return: (grid_hw[0] * grid_hw[1], C); the same values where the grid is the same.
    :raises CheckpointError: If N is no square.
    """
    side = math.isqrt(len(table))
    if side * side != len(table):
        raise CheckpointError(f'positions of a square grid can be resampled, got {len(table)}')
    if (side, side) == tuple(grid_hw):
        return table
    channels_first = table.T.unflatten(1, (side, side))[None]
    resampled = F.interpolate(channels_first, grid_hw, mode='bicubic', align_corners=False)
    return resampled[0].flatten(1).T.contiguous()
