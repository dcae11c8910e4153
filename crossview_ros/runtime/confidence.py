# SPDX-License-Identifier: Apache-2.0
"""How sure a prediction is: the probability that its error stays below a pixel."""
from crossview_ros.runtime.manifest import OutputSpec
import numpy as np

ERROR_PX = 1.0   # the contract's bound on the error, at the input's resolution


def laplace_log_scale(raw: np.ndarray, spec: OutputSpec) -> np.ndarray:
    """
    Turn what a network calls log_scale into log b of a Laplace distribution.

    :param raw: float32, any shape; grows with doubt, without unit.
    :param spec: Names the loss that defines b; `OutputSpec` has the formulas.
    :return: As ``raw``: log b [log of network px].

    Source: croco.md 6.2.
    """
    if spec.log_scale_range is None:
        return raw
    low, high = map(np.float32, spec.log_scale_range)
    if spec.log_scale == 'laplace_bounded':
        # sigmoid(c) = (1 + tanh(c / 2)) / 2, which never overflows
        return np.log(low + (high - low) * (1 + np.tanh(raw / 2)) / 2)
    return low * np.tanh(raw / (2 * high))


def laplace_confidence(log_scale: np.ndarray) -> np.ndarray:
    """
    Return P(|error| < 1 px) = 1 - exp(-1 / b) of a Laplace distribution with scale b.

    :param log_scale: (H, W) float32, log b [log px] at the input's resolution.
    :return: (H, W) float32 in [0, 1]; 0 where ``log_scale`` is NaN.
    """
    with np.errstate(over='ignore'):   # b -> 0 gives exp(inf): sure, as it should be
        inverse_scale = ERROR_PX * np.exp(-np.asarray(log_scale, np.float32))
    # not expm1, which is many times slower: 1e-7 of confidence mean nothing
    confidence = 1 - np.exp(-inverse_scale)
    return np.fmax(confidence, np.float32(0))   # of NaN and 0: 0
