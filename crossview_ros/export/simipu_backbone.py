# SPDX-License-Identifier: Apache-2.0
"""Write a ResNet by the key names that official downstream configs load (simipu.md 10.3)."""
import os
from pathlib import Path

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.checkpoint import Architecture
from crossview_ros.networks.image_encoder import ImageEncoderConfig
from crossview_ros.networks.resnet_depth import ResNetDepthConfig
from crossview_ros.networks.simipu import SimIPUConfig
import torch
from torch import Tensor

# depth and torchvision; FCOS3D; the fusion detector of MoCa and MVX-Net
PREFIXES = {'none': '', 'backbone': 'backbone.', 'img_backbone': 'img_backbone.'}


def write_simipu_backbone(architecture: Architecture | SimIPUConfig, weights: dict[str, Tensor],
                          out: Path, prefix: str = 'none') -> list[str]:
    """
    Write the image encoder as a plain dict of tensors, float32.

    :param architecture: Of a converted SimIPU file, a SimIPU pre-training or a depth model.
    :param weights: Its state dict.
    :param out: File to write, .pth.
    :param prefix: One of `PREFIXES`.
    :return: The names of the tensors.
    :raises CheckpointError: If there is no ResNet in it.
    """
    state = {PREFIXES[prefix] + name: value for name, value
             in resnet_weights(architecture, weights).items()}
    part = out.with_name(f'{out.name}.part')   # the weights may be pages of the file at out
    torch.save(state, part)
    os.replace(part, out)
    return list(state)


def resnet_weights(architecture: Architecture | SimIPUConfig,
                   weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """
    Return the tensors of the ResNet by torchvision's names, floats as float32.

    :raises CheckpointError: As `write_simipu_backbone`.
    """
    if isinstance(architecture, (ImageEncoderConfig, ResNetDepthConfig)):
        branch = 'encoder.'
    elif isinstance(architecture, SimIPUConfig) and architecture.resnet is not None:
        branch = 'image_branch.'
    else:
        found = 'a SimIPU run with a ViT as its image branch' \
            if isinstance(architecture, SimIPUConfig) else \
            f'a network of {type(architecture).__name__.removesuffix("Config")}'
        raise CheckpointError(f'expected a ResNet, which the official detection and depth configs '
                              f'take, but this is {found}; export it with --format model')
    return {name.removeprefix(branch): _plain(value) for name, value in weights.items()
            if name.startswith(branch)}


def _plain(value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    return value.float() if value.is_floating_point() else value
