# SPDX-License-Identifier: Apache-2.0
"""The image encoder in official SimIPU checkpoints of every layout (simipu.md 10)."""
from dataclasses import replace
import re
from typing import Any

from crossview_ros.errors import CheckpointError
from crossview_ros.networks.image_encoder import downstream_resnet, ImageEncoderConfig
from torch import Tensor

LICENCE = 'of the official SimIPU release: its terms stay with the weights'
PREFIXES = ('img_backbone.', 'backbone.', '')   # full checkpoint, released file, bare ResNet
RESNET_KEY = re.compile(r'(conv1|bn1|layer\d+)\.')


def weights_entry(content: dict[str, Any]) -> dict[str, Any]:
    """Return the state dict of a file without the prefix that several GPUs leave."""
    state = content.get('state_dict', content)
    if not isinstance(state, dict):
        raise CheckpointError(f"expected 'state_dict' to hold weights by name, got a "
                              f'{type(state).__name__}')
    return {str(name).removeprefix('module.'): value for name, value in state.items()}


def image_encoder_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """
    Return the ResNet's tensors by its own names, {} if there are none.

    Everything else stays behind: point branch, projectors, queues, momentum encoders, classifier
    (simipu.md 10.3).

    :raises CheckpointError: If something by a ResNet's name is no tensor.
    """
    prefix = next(p for p in PREFIXES if not p or any(name.startswith(p) for name in state))
    weights = {name.removeprefix(prefix): value for name, value in state.items()
               if name.startswith(prefix) and RESNET_KEY.match(name.removeprefix(prefix))}
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise CheckpointError(f"expected a tensor for '{prefix}{name}', got a "
                                  f'{type(value).__name__}')
    return weights


def read_simipu(content: dict[str, Any]) -> tuple[ImageEncoderConfig, dict[str, Tensor]]:
    """
    Return the image encoder of a checkpoint: architecture, and weights by our names.

    All releases are a ResNet-50, so a block that a file lacks is a fault of the file. Whether the
    weights fit is not checked here.

    :raises CheckpointError: If the file holds no image encoder.
    """
    state = weights_entry(content)
    weights = image_encoder_weights(state)
    stem = weights.get('conv1.weight')
    if stem is None or stem.ndim != 4:
        found = sorted(map(str, content if len(state) < 2 else state))[:8]
        raise CheckpointError('expected an official checkpoint, of SimIPU with a ResNet-50 '
                              '([img_]backbone.conv1.weight or conv1.weight) or of CroCo with its '
                              f"weights in 'model', got the entries {found}")
    resnet = replace(downstream_resnet(), width=stem.shape[0])
    return ImageEncoderConfig(resnet), {f'encoder.{name}': value
                                        for name, value in weights.items()}
