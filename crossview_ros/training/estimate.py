# SPDX-License-Identifier: Apache-2.0
"""What a run will need: data, parameters, memory and time, before anything is written."""
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
import tempfile
import time
from typing import Any, NamedTuple

from crossview_ros.data.synthetic.dataset import KINDS
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.textures import make_atlas
from crossview_ros.training.batches import open_batches
from crossview_ros.training.blocks import prepare_blocks
from crossview_ros.training.engine import Engine, open_engine, Procedure
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.setup import build
from crossview_ros.training.tasks.step import Task
import numpy as np
import torch
from torch import nn, Tensor
from torch.utils.flop_counter import FlopCounterMode

STATES = 5    # fp32 copies of the weights: own, gradient, two moments of AdamW, average
PROBED = 2    # samples that are tried


class StepCost(NamedTuple):
    """What an optimizer step takes on this device, forwards and backwards."""

    step_s: float
    flop: int      # multiplications and additions of products and convolutions


def estimate(verb: str, config: RunConfig, device: str, threads: int = 0) -> dict[str, str]:
    """
    Try a step with two samples and scale what it takes to the run.

    :return: Lines of text by name.
    :raises CrossviewError: As `open_run`.
    """
    engine, task, model = _prepare(verb, config, device, threads)
    with tempfile.TemporaryDirectory() as folder:
        batches = _open_few(task, model, config, Path(folder))
        saved_bytes, step_s = _try_step(engine, Procedure(task, model), batches.training_batch(0))
    rows = config.micro_batch or config.batch_size
    count = sum(p.numel() for p in model.parameters())
    memory_gb = (4 * STATES * count + saved_bytes * rows / PROBED) / 1e9
    hours = config.steps * step_s * config.batch_size / PROBED / 3600
    limit = '' if config.max_minutes is None else f', ended after {config.max_minutes:g} min'
    return {'data': _data(config, batches),
            'parameters': f'{count:,}',
            'memory': f'about {memory_gb:.2f} GB: weights, gradients, AdamW and average '
                      f'{4e-9 * STATES * count:.2f} GB, activations of {rows} samples '
                      f'{saved_bytes * rows / PROBED / 1e9:.2f} GB',
            'time': f'about {timedelta(seconds=round(3600 * hours))} for {config.steps} steps '
                    f'on one {engine.device.type}{limit}'}


def step_cost(verb: str, config: RunConfig, device: str, threads: int = 0) -> StepCost:
    """
    Try a step of a whole batch: two samples, each as often as it takes.

    :raises CrossviewError: As `open_run`.
    """
    engine, task, model = _prepare(verb, config, device, threads)
    with tempfile.TemporaryDirectory() as folder:
        batch = _open_few(task, model, config, Path(folder)).training_batch(0)
    batch = {name: torch.cat([value] * -(-config.batch_size // PROBED))[:config.batch_size]
             .to(engine.device) for name, value in batch.items()}
    procedure = Procedure(task, model)
    with FlopCounterMode(display=False) as counter:
        _step(engine, procedure, batch)
    start_s = time.monotonic()
    _step(engine, procedure, batch)
    return StepCost(time.monotonic() - start_s, counter.get_total_flops())


def _prepare(verb: str, config: RunConfig, device: str,
             threads: int) -> tuple[Engine, Task, nn.Module]:
    if threads:
        torch.set_num_threads(threads)
    engine = open_engine(device, config.precision, config.engine.strategy)
    task, model = build(verb, config)
    model = model.to(engine.device)
    prepare_blocks(model, config.engine)
    return engine, task, model


def _try_step(engine: Engine, procedure: nn.Module,
              batch: dict[str, Tensor]) -> tuple[int, float]:
    """Return the bytes kept for the backward pass, and the seconds of the second of two steps."""
    batch = {name: value.to(engine.device) for name, value in batch.items()}
    kept: dict[int, int] = {}
    weights = {p.untyped_storage().data_ptr() for p in procedure.parameters()}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return value
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        _step(engine, procedure, batch)
    start_s = time.monotonic()
    _step(engine, procedure, batch)
    return sum(kept.values()), time.monotonic() - start_s


def _step(engine: Engine, procedure: nn.Module, batch: dict[str, Tensor]) -> None:
    with engine.autocast():
        loss = procedure('step', batch).loss
    loss.backward()
    float(loss.detach())   # waits for the device


def _open_few(task: Task, model: nn.Module, config: RunConfig, folder: Path) -> Any:
    """Open what lies on disk, or render two samples with few textures."""
    config = replace(config, batch_size=PROBED)
    if config.data.source != 'rendered':
        return open_batches(task, model, config, folder)[0]
    kind, size_hw = task.records_config(), config.data.size_hw
    render, stored = KINDS[type(kind)]
    with torch.inference_mode():
        fields = render(PROBED, size_hw, kind, make_atlas(8, 0, 'train'),
                        Draw(torch.Generator().manual_seed(0)))
    np.savez(folder / '00000.npz', **{
        name: (255 * fields[name] if dtype == np.uint8 else fields[name]).numpy().astype(dtype)
        for name, dtype in stored.items()})
    few = replace(config, data=replace(config.data, num_records=PROBED))
    return task.batches(folder, few, model.config)


def _data(config: RunConfig, batches: Any) -> str:
    """Say how many samples there are and how often the run shows each."""
    data, shown = config.data, config.steps * config.batch_size
    if data.source == 'rendered' and data.online:
        return f'{shown:,} rendered samples, each shown once; {data.num_validation} held out'
    count = data.num_records
    if data.source != 'rendered':
        views = getattr(batches, 'views', batches)   # of pairs, which add the masks
        count = data.epoch_size or len(views.training)
    return (f'{count:,} samples an epoch ({data.source}), {data.num_validation} held out; '
            f'{shown / count:.1f} epochs of {count / config.batch_size:.0f} steps')
