# SPDX-License-Identifier: Apache-2.0
"""
The losses that CroCo-Stereo and CroCo-Flow are trained with, by their official names.

All but ``L1Loss`` are the negative logarithm of a Laplace density with the scale b that a pixel's
raw confidence c stands for (larger c, more doubt), without its constant log 2.

Source: croco.md 6.1 and 6.2; Weinzaepfel et al., CroCo v2, ICCV 2023.
"""
from collections.abc import Callable
from dataclasses import dataclass
import math

from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.networks.official_file import parse_call
import torch
from torch import Tensor


@dataclass(frozen=True)
class Criterion:
    """
    A loss by name with its arguments; `criterion` and `parse_criterion` fill in the defaults.

    ``a`` and ``b`` bound the scale: ``LaplacianLossBounded`` keeps b_Laplace [px] in (a, b),
    ``LaplacianLossBounded2`` keeps its logarithm in (-a, a), reached over a range b of c.
    """

    name: str
    max_gtnorm: float | None = None   # [px] truth of this length or more is left out
    a: float | None = None
    b: float | None = None

    def __post_init__(self):
        """Refuse a name or arguments that make no loss."""
        _check_name(self.name)
        for key in ('max_gtnorm', 'a', 'b'):
            value = getattr(self, key)
            if value is not None or key in CRITERIA[self.name]:
                _check_argument(self.name, key, value)
        if self.name == 'LaplacianLossBounded' and not self.a < self.b:
            raise ConfigError(f'{self.name} needs a < b, got a={self.a:g}, b={self.b:g}')

    @property
    def has_scale(self) -> bool:
        """Tell whether the network has a channel of confidence for this loss."""
        return self.name in LOG_SCALES

    def log_scale(self, raw: Tensor) -> Tensor:
        """
        Map raw confidence to the logarithm of the Laplace scale.

        :param raw: (B, 1, H, W).
        :return: (B, 1, H, W) [log px].
        :raises ConfigError: If this loss has no scale.
        """
        if not self.has_scale:
            raise ConfigError(f'{self.name} has no confidence')
        return LOG_SCALES[self.name](raw, self.a, self.b)

    def __call__(self, value: Tensor, raw: Tensor | None, truth: Tensor) -> Tensor:
        """
        Return the mean loss over the valid pixels of the batch; NaN without one.

        :param value: (B, C, H, W) [px], disparity (C = 1) or flow (C = 2).
        :param raw: (B, 1, H, W), raw confidence; not used by ``L1Loss``.
        :param truth: (B, C, H, W) [px]; infinite or NaN where unknown.
        :raises ConfigError: If the loss needs a confidence and there is none.
        """
        if not self.has_scale:
            return l1_loss(value, truth, self.max_gtnorm)
        if raw is None:
            raise ConfigError(f'{self.name} needs a network with confidence; use L1Loss')
        return laplace_loss(value, self.log_scale(raw.float()), truth, self.max_gtnorm)


def l1_loss(value: Tensor, truth: Tensor, max_gtnorm: float | None = None) -> Tensor:
    """
    Return the mean absolute error over all components of the valid pixels.

    :param value: (B, C, H, W) [px].
    :param truth: (B, C, H, W) [px]; infinite or NaN where unknown.
    """
    valid = valid_pixels(truth, max_gtnorm)
    return _l1(value, truth, valid)[valid].mean() / truth.shape[1]


def laplace_loss(value: Tensor, log_scale: Tensor, truth: Tensor,
                 max_gtnorm: float | None = None) -> Tensor:
    """
    Return the mean of r / b + log b, r = |error| summed over the components.

    :param value: (B, C, H, W) [px].
    :param log_scale: (B, 1, H, W), log b [log px]; one for both components of a flow.
    :param truth: (B, C, H, W) [px]; infinite or NaN where unknown.
    """
    valid = valid_pixels(truth, max_gtnorm)
    error, log_b = _l1(value, truth, valid)[valid], log_scale[:, 0].float()[valid]
    return (error / log_b.exp() + log_b).mean()


