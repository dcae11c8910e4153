# SPDX-License-Identifier: Apache-2.0
"""One ViT encoder for cross-view completion and for contrast with point clouds."""
from dataclasses import dataclass

from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.networks.simipu import last_map, PointContrast, Projections, SimIPUConfig
from torch import nn, Tensor


@dataclass(frozen=True)
class JointConfig:
    """Architecture of `Joint`; the image branch of ``contrast`` is the encoder of ``croco``."""

    croco: CroCoConfig
    contrast: SimIPUConfig

    def __post_init__(self):
        if self.contrast.vit != self.croco:
            raise ValueError('the image branch of contrast must be the encoder of croco, got '
                             f'{self.contrast.vit} and {self.croco}')


class Joint(nn.Module):
    """
    A CroCo model, whose encoder is SimIPU's image branch too.

    The weights of ``completion`` are those of `CroCo`.
    """

    def __init__(self, config: JointConfig):
        super().__init__()
        self.config = config
        self.completion = CroCo(config.croco)
        self.contrast = PointContrast(config.contrast)

    def compare(self, batch: dict[str, Tensor]) -> Projections:
        """Encode whole images and clouds; takes what `SimIPU.forward` takes."""
        return self.contrast.contrast(last_map(self.completion.encoder(batch['image'])), batch)
