# SPDX-License-Identifier: Apache-2.0
"""What the input of a network looks like."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Normalisation:
    """RGB in [0, 1], minus mean, over std, per channel; the defaults are ImageNet's."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    channels: str = 'rgb'
