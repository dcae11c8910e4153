# SPDX-License-Identifier: Apache-2.0
"""CroCo: encoder, decoder and the pre-training model that completes one view from another."""
from dataclasses import dataclass
import math
from typing import Literal, NamedTuple

from crossview_ros.networks.layers import (
    ConvStem, DecoderBlock, draw_normal, EncoderBlock, EPS, initialise, PatchEmbed)
from crossview_ros.networks.linear import Linear
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.patches import (
    blank, count_visible, random_mask, visible_index)
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
        sizes = {'img_size': min(self.img_size), **{name: getattr(self, name) for name in (
            'patch_size', 'mlp_ratio', 'enc_embed_dim', 'enc_num_layers', 'enc_num_heads',
            'dec_embed_dim', 'dec_num_layers', 'dec_num_heads')}}
        for name, size in sizes.items():
            if size <= 0:
                raise ValueError(f'{name} must be greater than 0, got {getattr(self, name)}')
        for width, heads in ((self.enc_embed_dim, self.enc_num_heads),
                             (self.dec_embed_dim, self.dec_num_heads)):
            if width % heads:
                raise ValueError(f'width {width} is not divisible by {heads} heads')
            if width // heads % 4 and self.position == 'rope':
                raise ValueError(f'RoPE needs head channels that are a multiple of 4, got '
                                 f'{width} / {heads} heads')
        if not 0 < self.mask_ratio < 1:
            raise ValueError(f'mask_ratio must lie in (0, 1), got {self.mask_ratio}')
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
    stem: list[Tensor]            # maps at 1/4, 1/8, 1/2 (B, C, h, w); none of stem 'patch'
    grid_hw: tuple[int, int]      # patches along height and width

    def first(self, count: int) -> 'EncoderFeatures':
        """Return those of the first images of the batch."""
        return EncoderFeatures([t[:count] for t in self.tokens], [s[:count] for s in self.stem],
                               self.grid_hw)


class CompletionOutput(NamedTuple):
    """Result of cross-view completion."""

    patches: Tensor               # (B, N, 3 p p): row, column, channel within a patch
    mask: Tensor                  # (B, N) bool, True = hidden


class _Embedded(NamedTuple):
    """An image ahead of the first block."""

    tokens: Tensor                        # (B, V, E) of the visible patches
    table: tuple[Tensor, Tensor] | None   # rotary, (N, d) or (B, 1, V, d)
    stem: list[Tensor]
    grid_hw: tuple[int, int]


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

    def forward(self, image: Tensor, mask: Tensor | None = None,
                num_visible: int | None = None) -> EncoderFeatures:
        """
        Encode images.

        :param image: (B, 3, H, W) float, normalised; sides are multiples of the patch size.
        :param mask: (B, N) bool, True = hidden, the same count in each row. Hidden patches are
            dropped before the first block; a conv stem sees them as zeros.
        :param num_visible: Patches that each row of the mask shows, where the caller knows it;
            None counts them, for which the host waits for the device.
        :raises ValueError: If the size or the mask does not fit.
        """
        x, table, stem, grid_hw = self._embed(image, mask, num_visible)
        tokens = []
        for block in self.blocks:
            x = block(x, [table], [int(x.shape[1])])
            tokens.append(x)
        tokens[-1] = self.norm(x)
        return EncoderFeatures(tokens, stem, grid_hw)

    def encode_pair(self, target: Tensor, reference: Tensor, mask: Tensor,
                    num_visible: int | None = None) -> tuple[Tensor, Tensor]:
        """
        Return the last tokens of a masked view and of a whole one, as `forward` would.

        Both go through the layers together: the few visible tokens alone would take the time in
        which the weights come from memory.
        """
        views = [self._embed(target, mask, num_visible), self._embed(reference)]
        lengths = [int(view.tokens.shape[1]) for view in views]
        x = torch.cat([view.tokens for view in views], 1)
        for block in self.blocks:
            x = block(x, [view.table for view in views], lengths)
        return self.norm(x).split(lengths, 1)

    def _embed(self, image: Tensor, mask: Tensor | None = None,
               num_visible: int | None = None) -> '_Embedded':
        grid_hw = self._grid(image)
        index = None
        if mask is not None:
            index = visible_index(mask, num_visible or count_visible(mask, image, grid_hw))
            image = blank(image, mask, grid_hw) if self.config.stem == 'conv' else image
        x, stem = self.patch_embed(image)
        # (B, N, E); contiguous, since every later sum inherits the layout of its first term
        x = x.flatten(2).transpose(1, 2).contiguous()
        if self.rope is None:
            x = x + self.pos_embed
        table = None if self.rope is None else self.rope(grid_hw, x.device)
        if index is not None:
            x = x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
            table = None if table is None else tuple(t[index][:, None] for t in table)
        return _Embedded(x, table, stem, grid_hw)

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
        self.embed = Linear(config.enc_embed_dim, dim)
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
            draw_normal(self.mask_token, 0.02)

    def forward(self, target: Tensor, reference: Tensor | None, grid_hw: tuple[int, int],
                mask: Tensor | None = None) -> list[Tensor]:
        """
        Decode the target view with the reference view as memory.

        :param target: (B, N, E) last encoder tokens; with ``mask`` the visible ones only.
        :param reference: (B, N, E) last encoder tokens of the other view; None: the memory is the
            target view itself, as it enters the decoder.
        :param mask: (B, N) bool, True = hidden.
        :return: Output of each block (B, N, D), the last one normalised.
        """
        x = self.embed(target)
        if mask is not None:
            x = self._fill(x, mask)
        memory = x if reference is None else self.embed(reference)
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
        full = self.mask_token.to(visible.dtype).expand(*mask.shape, -1)
        index = visible_index(mask, visible.shape[1])[..., None]
        return full.scatter(1, index.expand(-1, -1, visible.shape[-1]), visible)


