# SPDX-License-Identifier: Apache-2.0
"""What the input of a network looks like."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """Colours in [0, 1], minus mean, over std, by channel; the defaults are ImageNet's."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: str = 'rgb'   # or 'bgr': the order of the network's input, of mean and of std
