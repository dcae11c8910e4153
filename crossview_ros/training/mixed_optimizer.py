# SPDX-License-Identifier: Apache-2.0
"""One optimizer whose groups of parameters follow different rules."""
from collections.abc import Callable
from typing import Any

import torch

ALGORITHMS = {'adamw': torch.optim.AdamW, 'sgd': torch.optim.SGD}


class MixedOptimizer(torch.optim.Optimizer):
    """
    Steps AdamW groups and SGD groups together; state and groups are kept in one place.

    So a checkpoint, a schedule and a loss scale see one optimizer.
    """

    def __init__(self, groups: list[dict[str, Any]]):
        """
        Take the groups.

        :param groups: Each with ``params``, ``algorithm`` (of `ALGORITHMS`), ``lr`` and what
            else its algorithm takes; what is left out has PyTorch's default.
        """
        self._inner = {}
        for name, make in ALGORITHMS.items():
            own = [group for group in groups if group['algorithm'] == name]
            if own:
                self._inner[name] = make(own)   # fills the groups up
        super().__init__(groups, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with every group; groups without gradients stay as they are."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for name, optimizer in self._inner.items():
            # as they are now: loading a checkpoint replaces both
            optimizer.param_groups = [group for group in self.param_groups
                                      if group['algorithm'] == name]
            optimizer.state = self.state
            optimizer.step()
        return loss