def valid_pixels(truth: Tensor, max_gtnorm: float | None = None) -> Tensor:
    """
    Tell where the truth is known and, where a limit is given, below it.

    :param truth: (B, C, H, W) [px]; infinite or NaN where unknown.
    :return: (B, H, W) bool.
    """
    valid = torch.isfinite(truth).all(dim=1)
    if max_gtnorm is None:
        return valid
    size = truth[:, 0] if truth.shape[1] == 1 else truth.norm(dim=1)   # disparity: signed
    return valid & (size < max_gtnorm)


def criterion(name: str, **arguments: float | None) -> Criterion:
    """
    Make a loss; what is not given has its official default.

    :param name: One of `CRITERIA`.
    :raises ConfigError: If there is none of that name, or with such an argument.
    """
    _check_name(name)
    for key, value in arguments.items():
        _check_argument(name, key, value)
    return Criterion(name, **{**CRITERIA[name], **arguments})


def parse_criterion(text: str) -> Criterion:
    """
    Read the string that an official checkpoint names its loss by; nothing of it is run.

    :param text: Such as ``LaplacianLossBounded2(max_gtnorm=None, a=3.0, b=3.0)``.
    :raises CheckpointError: If it is anything but a known name with numbers or None.
    """
    try:
        name, positional, named = parse_call(text)
    except CheckpointError as error:
        raise CheckpointError(f"'{text[:80]}' is no loss such as LaplacianLoss()") from error
    try:
        _check_name(name)
        takes = CRITERIA[name]
        given = dict(zip(takes, positional))
        if len(positional) > len(takes) or given.keys() & named.keys():
            raise ConfigError(f'{name} takes {", ".join(takes)}, each once')
        return criterion(name, **given, **named)
    except ConfigError as error:
        raise CheckpointError(f"cannot read the loss '{text}': {error}") from error


def _check_name(name: str) -> None:
    if name not in CRITERIA:
        raise ConfigError(f"unknown loss '{name}'; known: {', '.join(CRITERIA)}")


def _check_argument(name: str, key: str, value: float | None) -> None:
    if key not in CRITERIA[name]:
        raise ConfigError(f"loss {name} takes {', '.join(CRITERIA[name])}; got '{key}'")
    if value is None and key == 'max_gtnorm':
        return   # no limit
    if isinstance(value, bool) or not isinstance(value, (int, float)) \
            or not 0 < value < math.inf:
        raise ConfigError(f"loss {name}: '{key}' must be a number above 0, got {value!r}")


def _l1(value: Tensor, truth: Tensor, valid: Tensor) -> Tensor:
    """Return (B, H, W); where the truth is unknown its infinity must not reach a gradient."""
    target = torch.where(valid[:, None], truth, torch.zeros_like(truth))
    return (target - value.float()).abs().sum(dim=1)


def _exponential(raw: Tensor, a: None, b: None) -> Tensor:
    return raw


def _bounded(raw: Tensor, a: float, b: float) -> Tensor:
    return ((b - a) * raw.sigmoid() + a).log()


def _bounded_logarithm(raw: Tensor, a: float, b: float) -> Tensor:
    return 2 * a * ((raw / b).sigmoid() - 0.5)


# official name -> argument -> default
CRITERIA: dict[str, dict[str, float | None]] = {
    'L1Loss': {'max_gtnorm': None},
    'LaplacianLoss': {'max_gtnorm': None},
    'LaplacianLossBounded': {'max_gtnorm': 10_000.0, 'a': 0.25, 'b': 4.0},
    'LaplacianLossBounded2': {'max_gtnorm': None, 'a': 3.0, 'b': 3.0},
}
# official name -> log b [log px] of raw confidence and (a, b)
LOG_SCALES: dict[str, Callable[..., Tensor]] = {
    'LaplacianLoss': _exponential,
    'LaplacianLossBounded': _bounded,
    'LaplacianLossBounded2': _bounded_logarithm,
}
