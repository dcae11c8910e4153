# SPDX-License-Identifier: Apache-2.0
"""Matching head: correlation of two views' features, refined and upsampled to dense px offsets."""
from dataclasses import dataclass
from typing import Literal

from crossview_ros.networks.croco import EncoderFeatures
from crossview_ros.networks.heads.prediction import Prediction
from crossview_ros.networks.layers import draw_normal
from crossview_ros.networks.linear import Linear
import torch
from torch import nn, Tensor
import torch.nn.functional as F

COARSE_STRIDE = 8   # [px] of the full correlation
FINE_STRIDE = 4     # [px] of the local refinement
LOG_SCALE_RANGE = (-5.0, 5.0)   # log of the Laplace scale [log px]: 0.007 to 150 px


@dataclass(frozen=True)
class MatchingHeadConfig:
    """Hyper-parameters of `MatchingHead`."""

    search: Literal['row', 'plane']   # row: disparity (1 channel), plane: flow (2 channels)
    feature_dim: int = 128            # channels of the correlated 1/8 features
    hidden_dim: int = 96              # channels of the coarse correction
    fine_hidden_dim: int = 64
    fine_dim: int = 32                # channels of the correlated 1/4 features
    coarse_radius: int = 2            # [1/8 px] local window shown to the coarse refinement
    fine_radius: int = 4              # [1/4 px] local window shown to the fine refinement
    coarse_iterations: int = 1        # corrections at 1/8, each from where the last one led
    fine_iterations: int = 1          # corrections at 1/4


