# SPDX-License-Identifier: Apache-2.0
"""What the verbs pretrain and finetune share: flags, progress, the run itself."""
import argparse
from math import isfinite
from pathlib import Path
import signal
import sys

from crossview_ros.cli.console import positive_number


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
                        help='check the config, print it in full with the size of the network')
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--threads', type=int, default=0,
                        help='CPU threads of the network (default: all)')


def train(verb: str, args: argparse.Namespace) -> int:
    """Train; Ctrl-C and SIGTERM leave a checkpoint to --resume from."""
    if args.dry_run:
        return _describe(verb, args)
    signal.signal(signal.SIGTERM, _interrupt)
    from crossview_ros.training.setup import open_run
    from tqdm import tqdm
    run_dir = args.run_dir or Path('runs') / args.config.stem
    with _render_bar() as rendering:
        trainer = open_run(verb, args.config, args.set, run_dir, args.cache_dir, args.resume,
                           args.device, args.threads, _report, rendering.progress)
    bar = tqdm(total=trainer.config.steps, initial=trainer.step, unit='step', file=sys.stderr)
    trainer.report = lambda record: _report(record, bar)
    try:
        trainer.fit(60 * args.stop_after)
    except KeyboardInterrupt:
        trainer.save()
        bar.close()
        print(f'stopped at step {trainer.step}; go on with --resume', file=sys.stderr)
        return 130
    bar.close()
    print(f'run       {run_dir}\nsteps     {trainer.step}')
    if isfinite(trainer.best_score):
        print(f'best      {trainer.best_score:.3f} ({trainer.task.score_name})')
    return 0


def _describe(verb: str, args: argparse.Namespace) -> int:
    from crossview_ros.config import dump_yaml, load_config, to_dict
    from crossview_ros.training.run_config import RunConfig
    from crossview_ros.training.setup import build
    config = load_config(RunConfig, args.config, args.set)
    _, model = build(verb, config)
    print(f'{dump_yaml(to_dict(config))}'
          f'# parameters: {sum(p.numel() for p in model.parameters()):,}')
    return 0


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


class _render_bar:
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


def _report(record: dict, bar=None) -> None:
    text = '  '.join(f'{key} {value:.4g}' if isinstance(value, float) else f'{key} {value}'
                     for key, value in record.items())
    if bar is None:
        print(text, file=sys.stderr)
        return
    bar.update(record['step'] - bar.n)
    bar.write(text, file=sys.stderr)
