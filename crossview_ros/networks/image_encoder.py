# SPDX-License-Identifier: Apache-2.0
"""The image branch of SimIPU as a network of its own: an image in, maps of features out."""
from dataclasses import dataclass, field

from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.resnet import ResNet, ResNetConfig
from torch import nn, Tensor

# [0, 255] less the mean, not divided (simipu.md 1.3 and 10.3): BGR, as OpenCV decodes
SIMIPU_NORMALISATION = Normalisation((0.406, 0.456, 0.485), (1 / 255,) * 3, 'bgr')


def downstream_resnet() -> ResNetConfig:
    """
    Return the ResNet-50 as all official downstream models have it.

    The batch norm's eps is 1e-5 and its momentum 0.1: what consumes the encoder was trained and
    measured so. The 1e-3 and 0.01 of the pre-training stay with the pre-training (simipu.md 10.3).
    """
    return ResNetConfig(norm_eps=1e-5, norm_momentum=0.1)


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Architecture; the default is what a released SimIPU file holds."""

    resnet: ResNetConfig = field(default_factory=downstream_resnet)
    normalisation: Normalisation = SIMIPU_NORMALISATION


class ImageEncoder(nn.Module):
    """A ResNet that knows what its images look like."""

    def __init__(self, config: ImageEncoderConfig):
        super().__init__()
        self.config = config
        self.normalisation = config.normalisation
        self.encoder = ResNet(config.resnet)

    def forward(self, image: Tensor) -> list[Tensor]:
        """
        Encode images.

        :param image: (B, 3, H, W) float, normalised.
        :return: Maps at 1/2, 1/4, 1/8, 1/16 and 1/32 of the size, as of `ResNet`.
        """
        return self.encoder(image)
