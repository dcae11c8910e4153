# SPDX-License-Identifier: Apache-2.0
"""Losses of dense matching: L1 on every estimate, Laplace likelihood for the doubt."""
import torch
from torch import Tensor

MAX_ERROR_PX = 60.0   # beyond it a pixel is an outlier: its gradient must not drown the others


def matching_loss(prediction, truth: Tensor, weight: Tensor | None = None,
                  decay: float = 0.6) -> dict[str, Tensor]:
    """
    Compare a prediction and its earlier estimates with the truth.

    The end-point error is weighted by ``decay`` per step back, as in RAFT (Teed and Deng 2020,
    eq. 7). The scale b of a Laplace distribution is fitted to the errors as they are:
    ``log b + |error| / b``, whose minimum is b = E|error|; the error is detached, so that doubt
    never excuses a wrong match.

    :param prediction: A `Prediction`; value (B, C, H, W) [px].
    :param truth: (B, C, H, W) [px]; NaN where unknown.
    :param weight: (B, 1, H, W) >= 0, e.g. lower where occluded.
    :return: ``loss`` to minimise; ``epe`` [px] and ``nll`` of the final estimate, detached.
    """
    valid = torch.isfinite(truth).all(1, keepdim=True)
    target = torch.where(valid, truth, 0.0)
    weight = valid.float() if weight is None else weight * valid
    total = weight.sum().clamp(min=1.0)

    def mean(error: Tensor) -> Tensor:
        return (error * weight).sum() / total

    errors = [end_point_error(value.float(), target)
              for value in (*prediction.intermediate, prediction.value)]
    loss = sum(decay ** (len(errors) - 1 - i) * mean(error.clamp(max=MAX_ERROR_PX))
               for i, error in enumerate(errors))
    final = errors[-1].detach()
    log_scale = prediction.log_scale.float()
    nll = mean(log_scale + final * torch.exp(-log_scale))
    return {'loss': loss + 0.2 * nll, 'epe': mean(final).detach(), 'nll': nll.detach()}


def end_point_error(value: Tensor, target: Tensor) -> Tensor:
    """Return the length of the difference over channels: (B, C, H, W) -> (B, 1, H, W)."""
    difference = value - target
    if difference.shape[1] == 1:
        return difference.abs()
    return (difference.square().sum(1, keepdim=True) + 1e-6).sqrt()
