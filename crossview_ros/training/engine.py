# SPDX-License-Identifier: Apache-2.0
"""What a run asks of the hardware: device, precision, gradients, other processes."""
import contextlib
import os
from typing import Any, Literal

from crossview_ros.errors import ConfigError
import torch
from torch import nn, Tensor

DTYPES = {'bf16': torch.bfloat16, 'fp16': torch.float16}
Precision = Literal['fp32', 'bf16', 'fp16']


class Engine:
    """
    One process on one device; `distributed.FabricEngine` is the same for several.

    Keeps the loss scale of fp16 between steps. The methods that say "together" must be called
    by all processes of the run, in the same order.
    """

    rank = 0          # of all processes; 0 writes the run folder
    local_rank = 0    # on this computer; 0 prepares the records
    world_size = 1
    sharded = False   # whether each process has a part of the weights only

    def __init__(self, device: torch.device, precision: Precision = 'fp32'):
        self.device, self.precision = torch.device(device), precision
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == 'fp16')

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return what is to be called in the module's place; before optimizers are made."""
        return module

    def autocast(self) -> contextlib.AbstractContextManager:
        """Compute in the run's precision; weights and optimizer stay in fp32."""
        if self.precision == 'fp32':
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def keeping_gradients(self, module: nn.Module,
                          keep: bool) -> contextlib.AbstractContextManager:
        """Add up gradients here, without exchange: for all but the last part of a batch."""
        return contextlib.nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss."""
        self.scaler.scale(loss).backward()

    def update(self, optimizer: torch.optim.Optimizer, max_norm: float) -> tuple[Tensor, bool]:
        """
        Clip the gradient and take a step with it, unless it is not finite; together.

        :return: The norm of the whole gradient before clipping, and whether a step was taken.
        """
        self.scaler.unscale_(optimizer)
        parameters = [p for group in optimizer.param_groups for p in group['params']]
        norm = self.whole(nn.utils.clip_grad_norm_(parameters, max_norm))
        finite = bool(torch.isfinite(norm))   # one bad batch must not poison the weights
        if finite:
            self.scaler.step(optimizer)
        self.scaler.update()
        return norm, finite

    def greatest(self, *values: float) -> list[float]:
        """Return the greatest of each value over the processes, in float64; together."""
        return list(values)

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Average scalars over the processes; together."""
        return {name: float(value) for name, value in values.items()}

    def wait(self) -> None:
        """Wait for the other processes; together."""

    def whole(self, state: Any) -> Any:
        """Put tensors that are spread over the processes together, in nested values; together."""
        return state

    def spread(self, value: Tensor, like: Tensor) -> Tensor:
        """Put a whole tensor where another one is, spread the same way; together."""
        return value.to(like.device)


class Procedure(nn.Module):
    """
    Run a task with its network as one module.

    DDP and FSDP work in the ``forward`` of a module; tasks call several methods of a network.
    """

    def __init__(self, task: Any, model: nn.Module):
        super().__init__()
        self.task, self.model = task, model

    def forward(self, name: Literal['step', 'validate'], data: Any) -> Any:
        """Call a method of the task with the network."""
        return getattr(self.task, name)(self.model, data)


def open_engine(device: str, precision: Precision, strategy: Literal['ddp', 'fsdp']) -> Engine:
    """
    Choose the engine: that of one process, or that of the processes that torchrun started.

    :param device: 'auto', 'cpu' or 'cuda'.
    :raises ConfigError: If there is no such device, or the library for processes is missing.
    """
    if device == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--device cuda: torch finds no CUDA device; use --device cpu')
    if device == 'auto':
        device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if int(os.environ.get('WORLD_SIZE', '1')) == 1:
        return Engine(torch.device(device), precision)
    from crossview_ros.training.distributed import FabricEngine
    return FabricEngine(device, precision, strategy)
