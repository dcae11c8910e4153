# SPDX-License-Identifier: Apache-2.0
"""The loss of cross-view completion, and the way from predicted patches back to an image."""
from crossview_ros.networks.patches import patchify, unpatchify
import torch
from torch import Tensor

EPS = 1e-6   # added to the variance of a patch, inside the root (croco.md 1.9)


def pixel_loss(patches: Tensor, truth: Tensor, mask: Tensor | None = None,
               normalised: bool = True) -> Tensor:
    """
    Return the mean squared error over the hidden patches of the whole batch (croco.md 1.9).

    :param patches: (B, N, 3 p p) predicted; ``truth`` the patches of the image itself.
    :param mask: (B, N) bool, True = hidden; None takes all patches.
    :param normalised: Compare with patches of zero mean and unit variance.
    """
    if normalised:
        mean, std = patch_statistics(truth)
        truth = (truth - mean) / std
    error = (patches - truth).square().mean(-1)
    return error.mean() if mask is None else (error * mask).sum() / mask.sum()


def patch_statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation (B, N, 1) of each patch; the variance is unbiased."""
    variance = patches.var(-1, keepdim=True)
    return patches.mean(-1, keepdim=True), (variance + EPS).sqrt()


def reconstruct(patches: Tensor, target: Tensor, patch_size: int, mask: Tensor | None = None,
                normalised: bool = True) -> Tensor:
    """
    Turn predicted patches into an image (B, 3, H, W) in the colours of the target.

    :param patches: (B, N, 3 p p) predicted.
    :param target: (B, 3, H, W) the true image, normalised as the network's input; normalised
        patches take their mean and contrast from it.
    :param mask: (B, N) bool, True = hidden; visible patches are shown as they are. None shows
        every patch as predicted.
    """
    truth = patchify(target, patch_size)
    if normalised:
        mean, std = patch_statistics(truth)
        patches = patches * std + mean
    if mask is not None:
        patches = torch.where(mask[..., None], patches, truth)
    grid_hw = target.shape[-2] // patch_size, target.shape[-1] // patch_size
    return unpatchify(patches, patch_size, grid_hw)
