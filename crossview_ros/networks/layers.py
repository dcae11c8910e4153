# SPDX-License-Identifier: Apache-2.0
"""Transformer blocks of CroCo and the patch and convolutional stems."""
import math

from crossview_ros.networks.linear import Linear
from crossview_ros.networks.position import rotate
import torch
from torch import nn, Tensor
import torch.nn.functional as F

EPS = 1e-6   # of every LayerNorm (croco.md, notation)
Table = tuple[Tensor, Tensor] | None   # rotary cos and sin, or no rotation


class Attention(nn.Module):
    """Multi-head self-attention with one fused projection q | k | v (croco.md 1.6)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = Linear(dim, 3 * dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, tables: list[Table], lengths: list[int]) -> Tensor:
        """
        Attend within each of the images whose tokens lie one behind the other.

        :param x: (B, N, dim).
        :param tables: Of each image.
        :param lengths: Tokens of each image; their sum is N.
        """
        q, k, v = (_split_heads(t, self.num_heads).split(lengths, 2)
                   for t in self.qkv(x).chunk(3, -1))
        return self.proj(torch.cat([_attend(*part, table, table)
                                    for *part, table in zip(q, k, v, tables)], 1))


class CrossAttention(nn.Module):
    """Multi-head attention from one set of tokens to another (croco.md 1.7)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.projq = Linear(dim, dim)
        self.projk = Linear(dim, dim)
        self.projv = Linear(dim, dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, memory: Tensor, table: Table, memory_table: Table) -> Tensor:
        """Attend from x (B, N, dim) to memory (B, M, dim)."""
        q, k, v = (_split_heads(t, self.num_heads)
                   for t in (self.projq(x), self.projk(memory), self.projv(memory)))
        return self.proj(_attend(q, k, v, table, memory_table))


class Mlp(nn.Module):
    """Two linear layers with an exact GELU between."""

    def __init__(self, dim: int, ratio: float):
        super().__init__()
        self.fc1 = Linear(dim, int(dim * ratio))
        self.fc2 = Linear(int(dim * ratio), dim)

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., dim) to (..., dim)."""
        return self.fc2(F.gelu(self.fc1(x)))


class EncoderBlock(nn.Module):
    """Pre-norm transformer block (croco.md 1.6)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, tables: list[Table], lengths: list[int]) -> Tensor:
        """Map (B, N, dim) to (B, N, dim); the tokens as in `Attention.forward`."""
        x = x + self.attn(self.norm1(x), tables, lengths)
        return x + self.mlp(self.norm2(x))

    def branches(self) -> list[nn.Linear]:
        """Return the last layer of each residual branch."""
        return [self.attn.proj, self.mlp.fc2]


class DecoderBlock(nn.Module):
    """Self-attention, cross-attention to a fixed memory, MLP (croco.md 1.7)."""

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, norm_memory: bool):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, EPS)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, EPS)
        self.norm_y = nn.LayerNorm(dim, EPS) if norm_memory else nn.Identity()
        self.cross_attn = CrossAttention(dim, num_heads)
        self.norm3 = nn.LayerNorm(dim, EPS)
        self.mlp = Mlp(dim, mlp_ratio)

    def forward(self, x: Tensor, memory: Tensor, table: Table, memory_table: Table) -> Tensor:
        """Update x (B, N, dim); memory (B, M, dim) stays as it is."""
        x = x + self.attn(self.norm1(x), [table], [int(x.shape[1])])
        x = x + self.cross_attn(self.norm2(x), self.norm_y(memory), table, memory_table)
        return x + self.mlp(self.norm3(x))

    def branches(self) -> list[nn.Linear]:
        """Return the last layer of each residual branch."""
        return [self.attn.proj, self.cross_attn.proj, self.mlp.fc2]


class PatchEmbed(nn.Module):
    """One linear map per patch (croco.md 1.2)."""

    def __init__(self, patch_size: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, patch_size)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map (B, 3, H, W) to (B, dim, Nh, Nw), and no maps of finer resolution."""
        patch = self.proj.kernel_size[0]
        # a product in place of the convolution: (B, Nh, Nw, 3 p p)
        x = image.unflatten(3, (-1, patch)).unflatten(2, (-1, patch)).permute(0, 2, 4, 1, 3, 5)
        x = F.linear(x.flatten(3), self.proj.weight.flatten(1), self.proj.bias)
        return x.permute(0, 3, 1, 2), []


class ConvStem(nn.Module):
    """
    Convolutions down to the patch grid; their 1/4, 1/8 and 1/2 maps serve dense matching.

    Early convolutions make transformers easier to train (Xiao et al., NeurIPS 2021).
    """

    def __init__(self, patch_size: int, dim: int, dims: tuple[int, int, int]):
        super().__init__()
        if patch_size not in (8, 16):
            raise ValueError(f"stem 'conv' needs patch_size 8 or 16, got {patch_size}")
        half, quarter, eighth = dims
        self.enter = nn.Conv2d(3, half, 3, 2, 1)
        self.quarter = nn.Conv2d(half, quarter, 3, 2, 1)
        self.quarter_block = ConvBlock(quarter)
        self.eighth = nn.Conv2d(quarter, eighth, 3, 2, 1)
        self.eighth_block = ConvBlock(eighth)
        stride = patch_size // 8
        self.proj = nn.Conv2d(eighth, dim, stride, stride)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map (B, 3, H, W) to (B, dim, Nh, Nw) and the maps at 1/4, 1/8 and 1/2."""
        half = F.gelu(self.enter(image))
        quarter = self.quarter_block(F.gelu(self.quarter(half)))
        eighth = self.eighth_block(F.gelu(self.eighth(quarter)))
        return self.proj(eighth), [quarter, eighth, half]


class ConvBlock(nn.Module):
    """Residual pair of 3x3 convolutions."""

    def __init__(self, dim: int):
        super().__init__()
        self.conv1 = nn.Conv2d(dim, dim, 3, padding=1)
        self.conv2 = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, dim, H, W) to the same shape."""
        return x + self.conv2(F.gelu(self.conv1(x)))


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)     # (B, heads, N, head_dim)


def _attend(q: Tensor, k: Tensor, v: Tensor, q_table: Table, k_table: Table) -> Tensor:
    if q_table is not None:
        q, k = rotate(q, q_table), rotate(k, k_table)
    out = F.scaled_dot_product_attention(q, k, v)
    return out.transpose(1, 2).flatten(2)


def initialise(module: nn.Module) -> None:
    """
    Initialise one layer as CroCo does (croco.md 1.10); use with ``Module.apply``.

    Convolutions of the stem follow He et al. 2015, since they are followed by GELU.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, PatchEmbed):
        weight = module.proj.weight
        with torch.no_grad():
            weight.copy_(nn.init.xavier_uniform_(weight.flatten(1).clone()).view_as(weight))
    elif isinstance(module, ConvStem):
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                draw_normal(layer.weight)
                nn.init.zeros_(layer.bias)


def draw_normal(weight: Tensor, std: float | None = None) -> None:
    """
    Fill a weight with normal numbers of zero mean.

    :param std: Their deviation; None takes sqrt(2 / inputs), for layers before a ReLU or GELU
        (He et al. 2015).
    """
    if weight.is_meta:   # nothing to draw; PyTorch would load its compiler for it, 70 MB
        return
    nn.init.normal_(weight, std=math.sqrt(2 / weight[0].numel()) if std is None else std)
