# SPDX-License-Identifier: Apache-2.0
"""Masks over the patches of an image, and images cut into patches (croco.md 1.5 and 1.8)."""
import torch
from torch import nn, Tensor


def random_mask(batch: int, num_patches: int, ratio: float, device: torch.device | None = None,
                generator: torch.Generator | None = None) -> Tensor:
    """
    Draw which patches are hidden: (batch, num_patches) bool with int(ratio * N) True each.

    One argsort of uniform numbers gives a permutation; its entries below the count are hidden
    (croco.md 1.5).
    """
    noise = torch.rand((batch, num_patches), generator=generator, device=device)
    return mask_from_noise(noise, ratio)


def mask_from_noise(noise: Tensor, ratio: float) -> Tensor:
    """Turn uniform numbers (B, N) into a mask; as `random_mask`."""
    return noise.argsort(1) < int(ratio * noise.shape[1])


def patchify(image: Tensor, patch_size: int) -> Tensor:
    """Cut (B, 3, H, W) into (B, N, 3 p p), ordered row, column, channel within a patch."""
    x = image.unfold(2, patch_size, patch_size).unfold(3, patch_size, patch_size)
    return x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)


def unpatchify(patches: Tensor, patch_size: int, grid_hw: tuple[int, int]) -> Tensor:
    """Undo `patchify`: (B, N, 3 p p) to (B, 3, H, W)."""
    x = patches.unflatten(2, (patch_size, patch_size, 3)).unflatten(1, grid_hw)
    return x.permute(0, 5, 1, 3, 2, 4).flatten(4).flatten(2, 3)


def count_visible(mask: Tensor, image: Tensor, grid_hw: tuple[int, int]) -> int:
    """
    Return how many patches each row of a mask shows; the host waits for the device.

    :raises ValueError: If the mask does not fit the images or hides unequal numbers.
    """
    expected = (len(image), grid_hw[0] * grid_hw[1])
    if tuple(mask.shape) != expected or mask.dtype != torch.bool:
        raise ValueError(f'a mask must be bool of shape {expected}, got {mask.dtype} of '
                         f'{tuple(mask.shape)}')
    counts = mask.sum(1).tolist()
    if len(set(counts)) > 1:   # a ragged mask would let hidden patches through
        raise ValueError(f'a mask must hide equally many patches in each row, got {counts}')
    return expected[1] - counts[0]


def visible_index(mask: Tensor, num_visible: int) -> Tensor:
    """Return the indices (B, V) of the visible patches, in row-major order."""
    num_patches = int(mask.shape[1])   # tracing makes it a tensor
    order = torch.arange(num_patches, device=mask.device) + num_patches * mask
    return order.topk(num_visible, largest=False).values   # no ties: hidden ones come last


def blank(image: Tensor, mask: Tensor, grid_hw: tuple[int, int]) -> Tensor:
    """Set the hidden patches of (B, 3, H, W) images to zero."""
    keep = (~mask).view(-1, 1, *grid_hw).to(image.dtype)
    return image * nn.functional.interpolate(keep, image.shape[-2:], mode='nearest')