class CroCo(nn.Module):
    """The pre-training model: encoder, decoder and a linear head to pixels (croco.md 1.8)."""

    def __init__(self, config: CroCoConfig):
        super().__init__()
        self.config = config
        self.normalisation = Normalisation()
        self.encoder = CroCoEncoder(config)
        self.decoder = CroCoDecoder(config, completes=True)
        self.head = Linear(config.dec_embed_dim, 3 * config.patch_size ** 2)
        initialise(self.head)

    def forward(self, target: Tensor, reference: Tensor | None,
                mask: Tensor | None = None) -> CompletionOutput:
        """
        Rebuild the hidden part of the target with the help of the reference.

        :param target: (B, 3, H, W) float, normalised; ``reference`` alike, None as in `complete`.
        :param mask: (B, N) bool, True = hidden; None draws one.
        """
        num_visible = None
        if mask is None:
            num_patches = target.shape[-2] * target.shape[-1] // self.config.patch_size ** 2
            num_visible = num_patches - int(self.config.mask_ratio * num_patches)
            mask = random_mask(target.shape[0], num_patches, self.config.mask_ratio,
                               target.device)
        return self.complete(target, reference, mask, num_visible)

    def complete(self, target: Tensor, reference: Tensor | None, mask: Tensor,
                 num_visible: int | None = None) -> CompletionOutput:
        """
        Rebuild behind a mask; ``num_visible`` as in `CroCoEncoder.forward`.

        :param reference: None: nothing is known but the visible part of the target, which is
            masked modelling of one view.
        """
        if reference is None:
            visible = self.encoder(target, mask, num_visible).tokens[-1]
            memory = None
        else:
            visible, memory = self.encoder.encode_pair(target, reference, mask, num_visible)
        patch = self.config.patch_size
        grid_hw = int(target.shape[-2]) // patch, int(target.shape[-1]) // patch
        decoded = self.decoder(visible, memory, grid_hw, mask)
        return CompletionOutput(self.head(decoded[-1]), mask)


def _rope(config: CroCoConfig, head_dim: int) -> RoPE2D | None:
    return RoPE2D(head_dim, config.rope_base) if config.position == 'rope' else None


def _initialise(module: nn.Module, config: CroCoConfig) -> None:
    module.apply(initialise)
    if config.residual_init == 'zero':
        for block in module.blocks:
            for layer in block.branches():
                nn.init.zeros_(layer.weight)
