# SPDX-License-Identifier: Apache-2.0
"""ResNet with bottleneck blocks, the image branch of SimIPU (simipu.md 3); torchvision's keys."""
from dataclasses import dataclass

import torch
from torch import nn, Tensor

EXPANSION = 4   # a block leaves with four times its inner channels


@dataclass(frozen=True)
class ResNetConfig:
    """
    Architecture; the default is the ResNet-50 of SimIPU's pre-training.

    Its batch norm has eps 1e-3 and momentum 0.01; the same weights are used with 1e-5 and 0.1 in
    all official fine-tuning.
    """

    num_blocks: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64               # channels of the stem; stage k leaves with 256, 512, ...
    norm_eps: float = 1e-3
    norm_momentum: float = 0.01

    def __post_init__(self):
        if min(self.num_blocks) < 1 or self.width < 1 or self.norm_eps <= 0:
            raise ValueError(f'num_blocks, width and norm_eps must be positive, got {self}')

    @property
    def out_channels(self) -> tuple[int, int, int, int, int]:
        """Channels of the maps at 1/2, 1/4, 1/8, 1/16 and 1/32."""
        return self.width, *(self.width * EXPANSION * 2 ** stage for stage in range(4))


class ResNet(nn.Module):
    """
    Stem and four stages; the stride is in the 3x3 convolution.

    Weights start as PyTorch draws them: no zeroed last norm, as in the pre-training.

    Source: He et al., Deep Residual Learning, CVPR 2016.
    """

    def __init__(self, config: ResNetConfig):
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv2d(3, config.width, 7, 2, 3, bias=False)
        self.bn1 = _norm(config, config.width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = config.width
        for stage, count in enumerate(config.num_blocks):
            width = config.width * 2 ** stage
            blocks = [Bottleneck(config, channels if i == 0 else width * EXPANSION, width,
                                 2 if i == 0 and stage > 0 else 1) for i in range(count)]
            self.add_module(f'layer{stage + 1}', nn.Sequential(*blocks))
            channels = width * EXPANSION

    def forward(self, image: Tensor) -> list[Tensor]:
        """
        Encode images.

        :param image: (B, 3, H, W) float, normalised.
        :return: Maps at 1/2 (stem, before the pooling), 1/4, 1/8, 1/16 and 1/32.
        """
        maps = [self.bn1(self.conv1(image)).relu()]
        x = self.maxpool(maps[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            maps.append(x)
        return maps


class Bottleneck(nn.Module):
    """Three convolutions beside a shortcut."""

    def __init__(self, config: ResNetConfig, in_channels: int, width: int, stride: int):
        super().__init__()
        out_channels = width * EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = _norm(config, width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = _norm(config, width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = _norm(config, out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                _norm(config, out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, 4 width, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.bn1(self.conv1(x)).relu()
        x = self.bn2(self.conv2(x)).relu()
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


def _norm(config: ResNetConfig, channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, config.norm_eps, config.norm_momentum)
