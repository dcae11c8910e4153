# SPDX-License-Identifier: Apache-2.0
"""CroCo: encoder, decoder and the pre-training model that completes one view from another."""
from dataclasses import dataclass
import math
from typing import Literal, NamedTuple

from crossview_ros.networks.layers import (
    ConvStem, DecoderBlock, EncoderBlock, EPS, initialise, PatchEmbed)
from crossview_ros.networks.position import cosine_table, RoPE2D
import torch
from torch import nn, Tensor


@dataclass(frozen=True)
class CroCoConfig:
    """
    Architecture of encoder and decoder; the defaults are CroCo v1 (croco.md 1.1).

    ``stem`` and ``residual_init`` are ours: a convolutional stem gives local features from the
    first step, and residual branches that start at zero let training begin with them.
    """

    img_size: tuple[int, int] = (224, 224)    # (H, W) [px]; binding for cosine positions only
    patch_size: int = 16                      # [px]
    mask_ratio: float = 0.9
    enc_embed_dim: int = 768
    enc_num_layers: int = 12
    enc_num_heads: int = 12
    dec_embed_dim: int = 512
    dec_num_layers: int = 8
    dec_num_heads: int = 16
    mlp_ratio: float = 4.0
    norm_memory: bool = True
    position: Literal['cosine', 'rope'] = 'cosine'
    rope_base: float = 100.0
    stem: Literal['patch', 'conv'] = 'patch'
    stem_dims: tuple[int, int, int] = (32, 64, 96)
    residual_init: Literal['xavier', 'zero'] = 'xavier'

    def __post_init__(self):
        for width, heads in ((self.enc_embed_dim, self.enc_num_heads),
                             (self.dec_embed_dim, self.dec_num_heads)):
            if width % heads:
                raise ValueError(f'width {width} is not divisible by {heads} heads')
            if width // heads % 4 and self.position == 'rope':
                raise ValueError(f'RoPE needs head channels that are a multiple of 4, got '
                                 f'{width} / {heads} heads')
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f'mask_ratio must lie in (0, 1), got {self.mask_ratio}')
        if min(self.enc_num_layers, self.dec_num_layers) < 1:
            raise ValueError('enc_num_layers and dec_num_layers must be at least 1, got '
                             f'{self.enc_num_layers} and {self.dec_num_layers}')
        if self.stem == 'conv' and self.patch_size not in (8, 16):
            raise ValueError(f"stem 'conv' needs patch_size 8 or 16, got {self.patch_size}")
        if not (math.isfinite(self.rope_base) and self.rope_base > 0):
            raise ValueError(f'rope_base must be positive and finite, got {self.rope_base}')

    @property
    def grid_hw(self) -> tuple[int, int]:
        """Patches along height and width of ``img_size``."""
        return tuple(side // self.patch_size for side in self.img_size)


class EncoderFeatures(NamedTuple):
    """What the encoder knows of one image."""

    tokens: list[Tensor]          # output of each block (B, N, E); only the last is normalised
    stem: list[Tensor]            # maps at 1/4 and 1/8 (B, C, h, w); empty for stem 'patch'
    grid_hw: tuple[int, int]      # patches along height and width


class CompletionOutput(NamedTuple):
    """Result of cross-view completion."""

    patches: Tensor               # (B, N, 3 p p): row, column, channel within a patch
    mask: Tensor                  # (B, N) bool, True = hidden


class CroCoEncoder(nn.Module):
    """ViT encoder, the same for both views (croco.md 1.2 and 1.6)."""

    def __init__(self, config: CroCoConfig):
        super().__init__()
        self.config = config
        dim = config.enc_embed_dim
        self.patch_embed = PatchEmbed(config.patch_size, dim) if config.stem == 'patch' \
            else ConvStem(config.patch_size, dim, config.stem_dims)
        self.rope = _rope(config, dim // config.enc_num_heads)
        self.blocks = nn.ModuleList(EncoderBlock(dim, config.enc_num_heads, config.mlp_ratio)
                                    for _ in range(config.enc_num_layers))
        self.norm = nn.LayerNorm(dim, EPS)
        if config.position == 'cosine':
            self.register_buffer('pos_embed', cosine_table(dim, config.grid_hw))
        _initialise(self, config)

    def forward(self, image: Tensor, mask: Tensor | None = None) -> EncoderFeatures:
        """
        Encode images.

        :param image: (B, 3, H, W) float, normalised; sides are multiples of the patch size.
        :param mask: (B, N) bool, True = hidden, the same count in each row. Hidden patches are
            dropped before the first block; a conv stem sees them as zeros.
        :raises ValueError: If the size or the mask does not fit.
        """
        grid_hw = self._grid(image)
        if mask is not None:
            _check_mask(mask, len(image), grid_hw)
            image = _blank(image, mask, grid_hw) if self.config.stem == 'conv' else image
        x, stem = self.patch_embed(image)
        x = x.flatten(2).transpose(1, 2)                        # (B, N, E)
        if self.rope is None:
            x = x + self.pos_embed
        table = None if self.rope is None else self.rope(grid_hw, x.device)
        if mask is not None:
            x = _visible(x, mask)
            table = None if table is None else tuple(
                _visible(t.expand(len(mask), -1, -1), mask)[:, None] for t in table)
        tokens = []
        for block in self.blocks:
            x = block(x, table)
            tokens.append(x)
        tokens[-1] = self.norm(x)
        return EncoderFeatures(tokens, stem, grid_hw)

    def _grid(self, image: Tensor) -> tuple[int, int]:
        rows, cols = (int(side) for side in image.shape[-2:])   # tracing makes them tensors
        patch = self.config.patch_size
        if self.rope is None and (rows, cols) != tuple(self.config.img_size):
            raise ValueError(f'cosine positions need images of {self.config.img_size} (H, W), '
                             f'got {(rows, cols)}')
        if rows % patch or cols % patch:
            raise ValueError(f'image sides must be multiples of {patch}, got {(rows, cols)}')
        return rows // patch, cols // patch


class CroCoDecoder(nn.Module):
    """Decoder: the first view's tokens look at the second view's (croco.md 1.7)."""

    def __init__(self, config: CroCoConfig, completes: bool = False):
        """
        Create the layers.

        :param completes: Whether a mask token stands in for hidden patches (pre-training).
        """
        super().__init__()
        dim = config.dec_embed_dim
        self.embed = nn.Linear(config.enc_embed_dim, dim)
        self.rope = _rope(config, dim // config.dec_num_heads)
        self.blocks = nn.ModuleList(
            DecoderBlock(dim, config.dec_num_heads, config.mlp_ratio, config.norm_memory)
            for _ in range(config.dec_num_layers))
        self.norm = nn.LayerNorm(dim, EPS)
        if config.position == 'cosine':
            self.register_buffer('pos_embed', cosine_table(dim, config.grid_hw))
        _initialise(self, config)
        if completes:
            self.mask_token = nn.Parameter(torch.empty(1, 1, dim))
            nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, target: Tensor, reference: Tensor, grid_hw: tuple[int, int],
                mask: Tensor | None = None) -> list[Tensor]:
        """
        Decode the target view with the reference view as memory.

        :param target: (B, N, E) last encoder tokens; with ``mask`` the visible ones only.
        :param reference: (B, N, E) last encoder tokens of the other view.
        :param mask: (B, N) bool, True = hidden.
        :return: Output of each block (B, N, D), the last one normalised.
        """
        x, memory = self.embed(target), self.embed(reference)
        if mask is not None:
            x = self._fill(x, mask)
        if self.rope is None:
            x, memory = x + self.pos_embed, memory + self.pos_embed
        table = None if self.rope is None else self.rope(grid_hw, x.device)
        outputs = []
        for block in self.blocks:
            x = block(x, memory, table, table)
            outputs.append(x)
        outputs[-1] = self.norm(x)
        return outputs

    def _fill(self, visible: Tensor, mask: Tensor) -> Tensor:
        full = self.mask_token.to(visible.dtype).repeat(*mask.shape, 1)
        index = _visible_index(mask)[..., None].expand_as(visible)
        return full.scatter(1, index, visible)


class CroCo(nn.Module):
    """The pre-training model: encoder, decoder and a linear head to pixels (croco.md 1.8)."""

    def __init__(self, config: CroCoConfig):
        super().__init__()
        self.config = config
        self.encoder = CroCoEncoder(config)
        self.decoder = CroCoDecoder(config, completes=True)
        self.head = nn.Linear(config.dec_embed_dim, 3 * config.patch_size ** 2)
        initialise(self.head)

    def forward(self, target: Tensor, reference: Tensor,
                mask: Tensor | None = None) -> CompletionOutput:
        """
        Rebuild the hidden part of the target with the help of the reference.

        :param target: (B, 3, H, W) float, normalised; ``reference`` alike.
        :param mask: (B, N) bool, True = hidden; None draws one.
        """
        if mask is None:
            num_patches = target.shape[-2] * target.shape[-1] // self.config.patch_size ** 2
            mask = random_mask(target.shape[0], num_patches, self.config.mask_ratio,
                               target.device)
        encoded = self.encoder(target, mask)
        memory = self.encoder(reference).tokens[-1]
        decoded = self.decoder(encoded.tokens[-1], memory, encoded.grid_hw, mask)
        return CompletionOutput(self.head(decoded[-1]), mask)


def random_mask(batch: int, num_patches: int, ratio: float, device: torch.device | None = None,
                generator: torch.Generator | None = None) -> Tensor:
    """
    Draw which patches are hidden: (batch, num_patches) bool with int(ratio * N) True each.

    One argsort of uniform numbers gives a permutation; its entries below the count are hidden
    (croco.md 1.5).
    """
    noise = torch.rand((batch, num_patches), generator=generator, device=device)
    return noise.argsort(1) < int(ratio * num_patches)


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """Cut (B, 3, H, W) into (B, N, 3 p p), ordered row, column, channel within a patch."""
    x = image.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int, grid_hw: tuple[int, int]) -> Tensor:
    """Undo `patchify`: (B, N, 3 p p) to (B, 3, H, W)."""
    x = patches.unflatten(2, (patch_size, patch_size, 3)).unflatten(1, grid_hw)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def _rope(config: CroCoConfig, head_dim: int) -> RoPE2D | None:
    return RoPE2D(head_dim, config.rope_base) if config.position == 'rope' else None


def _initialise(module: nn.Module, config: CroCoConfig) -> None:
    module.apply(initialise)
    if config.residual_init == 'zero':
        for block in module.blocks:
            for layer in block.branches():
                nn.init.zeros_(layer.weight)


def _check_mask(mask: Tensor, batch: int, grid_hw: tuple[int, int]) -> None:
    expected = (batch, grid_hw[0] * grid_hw[1])
    if tuple(mask.shape) != expected or mask.dtype != torch.bool:
        raise ValueError(f'a mask must be bool of shape {expected}, got {mask.dtype} of '
                         f'{tuple(mask.shape)}')
    counts = mask.sum(1)
    if (counts != counts[0]).any():   # a ragged mask would let hidden patches through
        raise ValueError(f'a mask must hide equally many patches in each row, got '
                         f'{counts.tolist()}')


def _visible_index(mask: Tensor) -> Tensor:
    """Return the indices (B, V) of the visible patches, in row-major order."""
    num_visible = int((~mask[0]).sum())
    return mask.to(torch.uint8).argsort(dim=1, stable=True)[:, :num_visible]


def _visible(tokens: Tensor, mask: Tensor) -> Tensor:
    index = _visible_index(mask)[..., None].expand(-1, -1, tokens.shape[-1])
    return tokens.gather(1, index)


def _blank(image: Tensor, mask: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    keep = (~mask).view(-1, 1, *grid_hw).to(image.dtype)
    return image * nn.functional.interpolate(keep, image.shape[-2:], mode='nearest')
