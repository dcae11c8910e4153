# SPDX-License-Identifier: Apache-2.0
"""Point encoder of SimIPU: set abstraction at several scales (simipu.md 2)."""
from dataclasses import dataclass
from typing import Literal, NamedTuple

from crossview_ros.networks.point_ops import (
    ball_query, farthest_features, farthest_points, gather_points, relative_positions)
import torch
from torch import nn, Tensor

RING_EPS = 1e-3        # batch norm inside of the rings; aggregation has PyTorch's 1e-5


@dataclass(frozen=True)
class SamplerConfig:
    """
    Farthest point sampling of a range of a level's input points.

    'first' takes the points as they come: what 'distance' gives where a level before has sampled
    by distance, for nothing.
    """

    by: Literal['distance', 'feature', 'first']
    num_samples: int | float  # below 1: a share of the points in the range
    first: int = 0
    last: int | None = None   # exclusive; None: to the end

    def __post_init__(self):
        if self.num_samples <= 0 or self.num_samples > 1 and self.num_samples % 1:
            raise ValueError('expected a number of samples or a share in (0, 1), got '
                             f'{self.num_samples}')


@dataclass(frozen=True)
class RingConfig:
    """Neighbours between the ring before and this radius, and the channels of their layers."""

    max_radius: float         # [m]
    num_neighbours: int
    channels: tuple[int, ...]


@dataclass(frozen=True)
class LevelConfig:
    """One set abstraction; the samplers' points are joined in their order."""

    samplers: tuple[SamplerConfig, ...]
    rings: tuple[RingConfig, ...]
    out_channels: int

    def __post_init__(self):
        radii = [0.0, *(ring.max_radius for ring in self.rings)]
        if not (self.samplers and self.rings):
            raise ValueError('a level needs at least one sampler and one ring')
        if any(inner >= outer for inner, outer in zip(radii, radii[1:])):
            raise ValueError(f'radii of rings must be positive and increase, got {radii[1:]}')


def _level(samplers: tuple, rings: tuple, out_channels: int) -> LevelConfig:
    return LevelConfig(tuple(SamplerConfig(*sampler) for sampler in samplers),
                       tuple(RingConfig(*ring) for ring in rings), out_channels)


OFFICIAL_LEVELS = (   # table of simipu.md 2
    _level((('distance', 4096),),
           ((0.2, 32, (32, 32, 64)), (0.4, 32, (32, 32, 64)), (0.8, 64, (64, 64, 128))), 128),
    _level((('feature', 1024), ('distance', 1024)),
           ((0.4, 32, (64, 64, 128)), (0.8, 32, (64, 64, 128)), (1.6, 64, (128, 128, 256))), 256),
    _level((('feature', 512, 0, 512), ('distance', 512, 512)),
           ((1.6, 16, (128, 128, 256)), (3.2, 16, (128, 128, 256)), (4.8, 16, (256, 256, 512))),
           1024))


@dataclass(frozen=True)
class PointEncoderConfig:
    """
    Architecture of the point encoder; the default is the released one.

    ``relative_xyz`` is ours: rings also see where their points lie around the centre, so that
    features know the shape of a surface, which reflectance alone does not tell.
    """

    in_channels: int = 1      # reflectance; absolute coordinates are no features
    levels: tuple[LevelConfig, ...] = OFFICIAL_LEVELS
    relative_xyz: bool = False

    def __post_init__(self):
        if not self.levels or self.in_channels < 1:
            raise ValueError('a point encoder needs at least one level and one input channel')


class PointLevel(NamedTuple):
    """A sampled cloud and what is known of its points."""

    xyz: Tensor        # (B, N, 3) [m]
    features: Tensor   # (B, C, N)
    index: Tensor      # (B, N) int64: which points of the encoder's input these are


