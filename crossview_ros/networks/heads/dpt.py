# SPDX-License-Identifier: Apache-2.0
"""DPT head: tokens of four blocks, fused from coarse to fine into a dense map."""
from dataclasses import dataclass
import math
from typing import Literal

from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.heads.prediction import Prediction
import torch
from torch import nn, Tensor
import torch.nn.functional as F

PATCH_SIZES = (8, 16)   # [px] that the four scales add up to, without and with a last doubling
SCALE_RANGES = {'bounded': (0.25, 4.0), 'symmetric': (3.0, 3.0)}   # of the official losses
DECODER_STEPS = {8: 3, 12: 4, 24: 8}   # blocks of the decoder: distance of the hooks


@dataclass(frozen=True)
class DptHeadConfig:
    """
    Hyper-parameters of `DptHead`; the widths' defaults are those of CroCo-Stereo and -Flow.

    ``scale`` says what the last channel c means, which the loss decides (croco.md 6.2): nothing
    (``none``: there is no such channel), log b = c (``exp``), b = (B - A) sigmoid(c) + A
    (``bounded``) or log b = 2 A (sigmoid(c / B) - 0.5) (``symmetric``), where b is the Laplace
    scale [px] and ``scale_range`` is (A, B). The head gives c as it is.
    """

    num_values: int                                    # disparity 1, flow 2
    scale: Literal['none', 'exp', 'bounded', 'symmetric'] = 'exp'
    hooks: tuple[int, int, int, int] | None = None     # of encoder and decoder blocks in a row
    layer_dims: tuple[int, int, int, int] = (96, 192, 384, 768)
    feature_dim: int = 256
    last_dim: int = 32
    scale_range: tuple[float, float] | None = None     # (A, B); None: that of the official loss

    def __post_init__(self):
        if self.num_values < 1:
            raise ValueError(f'num_values must be at least 1, got {self.num_values}')
        if self.feature_dim % 2:
            raise ValueError(f'feature_dim must be even, got {self.feature_dim}')
        default = SCALE_RANGES.get(self.scale)
        low, high = self.scale_range or default or (1.0, 1.0)
        if self.scale_range is not None and default is None:
            raise ValueError(f"scale '{self.scale}' has no scale_range, got {self.scale_range}")
        if not (0 < low < math.inf and 0 < high < math.inf) \
                or self.scale == 'bounded' and low >= high:
            raise ValueError(f"scale_range of '{self.scale}' must be two numbers above 0, rising "
                             f'for bounded; got {(low, high)}')
        object.__setattr__(self, 'scale_range', default and (low, high))

    @property
    def num_channels(self) -> int:
        """Return the channels of the raw output, that of the scale included."""
        return self.num_values + (self.scale != 'none')


