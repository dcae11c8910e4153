# SPDX-License-Identifier: Apache-2.0
"""Matching head: correlation of two views' features, refined and upsampled to dense px offsets."""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from crossview_ros.networks.croco import EncoderFeatures
from crossview_ros.networks.heads.prediction import Prediction
from crossview_ros.networks.heads.refinement import (
    convex_upsample, Refiner, row_volumes, row_windows, size_of, warped_window)
from crossview_ros.networks.heads.volume import RowVolume
from crossview_ros.networks.linear import Linear
import torch
from torch import nn, Tensor
import torch.nn.functional as F

COARSE_STRIDE = 8   # [px] of the full correlation
FINE_STRIDE = 4     # [px] of the local refinement
HALF_STRIDE = 2     # [px] of the last one
VOLUME_LEVELS = 2   # of its scores, each at half the resolution of the one before
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
    fused: bool = False               # the 1/4 features know the 1/8 ones
    recurrent: bool = False           # each correction at 1/4 goes on from the state of the last
    fine_levels: int = 1              # windows at 1/4, 1/8, ... of the row; 1: of the 1/4 map
    volume_groups: int = 0            # of 1/4 channels, in a volume of disparities; 0: none
    volume_share: float = 1 / 3       # of the width, the volume's largest disparity
    half_dim: int = 0                 # channels of the correlated 1/2 features; 0: no such stage
    half_hidden_dim: int = 32
    half_radius: int = 2              # [1/2 px] local window shown to the last refinement

    def __post_init__(self):
        if self.fine_levels < 1 or self.fine_levels > 1 and self.search == 'plane':
            raise ValueError("fine_levels must be at least 1, and 1 with search 'plane', got "
                             f'{self.fine_levels}')
        if self.volume_groups and (self.search == 'plane' or self.fine_dim % self.volume_groups):
            raise ValueError("volume_groups must divide fine_dim, and be 0 with search 'plane', "
                             f'got {self.volume_groups}')