class PointEncoder(nn.Module):
    """Set abstraction levels in a row; neither loops over points nor keeps anything."""

    def __init__(self, config: PointEncoderConfig):
        super().__init__()
        self.config = config
        levels, channels = [], config.in_channels
        for level in config.levels:
            levels.append(SetAbstraction(level, channels, config.relative_xyz))
            channels = level.out_channels
        self.levels = nn.ModuleList(levels)
        self.out_channels = channels
        self.apply(_initialise)

    def forward(self, points: Tensor) -> list[PointLevel]:
        """
        Encode clouds.

        :param points: (B, N, 3 + in_channels): x, y, z [m] and the features; all finite.
        :return: The input and each level's output.
        :raises ValueError: If the cloud does not fit the architecture or is not finite.
        """
        if points.dim() != 3 or points.shape[2] != 3 + self.config.in_channels:
            raise ValueError(f'points must be (B, N, {3 + self.config.in_channels}), got '
                             f'{tuple(points.shape)}')
        index = torch.arange(points.shape[1], device=points.device).expand(len(points), -1)
        outputs = [PointLevel(points[..., :3].contiguous(),
                              points[..., 3:].transpose(1, 2).contiguous(), index)]
        for level in self.levels:
            outputs.append(level(outputs[-1]))
        return outputs


class SetAbstraction(nn.Module):
    """Sample centres, describe the rings around each, and join the descriptions."""

    def __init__(self, config: LevelConfig, in_channels: int, relative_xyz: bool = False):
        super().__init__()
        self.config, self.relative_xyz = config, relative_xyz
        in_channels += 3 * relative_xyz
        self.rings = nn.ModuleList(_ring_layers(in_channels, ring) for ring in config.rings)
        width = sum(ring.channels[-1] for ring in config.rings)
        self.aggregate = PointLayer(nn.Conv1d(width, config.out_channels, 1),
                                    nn.BatchNorm1d(config.out_channels))

    def forward(self, level: PointLevel) -> PointLevel:
        """Reduce one cloud to its samples."""
        chosen = torch.cat([_sample(level, sampler) for sampler in self.config.samplers], 1)
        centers = level.xyz.gather(1, chosen[..., None].expand(-1, -1, 3))
        described, inner = [], 0.0
        for ring, layers in zip(self.config.rings, self.rings):
            near = ball_query(level.xyz, centers, inner, ring.max_radius, ring.num_neighbours)
            grouped = gather_points(level.features, near)   # (B, C, M, K)
            if self.relative_xyz:   # the released encoder has features only (simipu.md 2.1)
                offset = relative_positions(level.xyz, centers, near) / ring.max_radius
                grouped = torch.cat((offset, grouped), 1)
            described.append(layers(grouped).amax(3))
            inner = ring.max_radius
        features = self.aggregate(torch.cat(described, 1))
        return PointLevel(centers, features, level.index.gather(1, chosen))


class PointLayer(nn.Module):
    """Convolution of size 1, batch norm, ReLU."""

    def __init__(self, conv: nn.Module, norm: nn.Module):
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape but for the channels."""
        return self.norm(self.conv(x)).relu()


def _ring_layers(in_channels: int, ring: RingConfig) -> nn.Sequential:
    widths = (in_channels, *ring.channels)
    return nn.Sequential(*(PointLayer(nn.Conv2d(before, after, 1),
                                      nn.BatchNorm2d(after, RING_EPS))
                           for before, after in zip(widths, widths[1:])))


def _sample(level: PointLevel, sampler: SamplerConfig) -> Tensor:
    part = slice(sampler.first, sampler.last)
    xyz = level.xyz[:, part]
    if xyz.shape[1] == 0:
        raise ValueError(f'points {sampler.first} to {sampler.last} are to be sampled, but there '
                         f'are {level.xyz.shape[1]}')
    count = sampler.num_samples
    if count < 1:
        count = max(1, round(count * xyz.shape[1]))
    if sampler.by == 'first':
        chosen = torch.arange(min(count, xyz.shape[1]), device=xyz.device)
        chosen = chosen.expand(len(xyz), -1)
    elif sampler.by == 'distance':
        chosen = farthest_points(xyz, count)
    else:
        chosen = farthest_features(xyz, level.features[..., part], count)
    return chosen + sampler.first


def _initialise(module: nn.Module) -> None:
    if isinstance(module, (nn.Conv1d, nn.Conv2d)):
        nn.init.kaiming_normal_(module.weight, mode='fan_out', nonlinearity='relu')
        nn.init.zeros_(module.bias)
