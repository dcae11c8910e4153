# SPDX-License-Identifier: Apache-2.0
"""DenseDepth decoder: one depth image from the five maps of a ResNet (simipu.md 11)."""
from dataclasses import dataclass

import torch
from torch import nn, Tensor

SMALLEST_DEPTH_M = 1e-3   # of an answer; metrics take logarithms


@dataclass(frozen=True)
class DenseDepthConfig:
    """Architecture; the default is that of the SimIPU depth models on a ResNet-50."""

    in_channels: tuple[int, ...] = (64, 256, 512, 1024, 2048)   # of the maps, the finest first
    channels: tuple[int, ...] = (2048, 1024, 512, 256, 128)     # from the coarsest on
    max_depth_m: float = 80.0

    def __post_init__(self):
        if len(self.in_channels) != len(self.channels) or len(self.channels) < 2:
            raise ValueError('in_channels and channels must name equally many maps, at least 2, '
                             f'got {self.in_channels} and {self.channels}')
        if self.max_depth_m <= SMALLEST_DEPTH_M:
            raise ValueError(f'max_depth_m must exceed {SMALLEST_DEPTH_M}, got '
                             f'{self.max_depth_m}')


class DenseDepthHead(nn.Module):
    """
    Widen the coarsest map step by step, with the finer ones beside it.

    Source: Alhashim and Wonka, High Quality Monocular Depth Estimation via Transfer Learning,
    2018.
    """

    def __init__(self, config: DenseDepthConfig):
        super().__init__()
        self.config = config
        skips = config.in_channels[-2::-1]
        self.enter = nn.Conv2d(config.in_channels[-1], config.channels[0], 1)
        self.steps = nn.ModuleList(
            UpStep(before + skip, after)
            for before, skip, after in zip(config.channels, skips, config.channels[1:]))
        self.apply(_initialise)
        self.leave = nn.Conv2d(config.channels[-1], 1, 3, 1, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """
        Estimate depth.

        :param maps: (B, C, h, w) each, the finest first, as of `ResNet`.
        :return: (B, 1, h, w) [m] in (0, max_depth_m), of the finest map's size.
        """
        x = self.enter(maps[-1])
        for step, skip in zip(self.steps, maps[-2::-1]):
            x = step(x, skip)
        return self.leave(x).sigmoid() * self.config.max_depth_m


class UpStep(nn.Module):
    """Resize to a finer map, join it, and convolve twice."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.convA = nn.Conv2d(in_channels, out_channels, 3, 1, 1)
        self.convB = nn.Conv2d(out_channels, out_channels, 3, 1, 1)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Return a map of the size of ``skip``."""
        x = self.convA(torch.cat((resize_map(x, skip.shape[-2:]), skip), 1)).relu()
        return self.convB(x).relu()


def resize_map(x: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resize (B, C, h, w) bilinearly, corner to corner."""
    return nn.functional.interpolate(x, tuple(size_hw), mode='bilinear', align_corners=True)


def full_size_depth(depth: Tensor, size_hw: tuple[int, int], max_depth_m: float) -> Tensor:
    """Clamp an estimate to what metrics accept, then resize it to (B, 1, H, W) [m]."""
    return resize_map(depth.clamp(SMALLEST_DEPTH_M, max_depth_m), size_hw)


def mirrored_mean(depth: Tensor, mirrored_depth: Tensor) -> Tensor:
    """Average an estimate with that of the mirrored image, both (B, 1, H, W) [m]."""
    return (depth + mirrored_depth.flip(-1)) / 2


def from_official_key(key: str) -> str:
    """Rename one state-dict key of the official decoder."""
    if key.startswith('conv_depth.'):
        return 'leave.' + key.removeprefix('conv_depth.')
    _, number, *rest = key.split('.')
    rest = '.'.join(part for part in rest if part != 'conv')
    return f'enter.{rest}' if number == '0' else f'steps.{int(number) - 1}.{rest}'


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(module.bias)
