# SPDX-License-Identifier: Apache-2.0
"""What the verbs pretrain and finetune share: flags, progress, the run itself."""
import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import isfinite
from pathlib import Path
import sys
import time
from typing import Any

from crossview_ros.cli.console import positive_number
from crossview_ros.signals import handling_stops


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('config', metavar='CONFIG.yaml', type=Path, help='run description')
    parser.add_argument('--set', action='append', default=[], metavar='KEY=VALUE',
                        help='override a setting, e.g. --set optimizer.lr=1e-4')
    parser.add_argument('--run-dir', type=Path, default=None,
                        help='folder of the run (default: runs/<name of the config>)')
    parser.add_argument('--cache-dir', type=Path, default=Path('cache/records'),
                        help='rendered records, shared by runs (default: cache/records)')
    parser.add_argument('--resume', action='store_true',
                        help="go on from the run folder's newest checkpoint")
    parser.add_argument('--stop-after', type=positive_number, default=float('inf'),
                        metavar='MIN', help='end after so many minutes, to be resumed [min]')
    parser.add_argument('--dry-run', action='store_true',
                        help='check the config, print it in full with the amount of data, the '
                             'parameters, and an estimate of memory and time')
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--threads', type=int, default=0,
                        help='CPU threads of the network (default: all)')


def train(verb: str, args: argparse.Namespace) -> int:
    """Train; Ctrl-C and SIGTERM leave a checkpoint to --resume from."""
    if args.dry_run:
        return _describe(verb, args)
    from crossview_ros.training.setup import open_run
    run_dir = args.run_dir or Path('runs') / args.config.stem
    with render_bar() as rendering:
        trainer = open_run(verb, args.config, args.set, run_dir, args.cache_dir, args.resume,
                           args.device, args.threads, _print_record, rendering.progress)
    with stopping_politely(trainer) as stopped, RunBar(trainer) as bar:
        trainer.report = bar.report
        trainer.fit(60 * args.stop_after)
    if trainer.engine.rank > 0:
        return 0
    if stopped:
        print(f'stopped at step {trainer.step}; go on with --resume', file=sys.stderr)
        return 130
    print(f'run       {run_dir}\nsteps     {trainer.step}')
    if isfinite(trainer.best_score):
        print(f'best      {trainer.best_score:.3f} ({trainer.task.score_name})')
    return 0


def _describe(verb: str, args: argparse.Namespace) -> int:
    from crossview_ros.config import dump_yaml, load_config, to_dict
    from crossview_ros.training.estimate import estimate
    from crossview_ros.training.run_config import RunConfig
    config = load_config(RunConfig, args.config, args.set)
    print(dump_yaml(to_dict(config)), end='')
    for name, text in estimate(verb, config, args.device, args.threads).items():
        print(f'# {name}: {text}')
    return 0


@contextmanager
def stopping_politely(trainer: Any) -> Iterator[list]:
    """Finish the step and save at the first signal; give the signals that came."""
    came: list[float] = []

    def stop(*_: object) -> None:
        # torchrun sends the signal of a terminal once more, at once
        if came and time.monotonic() - came[0] > 3.0:
            raise KeyboardInterrupt
        came.append(time.monotonic())
        trainer.stop()
    with handling_stops(stop):
        yield came


class RunBar:
    """The bar of a run: its newest figures behind it, validations on lines above it."""

    def __init__(self, trainer: Any):
        from tqdm import tqdm
        self.bar = tqdm(
            total=trainer.config.steps, initial=trainer.step, unit='step', file=sys.stderr,
            disable=trainer.engine.rank > 0, mininterval=0.1 if sys.stderr.isatty() else 5.0,
            bar_format='{percentage:3.0f}%|{bar:20}| step {n_fmt}/{total_fmt} '
                       '[{elapsed}{postfix}]')

    def __enter__(self) -> 'RunBar':
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def report(self, record: dict) -> None:
        """Show a record of the log."""
        if 'loss' not in record:
            self.bar.write(record_text(record), file=sys.stderr)
            return
        self.bar.set_postfix_str(
            f'loss {record["loss"]:.4g}, lr {record["lr"]:.2e}, '
            f'{record["pairs_per_s"]:.1f} pairs/s, data wait {record["data_wait_percent"]:.0f} %, '
            f'ETA {timedelta(seconds=round(record["eta_s"]))}', refresh=False)
        self.bar.update(record['step'] - self.bar.n)


class render_bar:
    """A progress bar that appears only if something has to be rendered."""

    def __enter__(self):
        self.bar = None
        return self

    def progress(self, done: int, total: int) -> None:
        """Show how many records are rendered."""
        from tqdm import tqdm
        if self.bar is None or self.bar.total != total:
            self.bar = tqdm(total=total, unit='record', desc='rendering', file=sys.stderr)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_):
        if self.bar is not None:
            self.bar.close()


def _print_record(record: dict) -> None:
    print(record_text(record), file=sys.stderr)


def record_text(record: dict) -> str:
    return '  '.join(f'{key} {value:.4g}' if isinstance(value, float) else f'{key} {value}'
                     for key, value in record.items())
