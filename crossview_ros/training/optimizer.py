# SPDX-License-Identifier: Apache-2.0
"""AdamW parameter groups, the learning-rate schedule and the weight average."""
import math

from crossview_ros.training.run_config import OptimizerConfig
import torch
from torch import nn


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """Group parameters by weight decay: matrices and filters decay, vectors and scalars do not."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    free = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{'params': decayed, 'weight_decay': config.weight_decay},
              {'params': free, 'weight_decay': 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas)


def learning_rate(config: OptimizerConfig, step: float, done: float, planned: float,
                  batch_size: int) -> float:
    """
    Return the learning rate: a linear warm-up, then half a cosine down to the end of the plan.

    :param step: Optimizer steps taken.
    :param done: As ``step``, or more where minutes will end the run before its steps do.
    :param planned: Steps after which the rate is at its lowest.
    :param batch_size: Samples a step; counts where the rate is given per 256 samples.

    Source: croco.md 7.
    """
    peak = config.lr if config.lr_per_256 is None else config.lr_per_256 * batch_size / 256
    if step < config.warmup_steps:
        return peak * step / config.warmup_steps
    decay = (done - config.warmup_steps) / max(1, planned - config.warmup_steps)
    low = peak * config.min_lr_ratio
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, decay))))


class WeightAverage:
    """Exponential moving average of a model's weights (Polyak averaging)."""

    def __init__(self, model: nn.Module, decay: float):
        self.decay = decay
        self.weights = {k: v.detach().clone() for k, v in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Blend in the current weights; early steps forget faster, so that zeros fade."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value, 1 - decay)
            else:
                self.weights[name].copy_(value)
