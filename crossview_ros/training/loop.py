# SPDX-License-Identifier: Apache-2.0
"""The one training loop: steps, schedule, validation, checkpoints, log."""
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
import math
import time

from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import CheckpointError
from crossview_ros.training.board import open_board
from crossview_ros.training.engine import Engine, Procedure
from crossview_ros.training.optimizer import learning_rate, make_optimizer, WeightAverage
from crossview_ros.training.panels import panels
from crossview_ros.training.parts import parts_of_process
from crossview_ros.training.records import Batch
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.tasks.step import Task
import torch
from torch import nn, Tensor

Report = Callable[[dict], None]


class Trainer:
    """
    Everything a run keeps between steps; not for use by several threads.

    ``fit`` may be interrupted at any moment: the next Trainer with ``resume`` goes on from the
    newest checkpoint with the same data, since everything random is a function of the step.
    A batch is cut into parts of ``micro_batch`` rows, whose mean loss counts; each process makes
    and takes its share of the parts. So the result does not depend on how many processes there
    are.
    """

    def __init__(self, config: RunConfig, model: nn.Module, task: Task, training, validation,
                 folder: RunFolder, report: Report, engine: Engine | None = None):
        """
        Set up the optimizer.

        :param task: An entry of `TASKS`, made; ``training`` and ``validation`` are its batches.
        :param report: Called with each log record: a mapping of scalars, names end in units.
        :param engine: None: this process alone, on the device of the model.
        :raises ConfigError: If the batch cannot be shared evenly by the processes.
        """
        self.config, self.model, self.task, self.folder = config, model, task, folder
        self.training, self.validation, self.report = training, validation, report
        self.engine = engine or Engine(next(model.parameters()).device, config.precision)
        self.parts = parts_of_process(config, self.engine)
        self.procedure = self.engine.wrap(Procedure(task, model))
        self.optimizer = make_optimizer(model, config.optimizer)
        self.average = WeightAverage(model, config.optimizer.ema_decay)
        self.step = 0
        self.elapsed_s = 0.0
        self.best_score = math.inf
        self._stopping = False
        self._interval = _Interval()
        self._board = None

    def resume(self) -> str:
        """Load the newest readable checkpoint of the folder and say where it came from."""
        state, source = self.folder.load()
        # read strictly, so that settings which the file does not know have their defaults
        stored = to_dict(from_dict(RunConfig, state['config'], str(self.folder.path)))
        if stored != to_dict(self.config):
            changed = sorted(k for k in stored if stored[k] != to_dict(self.config)[k])
            raise CheckpointError(f'{self.folder.path} was trained with other settings '
                                  f'({", ".join(changed)}); resume with its own config.yaml')
        self._load_weights(state['model'], state['average'])
        self._load_optimizer(state['optimizer'])
        if 'scaler' in state:
            self.engine.scaler.load_state_dict(state['scaler'])
        self.step, self.elapsed_s = state['step'], state['elapsed_s']
        self.best_score = state['best_score']
        if self.engine.rank == 0:
            self.folder.forget_after(self.step)
        return source

    def fit(self, leg_s: float = math.inf) -> None:
        """
        Train to the configured number of steps or minutes, whichever comes first.

        :param leg_s: Stop, with a checkpoint, after so many seconds of this call; the schedule
            goes on where the next Trainer resumes.
        """
        config = self.config
        self.procedure.train()
        end_s = time.monotonic() + leg_s
        self._open_board()
        for batch, wait_s in self._prefetched():
            start_s = time.monotonic()
            lr = self._learning_rate()
            scalars = self._optimize(batch, lr)
            self.step += 1
            step_s = time.monotonic() - start_s + wait_s
            self._interval.add(config.batch_size, step_s, wait_s)
            leg_over = self._agree(self.elapsed_s + step_s, time.monotonic() > end_s)
            if self.step % config.log_every == 0 or self._done():
                self._log(scalars, lr, step_s)
            if self.step % config.validate_every == 0 or self._done():
                self.validate()
            if self.step % config.checkpoint_every == 0 or self._done() or leg_over:
                self.save()
            if leg_over:
                break

    def stop(self) -> None:
        """End `fit` after the step that runs, with a checkpoint; for signal handlers."""
        self._stopping = True

    def validate(self) -> dict[str, float]:
        """Measure the averaged weights on the held-out records; keep them if they are the best."""
        start_s = time.monotonic()
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.weights)
        self.procedure.eval()
        batches = self._held_out()
        first = next(batches)
        with self.engine.autocast():
            metrics = self.procedure('validate', chain([first], batches))
            self._show(first)
        self.model.load_state_dict(own)
        self.procedure.train()
        self._agree(self.elapsed_s + time.monotonic() - start_s, False)
        score = self.task.score(metrics)
        if score < self.best_score:
            self.best_score = score
            self._write(self.folder.save_best, self._result())
        self._record({'step': self.step, **{f'val_{k}': v for k, v in metrics.items()}})
        return metrics

    def _held_out(self) -> Iterator[Batch]:
        """Read one validation batch after the other: whole images may be too large together."""
        batches = iter(self.validation.validation_batches(
            self.config.micro_batch or self.config.batch_size))
        while True:
            with torch.autocast(self.engine.device.type, enabled=False):   # knows no float64
                batch = next(batches, None)
            if batch is None:
                return
            yield self._on_device(batch)

    def save(self) -> None:
        """Write a checkpoint from which `resume` continues exactly."""
        self._write(self.folder.save, {
            **self._result(), 'model': self.model.state_dict(),
            'optimizer': self.optimizer.state_dict(), 'scaler': self.engine.scaler.state_dict()})

    def _result(self) -> dict:
        return {'config': to_dict(self.config), 'architecture': to_dict(self.model.config),
                'average': self.average.weights, 'step': self.step, 'elapsed_s': self.elapsed_s,
                'best_score': self.best_score}

    def _write(self, write: Callable[[dict], None], state: dict) -> None:
        state = self.engine.whole(state)   # all processes take part, one writes
        if self.engine.rank == 0:
            write(state)

    def _load_weights(self, weights: dict[str, Tensor], average: dict[str, Tensor]) -> None:
        like = self.model.state_dict()
        self.model.load_state_dict({k: self.engine.spread(v, like[k]) for k, v in weights.items()})
        self.average.weights = {k: self.engine.spread(v, like[k]) for k, v in average.items()}

    def _load_optimizer(self, state: dict) -> None:
        if _groups(state) != _groups(self.optimizer.state_dict()):
            raise CheckpointError(
                f'{self.folder.path} cannot be resumed: it keeps the optimizer in other groups of '
                'parameters, as another version of this package made them; begin a new run with '
                f'its weights: --set model.start_from={self.folder.path} --run-dir OTHER')
        parameters = [p for group in self.optimizer.param_groups for p in group['params']]
        spread = {index: {
            name: self.engine.spread(value, parameters[index])
            if isinstance(value, Tensor) and value.shape == parameters[index].shape else value
            for name, value in values.items()} for index, values in state['state'].items()}
        self.optimizer.load_state_dict({**state, 'state': spread})

    def _optimize(self, batch: Batch, lr: float) -> dict[str, Tensor]:
        """Take a step with the mean loss of the parts; return what to log of this process."""
        for group in self.optimizer.param_groups:
            group['lr'] = lr * group['lr_scale']
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, Tensor] = {}
        share = 1 / len(self.parts)
        for part in self.parts:
            rows = self._on_device(part.of(batch))
            torch.manual_seed(part.seed(self.config.seed, self.step))
            with self.engine.keeping_gradients(self.procedure, part is not self.parts[-1]):
                with self.engine.autocast():
                    output = self.procedure('step', rows)
                self.engine.backward(output.loss * share)
            for name, value in {'loss': output.loss, **output.scalars}.items():
                sums[name] = sums.get(name, 0.0) + value.detach() * share
        norm, stepped = self.engine.update(self.optimizer,
                                           self.config.optimizer.clip_norm or math.inf)
        if stepped:
            self.average.update(self.model, self.step)
        return {**sums, 'gradient_norm': norm}

    def _on_device(self, batch: Batch) -> Batch:
        return {name: value.to(self.engine.device, non_blocking=True)
                for name, value in batch.items()}

    def _agree(self, elapsed_s: float, leg_over: bool) -> bool:
        """Let all processes have one clock and one opinion on whether to stop."""
        self.elapsed_s, over = self.engine.greatest(elapsed_s, leg_over or self._stopping)
        return bool(over)

    def _prefetched(self) -> Iterator[tuple[Batch, float]]:
        """Yield batches made ahead in threads, with the seconds waited for each."""
        ahead = self.config.engine.batches_ahead
        with ThreadPoolExecutor(ahead) as pool:
            upcoming = deque(pool.submit(self._batch, self.step + i) for i in range(ahead))
            while not self._done():
                start_s = time.monotonic()
                batch = upcoming.popleft().result()
                wait_s = time.monotonic() - start_s
                upcoming.append(pool.submit(self._batch, self.step + ahead))
                yield batch, wait_s

    def _batch(self, step: int) -> Batch:
        own = range(self.parts[0].rows.start, self.parts[-1].rows.stop)
        batch = self.training.training_batch(step, own)
        pin = self.engine.device.type == 'cuda'   # lets copies run beside kernels
        return {k: v.pin_memory() if pin and not v.is_cuda else v for k, v in batch.items()}

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

    def _log(self, scalars: dict[str, Tensor], lr: float, step_s: float) -> None:
        done, difficulty = self._progress(), self.config.data.difficulty
        level = {} if difficulty is None else {'difficulty': difficulty.level(self.step - 1)}
        self._record({'step': self.step, 'lr': lr, **self.engine.mean(scalars), **level,
                      'step_s': step_s,
                      **self._interval.rates(), 'elapsed_s': self.elapsed_s,
                      'eta_s': self.elapsed_s * max(0.0, 1 - done) / done,
                      'num_skipped': getattr(self.training, 'num_skipped', 0)})
        self._interval = _Interval()

    def _record(self, record: dict) -> None:
        if self.engine.rank == 0:
            self.folder.log(record)
            self.report(record)
            if self._board is not None:
                self._board.scalars(record)

    def _open_board(self) -> None:
        if self.engine.rank == 0 and self.config.engine.tensorboard and self._board is None:
            self._board = open_board(self.folder.path / 'tensorboard', self.step)

    def _show(self, batch: Batch) -> None:
        if self._board is not None and not self.engine.sharded:
            self._board.images(self.step, panels(self.config, self.model, batch))


class _Interval:
    """Sums of time since the last log record."""

    def __init__(self):
        self.samples, self.total_s, self.wait_s = 0, 0.0, 0.0

    def add(self, samples: int, step_s: float, wait_s: float) -> None:
        """Count a step."""
        self.samples += samples
        self.total_s += step_s
        self.wait_s += wait_s

    def rates(self) -> dict[str, float]:
        """Return throughput and the share of the time that was spent waiting for data."""
        return {'pairs_per_s': self.samples / self.total_s,
                'data_wait_percent': 100 * self.wait_s / self.total_s}


def _groups(state: dict) -> list[tuple]:
    """Say of each group of an optimizer's state which parameters it has, and how they differ."""
    return [(tuple(group['params']), group.get('lr_scale')) for group in state['param_groups']]
