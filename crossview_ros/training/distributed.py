# SPDX-License-Identifier: Apache-2.0
"""The engine of several processes, on one computer or more: DDP or FSDP by Lightning Fabric."""
import contextlib
import os
from typing import Any, Literal

from crossview_ros.errors import ConfigError
from crossview_ros.training.blocks import transformer_blocks
from crossview_ros.training.engine import Engine, Precision
import torch
from torch import nn, Tensor
from torch.distributed.tensor import distribute_tensor, DTensor
from torch.utils._pytree import tree_map


class FabricEngine(Engine):
    """
    One of the processes that torchrun started; keeps the connection to the others.

    DDP keeps the whole network in each process; FSDP spreads weights, gradients and optimizer
    over the processes, block by block (`fully_shard`).
    """

    def __init__(self, device: str, precision: Precision, strategy: Literal['ddp', 'fsdp']):
        """
        Join the other processes.

        :param device: 'cpu' (gloo) or 'cuda' (nccl, one device for each process).
        :raises ConfigError: If Lightning Fabric is missing or cannot do what is asked for.
        """
        if precision == 'fp16' and strategy == 'fsdp':
            raise ConfigError("precision fp16 needs engine.strategy 'ddp'; with 'fsdp' use bf16")
        try:
            from lightning_fabric import Fabric
            from lightning_fabric.strategies import DDPStrategy, ModelParallelStrategy
        except ImportError as error:
            raise ConfigError('several processes need Lightning Fabric: install crossview_ros '
                              'with the extra [train], or start one process') from error
        world = int(os.environ['WORLD_SIZE'])
        local = int(os.environ.get('LOCAL_WORLD_SIZE', world))
        self.sharded = strategy == 'fsdp'
        self._fabric = Fabric(
            accelerator=device, devices=local, num_nodes=world // local,
            strategy=ModelParallelStrategy(_shard, world, 1) if self.sharded
            else DDPStrategy())
        self._fabric.launch()
        super().__init__(self._fabric.device, precision)
        self.rank, self.local_rank = self._fabric.global_rank, self._fabric.local_rank
        self.world_size = world

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module under DDP, or spread its weights."""
        return self._fabric.setup_module(module)

    def keeping_gradients(self, module: nn.Module,
                          keep: bool) -> contextlib.AbstractContextManager:
        """Leave the exchange of gradients to a later backward pass."""
        return self._fabric.no_backward_sync(module, keep)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a loss, averaged over the processes."""
        self._fabric.backward(self.scaler.scale(loss))

    def greatest(self, *values: float) -> list[float]:
        """Return the greatest of each value over the processes."""
        shared = torch.tensor(values, dtype=torch.float64, device=self.device)
        return self._fabric.all_reduce(shared, reduce_op='max').tolist()

    def mean(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Average scalars over the processes."""
        shared = torch.stack([value.detach().double() for value in values.values()])
        return dict(zip(values, self._fabric.all_reduce(shared, reduce_op='mean').tolist()))

    def wait(self) -> None:
        """Wait for the other processes."""
        self._fabric.barrier()

    def whole(self, state: Any) -> Any:
        """Put spread tensors together in every process."""
        return tree_map(lambda value: value.full_tensor() if isinstance(value, DTensor)
                        else value, state)

    def spread(self, value: Tensor, like: Tensor) -> Tensor:
        """Cut a tensor as another one is cut."""
        value = value.to(like.device)
        if not isinstance(like, DTensor):
            return value
        return distribute_tensor(value, like.device_mesh, like.placements)


def _shard(module: nn.Module, mesh: Any) -> nn.Module:
    from torch.distributed.fsdp import fully_shard
    for block in transformer_blocks(module):
        fully_shard(block, mesh=mesh['data_parallel'])
    return fully_shard(module, mesh=mesh['data_parallel'])