class MatchingHead(nn.Module):
    """
    Find, for each pixel of view 1, where it lies in view 2.

    Global matching at 1/8 resolution (softmax expectation over a cosine correlation with a
    learned temperature), a convolutional correction that fills what cannot be matched, one local
    search at 1/4 resolution, and convex upsampling (RAFT, Teed and Deng 2020, section 3.3).

    Both views must have been decoded: ``tokens1`` with view 2 as reference and the reverse.
    """

    both_directions = True

    def __init__(self, config: MatchingHeadConfig, token_dim: int, patch_size: int,
                 stem_dims: tuple[int, ...]):
        """
        Create the layers.

        :param token_dim: Width of the decoder tokens.
        :param patch_size: Stride of the tokens [px], 8 or 16.
        :param stem_dims: Channels of the stem's maps; the last two are the 1/4 and 1/8 maps.
        """
        super().__init__()
        if patch_size not in (8, 16):
            raise ValueError(f'patch_size must be 8 or 16 for 1/8 features, got {patch_size}')
        self.config = config
        self.channels = 1 if config.search == 'row' else 2
        self.patch_ratio = patch_size // COARSE_STRIDE
        dim, hidden, fine = config.feature_dim, config.hidden_dim, config.fine_dim
        fine_inputs = self._window(config.fine_radius) + fine + self.channels + hidden
        self.token_proj = Linear(token_dim, dim * self.patch_ratio ** 2)
        self.stem_proj = nn.Conv2d(stem_dims[-1], dim, 1)
        self.fine_proj = nn.Conv2d(stem_dims[-2], fine, 1)
        self.log_temperature = nn.Parameter(torch.tensor(2.5))
        self.coarse = _Refiner(self._window(config.coarse_radius) + dim + self.channels + 1,
                               hidden, self.channels, COARSE_STRIDE // FINE_STRIDE)
        self.fine = _Refiner(fine_inputs, config.fine_hidden_dim, self.channels + 1, FINE_STRIDE)
        nn.init.constant_(self.fine.leave.bias[-1:], 1.0)   # a scale of e px at the start

    def forward(self, tokens1: Tensor, tokens2: Tensor, features1: EncoderFeatures,
                features2: EncoderFeatures) -> Prediction:
        """
        Match view 1 to view 2.

        :param tokens1: (B, N, D) last decoder output of view 1; ``tokens2`` of view 2.
        :param features1: Encoder output of view 1 with stem maps; ``features2`` of view 2.
        """
        map1 = self._coarse_features(tokens1, features1)
        map2 = self._coarse_features(tokens2, features2)
        offset, certainty = self._match(map1, map2)                      # [1/8 px]
        estimates = [_resize(offset, COARSE_STRIDE) * COARSE_STRIDE]
        for iteration in range(self.config.coarse_iterations):
            window = self._local_correlation(map1, map2, offset, self.config.coarse_radius)
            change, hidden, mask = self.coarse(
                torch.cat((window, map1, offset.detach() / 8, certainty), 1))
            offset = (offset.detach() if iteration else offset) + change
        offset = convex_upsample(offset, mask, 2) * 2                    # [1/4 px]
        estimates.append(_resize(offset, FINE_STRIDE) * FINE_STRIDE)
        hidden = _resize(hidden, 2)
        fine1, fine2 = (self.fine_proj(f.stem[-2]) for f in (features1, features2))
        for iteration in range(self.config.fine_iterations):
            window = self._local_correlation(fine1, fine2, offset, self.config.fine_radius)
            change, _, mask = self.fine(
                torch.cat((window, fine1, offset.detach() / 16, hidden), 1))
            change, log_scale = change.split((self.channels, 1), 1)
            offset = (offset.detach() if iteration else offset) + change
            if self.training or iteration + 1 == self.config.fine_iterations:
                estimates.append(convex_upsample(offset, mask, FINE_STRIDE) * FINE_STRIDE)
        log_scale = convex_upsample(log_scale, mask, FINE_STRIDE).clamp(*LOG_SCALE_RANGE)
        return Prediction(self._signed(estimates[-1]), log_scale,
                          tuple(map(self._signed, estimates[:-1])))

    def _signed(self, offset: Tensor) -> Tensor:
        # disparity is minus the horizontal offset from left to right
        return -offset if self.config.search == 'row' else offset

    def _window(self, radius: int) -> int:
        return (2 * radius + 1) ** self.channels

    def _coarse_features(self, tokens: Tensor, features: EncoderFeatures) -> Tensor:
        rows, cols = features.grid_hw
        tokens = self.token_proj(tokens).transpose(1, 2).unflatten(2, (rows, cols))
        return F.pixel_shuffle(tokens, self.patch_ratio) + self.stem_proj(features.stem[-1])

    @torch.autocast('cpu', enabled=False)    # the expectation needs fp32 scores
    @torch.autocast('cuda', enabled=False)
    def _match(self, map1: Tensor, map2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offset (B, C, h, w) [1/8 px] and the peak probability (B, 1, h, w)."""
        rows, cols = _size(map1)
        scale = self.log_temperature.clamp(max=4.6).exp()
        map1 = F.normalize(map1.float(), dim=1) * scale
        map2 = F.normalize(map2.float(), dim=1)
        x = torch.arange(cols, device=map1.device, dtype=torch.float32)
        if self.config.search == 'row':
            scores = map1.permute(0, 2, 3, 1) @ map2.permute(0, 2, 1, 3)   # (B, h, w1, w2)
            behind = x[None, :] > x[:, None]    # a rectified match never lies to the right
            probability = scores.masked_fill(behind, -1e4).softmax(-1)
            offset = (probability * x).sum(-1) - x
            return offset[:, None], probability.amax(-1)[:, None]
        y = torch.arange(rows, device=map1.device, dtype=torch.float32)
        grid = torch.stack((x.repeat(rows), y.repeat_interleave(cols)), 1)      # (h w, 2)
        probability = (map1.flatten(2).transpose(1, 2) @ map2.flatten(2)).softmax(-1)
        offset = probability @ grid - grid                                      # (B, h w, 2)
        shape = (rows, cols)
        return (offset.transpose(1, 2).unflatten(2, shape),
                probability.amax(-1)[:, None].unflatten(2, shape))

    def _local_correlation(self, map1: Tensor, map2: Tensor, offset: Tensor,
                           radius: int) -> Tensor:
        """Correlate with view 2, moved by the estimate, in a window: (B, window, h, w)."""
        rows, cols = _size(map1)
        pad_rows = 0 if self.config.search == 'row' else radius
        moved = F.pad(warp(map2.float(), self._flow(offset.detach())),
                      (radius, radius, pad_rows, pad_rows))
        map1 = map1.float() * map1.shape[1] ** -0.5
        window = [(map1 * moved[:, :, i:i + rows, j:j + cols]).sum(1)
                  for i in range(2 * pad_rows + 1) for j in range(2 * radius + 1)]
        return torch.stack(window, 1)

    def _flow(self, offset: Tensor) -> Tensor:
        if self.config.search == 'plane':
            return offset
        return torch.cat((offset, torch.zeros_like(offset)), 1)


class _Refiner(nn.Module):
    """Read a correction of an offset field, and how to upsample it, from its surroundings."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int, factor: int):
        super().__init__()
        self.enter = nn.Conv2d(in_dim, hidden_dim, 3, padding=1)
        self.body = nn.ModuleList(
            nn.Conv2d(hidden_dim, hidden_dim, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.leave = nn.Conv2d(hidden_dim, out_dim, 3, padding=1)
        self.mask = nn.Conv2d(hidden_dim, 9 * factor ** 2, 1)
        for layer in (self.enter, *self.body):
            draw_normal(layer.weight)
            nn.init.zeros_(layer.bias)
        draw_normal(self.leave.weight, 1e-3)   # start from the estimate as it is
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.relu(self.enter(x))
        for layer in self.body:
            hidden = hidden + F.relu(layer(hidden))
        return self.leave(hidden).float(), hidden, self.mask(hidden)


def convex_upsample(field: Tensor, mask: Tensor, factor: int) -> Tensor:
    """
    Upsample each pixel as a learned convex combination of its 3x3 neighbours.

    :param field: (B, C, h, w); the values are not scaled.
    :param mask: (B, 9 * factor^2, h, w) logits.
    :return: (B, C, factor h, factor w).

    Source: RAFT, Teed and Deng, ECCV 2020, section 3.3.
    """
    rows, cols = _size(field)
    weights = mask.float().unflatten(1, (1, 9, factor ** 2)).softmax(2)
    padded = F.pad(field, (1, 1, 1, 1), mode='replicate')
    neighbours = torch.stack([padded[:, :, i:i + rows, j:j + cols]
                              for i in range(3) for j in range(3)], 2)     # (B, C, 9, h, w)
    fine = (weights * neighbours[:, :, :, None]).sum(2)          # (B, C, factor^2, h, w)
    return F.pixel_shuffle(fine.flatten(1, 2), factor)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """
    Move view 2 onto view 1: out(x) = image(x + flow(x)), bilinear, zero outside.

    :param image: (B, C, H, W) float32 of view 2.
    :param flow: (B, 2, H, W) float32 [px], view 1 -> view 2.
    """
    rows, cols = _size(image)
    x = torch.arange(cols, device=image.device, dtype=flow.dtype)
    y = torch.arange(rows, device=image.device, dtype=flow.dtype)[:, None]
    grid = torch.stack((2 * (x + flow[:, 0]) / (cols - 1) - 1,
                        2 * (y + flow[:, 1]) / (rows - 1) - 1), -1)
    return F.grid_sample(image, grid, align_corners=True)


def _size(x: Tensor) -> tuple[int, int]:
    return int(x.shape[-2]), int(x.shape[-1])   # tracing makes them tensors


def _resize(field: Tensor, factor: int) -> Tensor:
    return F.interpolate(field, scale_factor=float(factor), mode='bilinear')
