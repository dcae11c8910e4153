# SPDX-License-Identifier: Apache-2.0
"""What a task gives the loop for each batch."""
from typing import NamedTuple

from torch import Tensor


class StepOutput(NamedTuple):
    """Loss to minimise, and detached scalars to log; a name ends in its unit."""

    loss: Tensor
    scalars: dict[str, Tensor]