class MatchingHead(nn.Module):
    """
    Find, for each pixel of view 1, where it lies in view 2.

    Global matching at 1/8 resolution (softmax expectation over a cosine correlation with a
    learned temperature), convolutional corrections that fill what cannot be matched, for rows a
    choice in a regularised volume (`RowVolume`), local searches at 1/4 resolution, and convex
    upsampling (RAFT, Teed and Deng 2020, section 3.3).

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
        state = config.fine_hidden_dim if config.recurrent else hidden
        fine_inputs = self._window(config.fine_radius) * config.fine_levels \
            + fine + self.channels + state
        self.token_proj = Linear(token_dim, dim * self.patch_ratio ** 2)
        self.stem_proj = nn.Conv2d(stem_dims[-1], dim, 1)
        self.fine_proj = nn.Conv2d(stem_dims[-2], fine, 1)
        self.log_temperature = nn.Parameter(torch.tensor(2.5))
        self.coarse = Refiner(self._window(config.coarse_radius) + dim + self.channels + 1,
                              hidden, self.channels, COARSE_STRIDE // FINE_STRIDE)
        self.fine = Refiner(fine_inputs, config.fine_hidden_dim, self.channels + 1, FINE_STRIDE)
        nn.init.constant_(self.fine.leave.bias[-1:], 1.0)   # a scale of e px at the start
        if config.fused:
            self.fine_context = nn.Conv2d(dim, fine, 1)
            self.fine_mix = nn.Conv2d(fine, fine, 3, padding=1)
        if config.recurrent:
            self.state_proj = nn.Conv2d(hidden, state, 1)
        if config.volume_groups:
            self.volume = RowVolume(fine, dim, config.volume_groups, config.volume_share)
            read = VOLUME_LEVELS * self._window(config.fine_radius)
            self.volume_proj = nn.Conv2d(read, state, 1)
            nn.init.zeros_(self.volume_proj.weight)
        self.reads_half = config.half_dim > 0
        if self.reads_half:
            self._add_half_stage(stem_dims[0])

    def _add_half_stage(self, stem_dim: int) -> None:
        config = self.config
        half = config.half_dim
        self.half_proj = nn.Conv2d(stem_dim, half, 3, padding=1)
        self.half_context = nn.Conv2d(config.fine_dim, half, 1)
        self.half_state_proj = nn.Conv2d(config.fine_hidden_dim, half, 1)
        self.final = Refiner(self._window(config.half_radius) + 2 * half + self.channels,
                             config.half_hidden_dim, self.channels + 1, HALF_STRIDE)
        nn.init.constant_(self.final.leave.bias[-1:], 1.0)

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
            window = self._coarse_window(map1, map2, offset)
            change, hidden, mask = self.coarse(
                torch.cat((window, map1, offset.detach() / 8, certainty), 1))
            offset = (offset.detach() if iteration else offset) + change
        offset = convex_upsample(offset, mask, 2) * 2                    # [1/4 px]
        estimates.append(_resize(offset, FINE_STRIDE) * FINE_STRIDE)
        fine1, fine2 = (self._fine_features(*view) for view in (
            (map1, features1), (map2, features2)))
        look = self._fine_search(fine1, fine2)
        state = _resize(hidden, 2)
        if self.config.recurrent:
            state = torch.tanh(self.state_proj(state))
        if self.config.volume_groups:
            chosen = self.volume(fine1, fine2, map1, -offset)
            offset = -chosen.disparity
            estimates.append(_resize(offset, FINE_STRIDE) * FINE_STRIDE)
        for iteration in range(self.config.fine_iterations):
            known = state
            if self.config.volume_groups:
                known = state + self.volume_proj(row_windows(
                    chosen.scores, -offset[:, 0].detach(), self.config.fine_radius))
            change, hidden, mask = self.fine(
                torch.cat((look(offset.detach()), fine1, offset.detach() / 16, known), 1))
            state = torch.tanh(hidden) if self.config.recurrent else state
            change, log_scale = change.split((self.channels, 1), 1)
            offset = (offset.detach() if iteration else offset) + change
            if self.training or iteration + 1 == self.config.fine_iterations:
                estimates.append(convex_upsample(offset, mask, FINE_STRIDE) * FINE_STRIDE)
        stride = FINE_STRIDE
        if self.reads_half:
            half1, half2 = (self._half_features(*view) for view in (
                (fine1, features1), (fine2, features2)))
            offset, log_scale, mask = self._refine_half(half1, half2, estimates[-1], hidden)
            stride = HALF_STRIDE
            estimates.append(convex_upsample(offset, mask, stride) * stride)
        log_scale = convex_upsample(log_scale, mask, stride).clamp(*LOG_SCALE_RANGE)
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
        return F.pixel_shuffle(tokens, self.patch_ratio) + self.stem_proj(features.stem[1])

    @torch.autocast('cpu', enabled=False)    # the expectation needs fp32 scores
    @torch.autocast('cuda', enabled=False)
    def _match(self, map1: Tensor, map2: Tensor) -> tuple[Tensor, Tensor]:
        """Return the offset (B, C, h, w) [1/8 px] and the peak probability (B, 1, h, w)."""
        rows, cols = size_of(map1)
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

    def _coarse_window(self, map1: Tensor, map2: Tensor, offset: Tensor) -> Tensor:
        """Correlate with view 2, moved by the estimate, in a window: (B, window, h, w)."""
        return warped_window(map1, map2, self._flow(offset.detach()),
                             self._reach(self.config.coarse_radius))

    def _fine_features(self, coarse: Tensor, features: EncoderFeatures) -> Tensor:
        fine = self.fine_proj(features.stem[0])
        if not self.config.fused:
            return fine
        fine = fine + _resize(self.fine_context(coarse), 2)
        return fine + self.fine_mix(F.relu(fine))

    def _fine_search(self, fine1: Tensor, fine2: Tensor) -> Callable[[Tensor], Tensor]:
        """Return what reads the correlations (B, window, h, w) around an offset."""
        radius = self.config.fine_radius
        if self.config.fine_levels == 1:
            reach = self._reach(radius)
            return lambda offset: warped_window(fine1, fine2, self._flow(offset), reach)
        volumes = row_volumes(fine1, fine2, self.config.fine_levels)
        x = torch.arange(size_of(fine1)[1], device=fine1.device, dtype=torch.float32)
        return lambda offset: row_windows(volumes, x + offset[:, 0], radius)

    def _half_features(self, fine: Tensor, features: EncoderFeatures) -> Tensor:
        return self.half_proj(features.stem[2]) + _resize(self.half_context(fine), 2)

    def _refine_half(self, half1: Tensor, half2: Tensor, estimate: Tensor,
                     state: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Correct an estimate (B, C, H, W) [px]: offset [1/2 px], log scale, upsampling mask."""
        offset = F.avg_pool2d(estimate, HALF_STRIDE) / HALF_STRIDE
        window = warped_window(half1, half2, self._flow(offset.detach()),
                               self._reach(self.config.half_radius))
        state = _resize(self.half_state_proj(state), 2)
        change, _, mask = self.final(
            torch.cat((window, half1, offset.detach() / 32, state), 1))
        change, log_scale = change.split((self.channels, 1), 1)
        return offset.detach() + change, log_scale, mask

    def _reach(self, radius: int) -> tuple[int, int]:
        return (0 if self.config.search == 'row' else radius), radius

    def _flow(self, offset: Tensor) -> Tensor:
        if self.config.search == 'plane':
            return offset
        return torch.cat((offset, torch.zeros_like(offset)), 1)


def _resize(field: Tensor, factor: int) -> Tensor:
    return F.interpolate(field, scale_factor=float(factor), mode='bilinear')
