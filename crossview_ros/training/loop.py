# SPDX-License-Identifier: Apache-2.0
"""The one training loop: steps, schedule, validation, checkpoints, log."""
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
import contextlib
import math
import time

from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import CheckpointError
from crossview_ros.training.optimizer import learning_rate, make_optimizer, WeightAverage
from crossview_ros.training.records import Batch
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks.step import Task
import torch
from torch import nn

Report = Callable[[dict], None]


class Trainer:
    """
    Everything a run keeps between steps; not for use by several threads.

    ``fit`` may be interrupted at any moment: the next Trainer with ``resume`` goes on from the
    newest checkpoint with the same data, since batches are a function of the step alone.
    """

    def __init__(self, config: RunConfig, model: nn.Module, task: Task, training, validation,
                 folder: RunFolder, report: Report):
        """
        Set up the optimizer.

        :param task: An entry of `TASKS`, made; ``training`` and ``validation`` are its batches.
        :param report: Called with each log record: a mapping of scalars, names end in units.
        """
        self.config, self.model, self.task, self.folder = config, model, task, folder
        self.training, self.validation, self.report = training, validation, report
        self.optimizer = make_optimizer(model, config.optimizer)
        self.average = WeightAverage(model, config.optimizer.ema_decay)
        self.step = 0
        self.elapsed_s = 0.0
        self.best_score = math.inf

    def resume(self) -> str:
        """Load the newest readable checkpoint of the folder and return its file name."""
        state, name = self.folder.load()
        # read strictly, so that settings which the file does not know have their defaults
        stored = to_dict(from_dict(RunConfig, state['config'], str(self.folder.path)))
        if stored != to_dict(self.config):
            changed = sorted(k for k in stored if stored[k] != to_dict(self.config)[k])
            raise CheckpointError(f'{self.folder.path} was trained with other settings '
                                  f'({", ".join(changed)}); resume with its own config.yaml')
        self.model.load_state_dict(state['model'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.average.weights = state['average']
        self.step, self.elapsed_s = state['step'], state['elapsed_s']
        self.best_score = state['best_score']
        return name

    def fit(self, leg_s: float = math.inf) -> None:
        """
        Train to the configured number of steps or minutes, whichever comes first.

        :param leg_s: Stop, with a checkpoint, after so many seconds of this call; the schedule
            goes on where the next Trainer resumes.
        """
        config = self.config
        self.model.train()
        end_s = time.monotonic() + leg_s
        for batch, wait_s in self._prefetched():
            start_s = time.monotonic()
            lr = self._learning_rate()
            scalars = self._optimize(batch, lr)
            self.step += 1
            self.elapsed_s += time.monotonic() - start_s + wait_s
            if self.step % config.log_every == 0 or self._done():
                self._log(scalars, lr, wait_s, time.monotonic() - start_s + wait_s)
            if self.step % config.validate_every == 0 or self._done():
                self.validate()
            leg_over = time.monotonic() > end_s
            if self.step % config.checkpoint_every == 0 or self._done() or leg_over:
                self.save()
            if leg_over:
                break

    def validate(self) -> dict[str, float]:
        """Measure the averaged weights on the held-out records."""
        start_s = time.monotonic()
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.weights)
        self.model.eval()
        # read before autocast begins: it knows no float64
        batches = list(self.validation.validation_batches(self.config.batch_size))
        with self._autocast():
            metrics = self.task.validate(self.model, map(self._on_device, batches))
        self.model.load_state_dict(own)
        self.model.train()
        self.elapsed_s += time.monotonic() - start_s
        self.best_score = min(self.best_score, self.task.score(metrics))
        record = {'step': self.step, **{f'val_{k}': v for k, v in metrics.items()}}
        self.folder.log(record)
        self.report(record)
        return metrics

    def save(self) -> None:
        """Write a checkpoint from which `resume` continues exactly."""
        self.folder.save({
            'config': to_dict(self.config), 'architecture': to_dict(self.model.config),
            'model': self.model.state_dict(), 'average': self.average.weights,
            'optimizer': self.optimizer.state_dict(), 'step': self.step,
            'elapsed_s': self.elapsed_s, 'best_score': self.best_score})

    def _optimize(self, batch: Batch, lr: float) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group['lr'] = lr
        with self._autocast():
            output = self.task.step(self.model, self._on_device(batch))
        self.optimizer.zero_grad(set_to_none=True)
        output.loss.backward()
        clip = self.config.optimizer.clip_norm or math.inf
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), clip)
        if torch.isfinite(norm):   # one bad batch must not poison the weights
            self.optimizer.step()
            self.average.update(self.model, self.step)
        return {'loss': float(output.loss.detach()), 'gradient_norm': float(norm),
                **{name: float(value) for name, value in output.scalars.items()}}

    def _on_device(self, batch: Batch) -> Batch:
        device = next(self.model.parameters()).device
        return {name: value.to(device) for name, value in batch.items()}

    def _autocast(self) -> contextlib.AbstractContextManager:
        if self.config.precision == 'fp32':
            return contextlib.nullcontext()
        device = next(self.model.parameters()).device.type
        return torch.autocast(device, dtype=torch.bfloat16)

    def _prefetched(self) -> Iterator[tuple[Batch, float]]:
        """Yield batches made one step ahead in a thread, with the seconds waited for each."""
        with ThreadPoolExecutor(1) as pool:
            upcoming = pool.submit(self.training.training_batch, self.step)
            while not self._done():
                start_s = time.monotonic()
                batch = upcoming.result()
                wait_s = time.monotonic() - start_s
                upcoming = pool.submit(self.training.training_batch, self.step + 1)
                yield batch, wait_s

    def _learning_rate(self) -> float:
        config = self.config
        return learning_rate(config.optimizer, self.step, self._progress() * config.steps,
                             config.optimizer.schedule_steps or config.steps, config.batch_size)

    def _progress(self) -> float:
        by_steps = self.step / self.config.steps
        minutes = self.config.max_minutes
        return by_steps if minutes is None else max(by_steps, self.elapsed_s / 60 / minutes)

    def _done(self) -> bool:
        return self._progress() >= 1

    def _log(self, scalars: dict[str, float], lr: float, wait_s: float, step_s: float) -> None:
        record = {'step': self.step, 'lr': lr, **scalars, 'step_s': step_s,
                  'data_wait_percent': 100 * wait_s / step_s, 'elapsed_s': self.elapsed_s}
        self.folder.log(record)
        self.report(record)
