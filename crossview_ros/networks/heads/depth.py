# SPDX-License-Identifier: Apache-2.0
"""Depth head: metres of one view, from the tokens and the stem's maps of the shared encoder."""
from dataclasses import dataclass

from crossview_ros.networks.croco import CroCoConfig, EncoderFeatures
from crossview_ros.networks.heads.matching import LOG_SCALE_RANGE
from crossview_ros.networks.heads.prediction import Prediction
from crossview_ros.networks.heads.refinement import convex_upsample
from crossview_ros.networks.layers import draw_normal
import torch
from torch import nn, Tensor
import torch.nn.functional as F

FINE_STRIDE = 4                   # [px] of the finest map; the rest is convex upsampling
LOG_DEPTH_RANGE = (-7.0, 7.0)     # [log m]: 0.9 mm to 1.1 km
PLACES = 2                        # channels that tell where a token lies


@dataclass(frozen=True)
class DepthHeadConfig:
    """
    Hyper-parameters of `DepthHead`.

    With ``focal_px`` the answer is that of a canonical camera of this focal length: an image of
    focal length f, in pixels of the network's input, shows depth value * f / focal_px. One view
    does not say how far its lens zooms in; so the network need not guess it.

    Source: Yin et al., Metric3D, ICCV 2023, section 3.2 (label transformation).
    """

    depth_dims: tuple[int, int, int]        # channels at 1/16, 1/8 and 1/4
    focal_px: float | None = None           # None: metres as they are
    hooks: tuple[int, ...] | None = None    # encoder blocks that are read; None: every other one

    def __post_init__(self):
        if len(self.depth_dims) != 3 or min(self.depth_dims) < 1:
            raise ValueError(f'depth_dims must be three widths above 0, got {self.depth_dims}')
        if self.focal_px is not None and not self.focal_px > 0:
            raise ValueError(f'focal_px must be above 0 or None, got {self.focal_px}')


class DepthHead(nn.Module):
    """
    Fuse tokens with the stem's maps from 1/16 to 1/4, then upsample convexly.

    Rotary positions say only how far apart two patches are, but the ground of a view lies low:
    each token is told where it lies. The mean over the view is added to every token, since the
    scale is common to all pixels.
    """

    both_directions = False   # there is no second view

    def __init__(self, config: DepthHeadConfig, backbone: CroCoConfig):
        """
        Create the layers.

        :raises ValueError: If the backbone has no stem maps or the hooks do not fit its blocks.
        """
        super().__init__()
        if backbone.stem != 'conv' or backbone.patch_size != 16:
            raise ValueError("a depth head needs a backbone with stem 'conv' and patches of 16 "
                             f"px, got '{backbone.stem}' and {backbone.patch_size}")
        last = backbone.enc_num_layers - 1
        self.config = config
        self.hooks = config.hooks or tuple(range(last % 2, last + 1, 2))
        if not all(0 <= hook <= last for hook in self.hooks):
            raise ValueError(f'hooks must lie in [0, {last}], got {self.hooks}')
        coarse, middle, fine = config.depth_dims
        stem4, stem8 = backbone.stem_dims[1:]
        self.enter = nn.Conv2d(len(self.hooks) * backbone.enc_embed_dim + PLACES, coarse, 1)
        self.whole = nn.Conv2d(coarse, coarse, 1)
        self.coarse = ResidualUnit(coarse)
        self.eighth = FusionStep(coarse, stem8, middle)
        self.quarter = FusionStep(middle, stem4, fine)
        self.leave = nn.Conv2d(fine, 2, 3, padding=1)
        self.mask = nn.Conv2d(fine, 9 * FINE_STRIDE ** 2, 1)
        draw_normal(self.leave.weight, 1e-3)
        # 2 m, and doubt by a factor of 1.6
        self.leave.bias.data = torch.tensor((0.7, -0.7))

    def forward(self, features: EncoderFeatures) -> Prediction:
        """
        Estimate depth.

        :param features: Of one view, with stem maps.
        :return: ``value`` (B, 1, H, W) [m], of the canonical camera where the config has one;
            ``log_scale`` (B, 1, H, W): log b, the Laplace scale of the error of log depth.
        """
        rows, cols = features.grid_hw
        # a residual stream grows from block to block; only the last one's is normalised
        width = int(features.tokens[-1].shape[-1])   # tracing makes it a tensor
        tokens = torch.cat([F.layer_norm(features.tokens[hook], (width,))
                            for hook in self.hooks], -1)
        tokens = tokens.transpose(1, 2).unflatten(2, (rows, cols))
        x = self.enter(torch.cat((tokens, _places(tokens)), 1))
        x = x + self.whole(F.relu(x).mean((2, 3), keepdim=True))
        x = self.coarse(x)
        x = self.eighth(x, features.stem[1])
        x = F.relu(self.quarter(x, features.stem[0]))
        log_depth, log_scale = convex_upsample(self.leave(x).float(), self.mask(x),
                                               FINE_STRIDE).split(1, 1)
        return Prediction(log_depth.clamp(*LOG_DEPTH_RANGE).exp(),
                          log_scale.clamp(*LOG_SCALE_RANGE))


class FusionStep(nn.Module):
    """Double the size, add a finer map, and smooth."""

    def __init__(self, in_dim: int, skip_dim: int, out_dim: int):
        super().__init__()
        self.enter = nn.Conv2d(in_dim, out_dim, 1)
        self.skip = nn.Conv2d(skip_dim, out_dim, 1)
        self.body = ResidualUnit(out_dim)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        """Return a map of the size of ``fine``."""
        # the 1x1 layer commutes with the doubling, and costs a quarter before it
        x = F.interpolate(self.enter(coarse), scale_factor=2.0, mode='bilinear')
        return self.body(x + self.skip(fine))


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions with ReLU before each."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the same shape."""
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


def _places(tokens: Tensor) -> Tensor:
    """Return (B, 2, h, w): x and y of the tokens' centres in (-1, 1)."""
    rows, cols = (int(side) for side in tokens.shape[-2:])   # tracing makes them tensors
    x = (2 * torch.arange(cols, device=tokens.device) + 1) / cols - 1
    y = (2 * torch.arange(rows, device=tokens.device) + 1) / rows - 1
    places = torch.stack((x.expand(rows, cols), y[:, None].expand(rows, cols)))
    # a sum, since a trace fixes the batch of an expansion and of zeros
    return places.to(tokens.dtype) + 0 * tokens[:, :1]
