# SPDX-License-Identifier: Apache-2.0
"""Verb experiment: a documented table of training runs, with its spreads, curves and page."""
import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
import math
import os
from pathlib import Path
import sys
from typing import Any

from crossview_ros.cli.console import positive, positive_number
from crossview_ros.cli.training import record_text, render_bar, RunBar, stopping_politely

HELP = 'run a documented table of training runs, resume it, write its page'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('name', help='of a file NAME_SIZE.yaml, e.g. pretraining')
    parser.add_argument('--size', default='cpu', choices=('cpu', 'gpu'),
                        help='two CPU cores, or one data-centre GPU (default: cpu)')
    parser.add_argument('--only', action='append', default=[], metavar='ROW',
                        help='this row of the table; may be given several times (default: all)')
    parser.add_argument('--dry-run', action='store_true',
                        help='list the runs with an estimate of their minutes and FLOPs')
    parser.add_argument('--minutes', type=positive_number, default=math.inf, metavar='MIN',
                        help='stop after so many minutes; the same command goes on [min]')
    parser.add_argument('--out', type=Path, default=None,
                        help='folder of the runs and results (default: runs/NAME_SIZE)')
    parser.add_argument('--cache-dir', type=Path, default=None,
                        help='rendered records (default: records in the folder of the runs)')
    parser.add_argument('--page', type=Path, default=None, metavar='PAGE.md',
                        help='write this page too, with results and curves in a folder beside it')
    parser.add_argument('--against', type=Path, default=None, metavar='RESULTS.json',
                        help='earlier results of this experiment: tell which figures come out '
                        'again, within the spread')
    parser.add_argument('--config-dir', type=Path, default=Path('config/experiments'),
                        help='folder of NAME_SIZE.yaml (default: config/experiments)')
    parser.add_argument('--keep-checkpoints', action='store_true',
                        help='keep those of finished fine-tunings, not of pre-training only')
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    parser.add_argument('--threads', type=int, default=0,
                        help='CPU threads of each run (default: all, shared by the jobs)')
    parser.add_argument('--jobs', type=positive, default=None, metavar='N',
                        help='runs at once, each a process (default: what NAME_SIZE.yaml says)')


def run(args: argparse.Namespace) -> int:
    """Do what is missing of the table, and write what is known of it."""
    from crossview_ros.config import load_config
    from crossview_ros.experiments.plan import ExperimentConfig, legs_of
    name = f'{args.name}_{args.size}'
    experiment = load_config(ExperimentConfig, args.config_dir / f'{name}.yaml')
    folder = args.out or Path('runs') / name
    legs = legs_of(experiment, args.only)
    if args.dry_run:
        return _list(args, legs, folder)
    earlier = None
    if args.against is not None:   # before the runs, and before a page replaces the file
        from crossview_ros.experiments.reproduction import read_results
        earlier = read_results(args.against, name)
    from crossview_ros.experiments.legs import Place
    folder.mkdir(parents=True, exist_ok=True)
    place = Place(folder, args.cache_dir or folder / 'records', args.device, args.threads,
                  args.keep_checkpoints)
    jobs = args.jobs or experiment.jobs
    complete, stopped = _run_one_by_one(legs, place, args.minutes) if jobs == 1 \
        else _run_at_once(legs, place, jobs, args.minutes)
    _write(args, experiment, folder, name, earlier)
    if not complete:
        _tell('stopped; the same command goes on')
    return 130 if stopped else 0


def _run_one_by_one(legs: list, place: Any, minutes: float) -> tuple[bool, bool]:
    """Say whether all is done, and whether a signal has stopped it; with a bar for each run."""
    from crossview_ros.experiments.legs import run_legs
    stops: list[float] = []
    with render_bar() as rendering:
        place = replace(place, progress=rendering.progress, watch=_watching(stops))
        complete = run_legs(legs, place, _tell, minutes)
    return complete, bool(stops)


def _run_at_once(legs: list, place: Any, jobs: int, minutes: float) -> tuple[bool, bool]:
    """Do likewise with several processes, whose validations are told line by line."""
    from crossview_ros.experiments.parallel import run_legs_at_once
    threads = place.threads or max(1, (os.cpu_count() or 1) // jobs)
    place = replace(place, threads=threads, watch=partial(_telling, place.folder))
    return run_legs_at_once(legs, place, jobs, _tell, minutes)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _telling(folder: Path, trainer: Any) -> Iterator[None]:
    """Show a run's validations, each on a line with its name; end politely at a signal."""
    name = trainer.folder.path.relative_to(folder).as_posix()

    def report(record: dict) -> None:
        if 'loss' not in record:
            _tell(f'{name}: {record_text(record)}')
    trainer.report = report
    with stopping_politely(trainer):
        yield


def _watching(stops: list[float]) -> Any:
    """Return what shows a run's bar and notes the signals that ended it."""
    @contextmanager
    def watch(trainer: Any) -> Iterator[None]:
        with stopping_politely(trainer) as came, RunBar(trainer) as bar:
            trainer.report = bar.report
            yield
        stops.extend(came)
    return watch


def _write(args: argparse.Namespace, experiment: Any, folder: Path, name: str,
           earlier: dict[str, Any] | None) -> None:
    """Write results, table and curves of all finished runs of the whole experiment."""
    from crossview_ros.experiments.curves import draw_curves
    from crossview_ros.experiments.page import write_page
    from crossview_ros.experiments.plan import legs_of
    from crossview_ros.experiments.results import gather, RESULTS, write_results
    from crossview_ros.experiments.tables import section
    command = f'crossview experiment {args.name} --size {args.size}'
    results = gather(experiment, legs_of(experiment), folder, name, command, earlier)
    write_results(results, folder / RESULTS)
    curves = draw_curves(results)
    for cell, diagram in curves.items():
        (folder / f'{cell}.png').write_bytes(diagram)
    text = section(results, {cell: f'{cell}.png' for cell in curves})
    (folder / 'results.md').write_text(text, encoding='utf-8')
    print(text, end='')
    if args.page is not None:
        write_page(results, args.page)


def _list(args: argparse.Namespace, legs: list, folder: Path) -> int:
    """Print each run with its steps, its estimated minutes and FLOPs, and its state."""
    from crossview_ros.experiments.effort import efforts
    rows = [('run', 'steps', 'batch', 'minutes', 'PFLOP', 'state')]
    total_min = total_flop = 0.0
    for effort in efforts(legs, folder, args.device, args.threads):
        config = effort.leg.config
        rows.append((effort.leg.name, str(config.steps), str(config.batch_size),
                     f'{effort.minutes:.1f}', f'{effort.flop / 1e15:.2f}', effort.state))
        total_min += effort.minutes
        total_flop += effort.flop
    rows.append((f'{len(legs)} runs', '', '', f'{total_min:.1f}', f'{total_flop / 1e15:.2f}', ''))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print('  '.join([row[0].ljust(widths[0]),
                         *(cell.rjust(width) for cell, width in zip(row[1:5], widths[1:5])),
                         row[5]]).rstrip())
    return 0
