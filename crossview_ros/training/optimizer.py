# SPDX-License-Identifier: Apache-2.0
"""Groups of parameters, the learning-rate schedule and the weight average."""
import math

from crossview_ros.training.mixed_optimizer import MixedOptimizer
from crossview_ros.training.run_config import OptimizerConfig, ParameterRule
import torch
from torch import nn


def make_optimizer(model: nn.Module, config: OptimizerConfig) -> torch.optim.Optimizer:
    """
    Group parameters by rule, by weight decay and by their share of the learning rate.

    Matrices and filters decay, vectors and scalars do not, unless ``decay_all``. The loop sets
    the rate of each group to its ``lr_scale`` times that of the step.

    :return: AdamW; a `MixedOptimizer` where the config has rules.
    """
    groups: dict[tuple, dict] = {}
    scales = layer_scales(model, config.layer_decay)
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    for name, parameter in sorted(named, key=lambda item: item[1].ndim <= 1):
        rule = next((rule for rule in config.rules if rule.part in name), None)
        decays = parameter.ndim > 1 or config.decay_all
        group = groups.setdefault((rule, scales[name], decays), {
            'params': [], **_settings(config, rule, decays),
            'lr_scale': scales[name] * (rule.lr_scale if rule else 1.0)})
        group['params'].append(parameter)
    if config.rules:
        return MixedOptimizer(list(groups.values()))
    fused = all(p.is_cuda for _, p in named)   # one kernel in place of thousands
    return torch.optim.AdamW(list(groups.values()), lr=config.lr, betas=config.betas,
                             fused=fused or None)


def _settings(config: OptimizerConfig, rule: ParameterRule | None, decays: bool) -> dict:
    """Return what a group has of its own."""
    decay = config.weight_decay
    if rule is not None and rule.weight_decay is not None:
        decay = rule.weight_decay
    settings = {'weight_decay': decay if decays else 0.0}
    if not config.rules:
        return settings
    if rule is not None and rule.algorithm == 'sgd':
        return {**settings, 'algorithm': 'sgd', 'lr': config.lr, 'momentum': rule.momentum}
    return {**settings, 'algorithm': 'adamw', 'lr': config.lr,
            'betas': rule.betas if rule and rule.betas else config.betas}


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
    Return the learning rate.

    'cosine': a linear warm-up, then half a cosine down to the end of the plan. 'onecycle': half
    a cosine up to the peak and half a cosine down to almost nothing. 'exponential': the warm-up,
    then a constant share less with every epoch, whatever the plan.

    :param step: Optimizer steps taken.
    :param done: As ``step``, or more where minutes will end the run before its steps do.
    :param planned: Steps after which the rate is at its lowest.
    :param batch_size: Samples a step; counts where the rate is given per 256 samples.

    Source: croco.md 7; simipu.md 8 and 11; Smith and Topin, Super-Convergence, 2018.
    """
    peak = config.lr if config.lr_per_256 is None else config.lr_per_256 * batch_size / 256
    if config.schedule == 'onecycle':
        return _one_cycle(config, peak, done, planned)
    if step < config.warmup_steps:
        return peak * step / config.warmup_steps
    if config.schedule == 'exponential':
        return peak * config.epoch_decay ** (step // config.epoch_steps)
    decay = (done - config.warmup_steps) / max(1, planned - config.warmup_steps)
    low = peak * config.min_lr_ratio
    return low + (peak - low) * 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, decay))))


def _one_cycle(config: OptimizerConfig, peak: float, done: float, planned: float) -> float:
    first = peak / config.start_divisor
    top, end = config.rise_share * planned - 1, planned - 1   # steps count from 0
    start, goal, share = (first, peak, done / top) if done < top else \
        (peak, first / config.end_divisor, (done - top) / (end - top))
    return goal + (start - goal) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


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
