# SPDX-License-Identifier: Apache-2.0
"""How sure a mean over the frames of a recording is."""
from dataclasses import dataclass

import numpy as np

RESAMPLES = 4000
LEVEL = 0.95
FEWEST = 5   # of fewer frames no interval can be told


@dataclass(frozen=True)
class Interval:
    """A mean and where it lies in 95 of 100 resamples; NaN limits with too few values."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Tell whether the whole interval lies on one side of zero."""
        return bool(self.low > 0 or self.high < 0)


def block_bootstrap(values: np.ndarray, seed: int = 0) -> Interval:
    """
    Return the 95 % interval of the mean of a series.

    Frames that follow each other err alike, so blocks of n^(1/3) of them are drawn, with
    replacement, from the series closed to a ring.

    :param values: (N,) in the order of time, finite.
    :param seed: The same series and seed give the same interval.

    Source: Politis and Romano, A Circular Block-Resampling Procedure for Stationary Data, 1992;
    length of the blocks: Hall, Horowitz and Jing, Biometrika 1995.
    """
    values = np.asarray(values, np.float64)
    count = len(values)
    mean = float(values.mean()) if count else float('nan')
    if count < FEWEST:
        return Interval(mean, float('nan'), float('nan'))
    length = int(np.ceil(count ** (1 / 3)))
    num_blocks = -(-count // length)
    starts = np.random.default_rng(seed).integers(0, count, (RESAMPLES, num_blocks))
    drawn = (starts[..., None] + np.arange(length)) % count
    means = values[drawn.reshape(RESAMPLES, -1)[:, :count]].mean(axis=1)
    low, high = np.quantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Interval(mean, float(low), float(high))
