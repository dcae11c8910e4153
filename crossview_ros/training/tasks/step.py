# SPDX-License-Identifier: Apache-2.0
"""What the loop asks of a task, and what the task gives it for each batch."""
from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from torch import nn, Tensor


class StepOutput(NamedTuple):
    """Loss to minimise, and detached scalars to log; a name ends in its unit."""

    loss: Tensor
    scalars: dict[str, Tensor]


class Task(Protocol):
    """One way to train: which network, on which batches, by which loss."""

    architecture: type     # of the network's ``config``
    batches: type          # made of a folder of records, the run's config and the architecture
    score_name: str        # what ``score`` returns, with its unit

    def build(self) -> nn.Module:
        """Make the network, with an attribute ``config``."""

    def records_config(self) -> Any:
        """Say what is to be rendered; its type decides the kind of record."""

    def step(self, model: nn.Module, batch: dict[str, Tensor]) -> StepOutput:
        """Compute the loss of one batch."""

    def validate(self, model: nn.Module, batches: Iterable[dict[str, Tensor]]) -> dict[str, float]:
        """Measure the held-out batches."""

    def score(self, metrics: dict[str, float]) -> float:
        """Return what the best checkpoint minimises."""