class DptHead(nn.Module):
    """
    Turn the tokens of four blocks into a map of the image's size (croco.md 3.4).

    With a decoder the blocks are counted through: first the encoder's (of view 1), then the
    decoder's. The sides of the image must be multiples of twice the patch size.

    Source: Ranftl et al., Vision Transformers for Dense Prediction, ICCV 2021, section 3.
    """

    both_directions = False   # the decoder need not run with the views swapped

    def __init__(self, config: DptHeadConfig, backbone: CroCoConfig, decoder: bool = True):
        """
        Create the layers.

        :param decoder: Whether there are decoder tokens (two views) or the encoder's only.
        :raises ValueError: If the patches are not 8 or 16 px, or the hooks do not fit the blocks.
        """
        super().__init__()
        if backbone.patch_size not in PATCH_SIZES:
            raise ValueError(f'a DPT head needs patches of 8 or 16 px, got {backbone.patch_size}')
        self.config = config
        self.patch_size = backbone.patch_size
        self.hooks = _hooks(config, backbone, decoder)
        dims = [backbone.enc_embed_dim if hook < backbone.enc_num_layers
                else backbone.dec_embed_dim for hook in self.hooks]
        width, half = config.feature_dim, config.feature_dim // 2
        self.reassemble = nn.ModuleList(
            _reassembly(*item) for item in zip((4, 2, 1, -2), dims, config.layer_dims))
        self.align = nn.ModuleList(nn.Conv2d(dim, width, 3, padding=1, bias=False)
                                   for dim in config.layer_dims)
        self.fuse = nn.ModuleList(_Fusion(width) for _ in self.hooks)
        self.enter = nn.Conv2d(width, half, 3, padding=1)
        self.body = nn.Conv2d(half, config.last_dim, 3, padding=1)
        self.leave = nn.Conv2d(config.last_dim, config.num_channels, 1)

    def forward(self, tokens: list[Tensor], grid_hw: tuple[int, int]) -> Prediction:
        """
        Predict one map.

        :param tokens: Output of each block of encoder and decoder, (B, N, E) and (B, N, D).
        :param grid_hw: Patches along height and width; both even.
        """
        raw = self.raw(tokens, grid_hw).float()
        if self.config.scale == 'none':
            return Prediction(raw, None)
        return Prediction(raw[:, :-1], raw[:, -1:])

    def raw(self, tokens: list[Tensor], grid_hw: tuple[int, int]) -> Tensor:
        """
        Return all channels (B, C, H, W) as the last layer gives them.

        :raises ValueError: If a side of the grid is odd: the coarsest map is half of it.
        """
        patch = self.patch_size
        if grid_hw[0] % 2 or grid_hw[1] % 2:
            raise ValueError(f'a DPT head needs image sides that are multiples of '
                             f'{2 * patch} px, got {grid_hw[0] * patch} x {grid_hw[1] * patch}')
        # the CPU's convolutions are a tenth faster on channels-last maps, and keep them so
        maps = [align(reassemble(tokens[hook].transpose(1, 2).unflatten(2, grid_hw))
                      .contiguous(memory_format=torch.channels_last))
                for hook, reassemble, align in zip(self.hooks, self.reassemble, self.align)]
        x = self.fuse[3](maps[3])
        for level in (2, 1, 0):
            x = self.fuse[level](x, maps[level])
        x = self.enter(x)   # of patches of 8 px it has the image's size, of 16 px half of it
        x = _double(x) if patch == 16 else x
        return self.leave(F.relu(self.body(x), inplace=True))


class _Fusion(nn.Module):
    """Add a finer map to the coarser one, smooth, and double the size."""

    def __init__(self, dim: int):
        super().__init__()
        # the coarsest level has nothing to add: its residual1 exists, as in official
        # checkpoints, but never runs
        self.residual1 = _ResidualUnit(dim)
        self.residual2 = _ResidualUnit(dim)
        self.leave = nn.Conv2d(dim, dim, 1)

    def forward(self, coarse: Tensor, fine: Tensor | None = None) -> Tensor:
        x = coarse if fine is None else coarse + self.residual1(fine)
        # the 1x1 layer commutes with the doubling, and costs a quarter before it
        return _double(self.leave(self.residual2(x)))


class _ResidualUnit(nn.Module):
    """Two 3x3 convolutions with ReLU before each; the skip adds the input as it came."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.conv1(F.relu(x)), inplace=True))


def _reassembly(factor: int, in_dim: int, dim: int) -> nn.Sequential:
    """Map tokens to ``dim`` channels, then to ``factor`` times the grid (-2: half of it)."""
    project = nn.Conv2d(in_dim, dim, 1)
    if factor == 1:
        return nn.Sequential(project)
    resize = nn.Conv2d(dim, dim, 3, 2, 1) if factor < 0 else \
        nn.ConvTranspose2d(dim, dim, factor, factor)
    return nn.Sequential(project, resize)


def _hooks(config: DptHeadConfig, backbone: CroCoConfig, decoder: bool) -> tuple[int, ...]:
    blocks = backbone.enc_num_layers
    if decoder:
        blocks += backbone.dec_num_layers
        step = DECODER_STEPS.get(backbone.dec_num_layers)
    else:
        step = blocks // 4
    if config.hooks is None and not step:
        known = f'{", ".join(map(str, DECODER_STEPS))} decoder blocks' if decoder else \
            'four encoder blocks or more'
        raise ValueError(f'hooks have a default for {known} only; name the four blocks')
    hooks = config.hooks or tuple(blocks - 1 - n * step for n in (3, 2, 1, 0))
    if not all(0 <= hook < blocks for hook in hooks):
        raise ValueError(f'hooks must lie in [0, {blocks}), got {hooks}')
    return hooks


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode='bilinear', align_corners=True)
