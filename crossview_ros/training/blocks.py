# SPDX-License-Identifier: Apache-2.0
"""What is done to a network block by block: recompute activations, compile, spread."""
from functools import partial

from crossview_ros.networks.layers import DecoderBlock, EncoderBlock
from crossview_ros.training.run_config import EngineConfig
from torch import nn
from torch.utils.checkpoint import checkpoint


def transformer_blocks(model: nn.Module) -> list[nn.Module]:
    """Return the blocks of encoder and decoder."""
    return [m for m in model.modules() if isinstance(m, (EncoderBlock, DecoderBlock))]


def prepare_blocks(model: nn.Module, config: EngineConfig) -> None:
    """Do what a run asks for, in the order that works."""
    if config.recompute:
        recompute_activations(model)
    if config.compiled:
        compile_blocks(model)


def recompute_activations(model: nn.Module) -> None:
    """
    Keep only the input of each block for the backward pass and compute the rest again.

    A third more computing for a fraction of the memory (Chen et al. 2016); same gradients.
    """
    for block in transformer_blocks(model):
        # blocks draw no random numbers, so that none need to be drawn again
        block.forward = partial(checkpoint, block.forward, use_reentrant=False,
                                preserve_rng_state=False)


def compile_blocks(model: nn.Module, backend: str = 'inductor') -> None:
    """
    Compile each block with torch.compile; all blocks of a kind share one result.

    The names of weights stay, and compiling takes seconds instead of minutes.
    """
    for block in transformer_blocks(model):
        block.compile(dynamic=False, backend=backend)
