# SPDX-License-Identifier: Apache-2.0
"""Losses of monocular depth, in the logarithm: SigLoss (simipu.md 11), and L1 with doubt."""
from crossview_ros.networks.heads import Prediction
from crossview_ros.training.losses import matching_loss
import torch
from torch import Tensor

EPSILON_M = 1e-3      # keeps logarithms of small depths finite
MEAN_WEIGHT = 0.15    # how much of a wrong scale counts


def sig_loss(depth: Tensor, truth: Tensor, valid: Tensor | None = None,
             mean_only: bool = False) -> Tensor:
    """
    Return the root of variance plus weighted squared mean of the logarithmic error.

    :param depth: (B, 1, H, W) > 0 [m], of any shape that the truth has.
    :param truth: (B, 1, H, W) [m].
    :param valid: (B, 1, H, W) bool; None: where truth > 0 and finite.
    :param mean_only: Leave the variance out, as the official warm-up does.
    :return: Scalar; 0 with a gradient of 0 where fewer than two pixels are valid.

    Source: Eigen et al., Depth Map Prediction from a Single Image, NeurIPS 2014, eq. 4, with
    the unbiased variance and weights of simipu.md 11.
    """
    if valid is None:
        valid = truth.isfinite() & (truth > 0)
    error = torch.log(depth[valid] + EPSILON_M) - torch.log(truth[valid] + EPSILON_M)
    if error.numel() < 2:
        return 0 * depth.sum()
    mean = MEAN_WEIGHT ** 0.5 * error.mean()
    return mean.abs() if mean_only else (error.var() + mean.square()).sqrt()


def log_depth_loss(prediction: Prediction, truth: Tensor) -> dict[str, Tensor]:
    """
    Compare the logarithms of depths: an error of 10 % counts alike near and far.

    As `matching_loss`: L1, and a Laplace scale b of the logarithmic error, so that the depth's
    own scale is b times the depth [m]. The L1 of what is left after each image's mean error
    comes on top: where the scale of a view is hard to tell, its shape is learned nevertheless.

    :param prediction: Value (B, 1, H, W) > 0 [m]; log_scale (B, 1, H, W) is log b.
    :param truth: (B, 1, H, W) [m]; not finite or not above 0: unknown.
    :return: ``loss`` to minimise; ``epe``, the mean |logarithmic error|, and ``nll``, detached.
    """
    known = truth.isfinite() & (truth > 0)
    log_truth = torch.where(known, truth, torch.nan).log()
    log_depth = prediction.value.float().log()
    terms = matching_loss(prediction._replace(value=log_depth), log_truth)
    return {**terms, 'loss': terms['loss'] + shape_loss(log_depth, log_truth)}


def shape_loss(log_depth: Tensor, log_truth: Tensor) -> Tensor:
    """
    Return the mean of |logarithmic error - its mean over the image|, over all known pixels.

    :param log_depth: (B, 1, H, W); ``log_truth`` alike, NaN unknown.
    """
    known = log_truth.isfinite()
    error = torch.where(known, log_depth - torch.where(known, log_truth, 0.0), 0.0)
    count = known.sum((1, 2, 3), keepdim=True).clamp(min=1)
    rest = error - error.sum((1, 2, 3), keepdim=True) / count
    return (rest.abs() * known).sum() / known.sum().clamp(min=1)
