# SPDX-License-Identifier: Apache-2.0
"""AdamW parameter groups, the learning-rate schedule and the weight average."""
import math

from crossview_ros.training.run_config import OptimizerConfig
import torch
from torch import nn


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    """
    Group parameters by weight decay and by their share of the learning rate.

    Matrices and filters decay, vectors and scalars do not. The loop sets the rate of each group
    to its ``lr_scale`` times that of the step.
    """
    groups: dict[tuple[float, bool], dict] = {}
    scales = layer_scales(model, config.layer_decay)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in sorted(named, key=lambda item: item[1].ndim <= 1):
        decays = parameter.ndim > 1
        group = groups.setdefault((scales[name], decays), {
            'params': [], 'weight_decay': config.weight_decay if decays else 0.0,
            'lr_scale': scales[name]})
        group['params'].append(parameter)
    fused = all(p.is_cuda for _, p in named)   # one kernel in place of thousands
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas,
                             fused=fused or None)


def layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """
    Return the share of the learning rate that each parameter gets, by name.

    The embedding gets decay^(L + 1) for an encoder of L blocks, block i decay^(L - i), and all
    that follows 1 (layer-wise decay of Clark et al. 2020 as used for ViTs in BEiT).
    """
    names = [name for name, _ in model.named_parameters()]
    blocks = {name: int(name.split('.')[2]) for name in names
              if name.startswith('encoder.blocks.')}
    last = max(blocks.values(), default=-1)

    def distance(name: str) -> int:
        if name.startswith('encoder.patch_embed.'):
            return last + 2
        return last - blocks[name] + 1 if name in blocks else 0
    return {name: decay ** distance(name) for name in names}


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
        averages, values = [], []
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                averages.append(self.weights[name])
                values.append(value)
            else:
                self.weights[name].copy_(value)
        torch._foreach_lerp_(averages, values, 1 - decay)   # as torch.optim.swa_utils does
