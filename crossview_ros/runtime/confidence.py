# SPDX-License-Identifier: Apache-2.0
"""How sure a prediction is: the probability that its error stays below a pixel."""
import numpy as np

ERROR_PX = 1.0   # the contract's bound on the error, at the input's resolution


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
