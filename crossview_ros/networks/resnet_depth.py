# SPDX-License-Identifier: Apache-2.0
"""Monocular depth on a ResNet with the DenseDepth decoder (simipu.md 11)."""
from dataclasses import dataclass, field

from crossview_ros.networks.heads.dense_depth import (
    DenseDepthConfig, DenseDepthHead, full_size_depth, mirrored_mean, resize_map)
from crossview_ros.networks.heads.prediction import Prediction
from crossview_ros.networks.image_encoder import downstream_resnet
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.resnet import Bottleneck, ResNet, ResNetConfig
from torch import nn, Tensor


@dataclass(frozen=True)
class ResNetDepthConfig:
    """
    Architecture; the default is that of the SimIPU depth models.

    They feed RGB over the deviation of ImageNet to an encoder that was pre-trained on BGR without
    any; `SIMIPU_NORMALISATION` is what would match (simipu.md 11).
    """

    backbone: ResNetConfig = field(default_factory=downstream_resnet)
    head: DenseDepthConfig = field(default_factory=DenseDepthConfig)
    normalisation: Normalisation = field(default_factory=Normalisation)

    def __post_init__(self):
        if self.head.in_channels != self.backbone.out_channels:
            raise ValueError(f'the head reads maps of {self.head.in_channels} channels, but the '
                             f'encoder gives {self.backbone.out_channels}')


class ResNetDepthModel(nn.Module):
    """Image in, depth [m] out; images of any size."""

    def __init__(self, config: ResNetDepthConfig):
        super().__init__()
        self.config = config
        self.normalisation = config.normalisation
        self.encoder = ResNet(config.backbone)
        self.head = DenseDepthHead(config.head)

    def forward(self, image: Tensor) -> Prediction:
        """
        Estimate depth.

        :param image: (B, 3, H, W) float, normalised.
        :return: ``value`` (B, 1, H, W) [m], clamped before it is resized; no scale.
        """
        depth = self.head(self.encoder(image))
        return Prediction(full_size_depth(depth, image.shape[-2:], self.config.head.max_depth_m),
                          None)

    def unclamped(self, image: Tensor, size_hw: tuple[int, int]) -> Tensor:
        """Return (B, 1, H, W) [m] as the loss compares it: resized, not clamped."""
        return resize_map(self.head(self.encoder(image)), size_hw)


def with_mirror(model: nn.Module, image: Tensor) -> Tensor:
    """
    Average the depth of images and that of their mirror images: the '+flip' of the tables.

    :param model: Any network of one view; ``image`` (B, 3, H, W), normalised.
    :return: (B, 1, H, W) [m].
    """
    return mirrored_mean(model(image).value, model(image.flip(-1)).value)


def start_from_scratch(encoder: ResNet) -> None:
    """Draw weights as for the baseline without pre-training (simipu.md 11)."""
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        elif isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
