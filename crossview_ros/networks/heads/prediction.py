# SPDX-License-Identifier: Apache-2.0
"""What every dense head returns."""
from typing import NamedTuple

from torch import Tensor


class Prediction(NamedTuple):
    """Dense output of a head, at the size of the network's input."""

    value: Tensor                     # (B, C, H, W) [px]: disparity (C = 1) or flow (C = 2)
    log_scale: Tensor | None          # (B, 1, H, W) raw, grows with doubt; the head says how
    intermediate: tuple[Tensor, ...] = ()   # earlier estimates like value, for training
