# SPDX-License-Identifier: Apache-2.0
"""Do the runs of an experiment one after the other; each can be cut short and gone on with."""
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
import json
import math
import os
from pathlib import Path
import time
from typing import Any

from crossview_ros.config import dump_yaml, from_dict, to_dict
from crossview_ros.errors import ConfigError
from crossview_ros.experiments.plan import Leg
from crossview_ros.training.loop import Trainer
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import BEST, ENVIRONMENT, LAST, LOG, PREVIOUS, RunFolder
from crossview_ros.training.setup import open_run

DONE = 'leg.json'   # of a finished leg: what the tables are made of


@dataclass(frozen=True)
class Place:
    """Where an experiment is run, and who watches."""

    folder: Path                     # with a run folder for each leg
    cache_dir: Path                  # of rendered records, shared by all legs
    device: str = 'auto'
    threads: int = 0                 # CPU threads of the network; 0: torch's choice
    keep_checkpoints: bool = False   # of fine-tunings too, not of pre-training only
    progress: Callable[[int, int], None] | None = None   # of rendering
    # entered around each run's steps
    watch: Callable[[Trainer], AbstractContextManager] = nullcontext


def run_legs(legs: list[Leg], place: Place, tell: Callable[[str], None],
             minutes: float = math.inf) -> bool:
    """
    Do what is not yet done.

    :param tell: Called with a line for each leg that begins.
    :param minutes: Stop, with a checkpoint, after so many minutes of this call.
    :return: Whether all is done; if not, the same call goes on.
    :raises CrossviewError: If a folder holds a run of other settings, or a run cannot be made.
    """
    end_s = time.monotonic() + 60 * minutes
    for number, leg in enumerate(legs, 1):
        if finished(leg, place.folder) is not None:
            continue
        if time.monotonic() >= end_s:
            return False
        tell(f'{number}/{len(legs)} {leg.name}')
        if not _run(leg, place, end_s - time.monotonic()):
            return False
    return True


def finished(leg: Leg, folder: Path) -> dict[str, Any] | None:
    """
    Return what a finished leg has measured, None if it is not finished.

    :raises ConfigError: If it was done with other settings.
    """
    path = folder / leg.name / DONE
    if not path.is_file():
        return None
    record = json.loads(path.read_text(encoding='utf-8'))
    # read strictly, so that settings which the file does not know have their defaults
    stored = from_dict(RunConfig, record['config'], str(path))
    _check_same(to_dict(stored), leg.config, leg, folder)
    return record


def _run(leg: Leg, place: Place, seconds: float) -> bool:
    run = RunFolder(place.folder / leg.name)
    config = _placed(leg.config, place.folder)
    resume = any((run.path / name).exists() for name in (LAST, PREVIOUS))
    if resume:
        _check_same(to_dict(run.config()), config, leg, place.folder)
    run.path.mkdir(parents=True, exist_ok=True)
    recipe = run.path / 'run.yaml'   # of `crossview pretrain` and `finetune`
    _write(recipe, dump_yaml(to_dict(config)))
    trainer = open_run(leg.verb, recipe, [], run.path, place.cache_dir, resume, place.device,
                       place.threads, lambda record: None, place.progress)
    with place.watch(trainer):
        trainer.fit(seconds)
    if trainer.step < config.steps:
        return False
    _write(run.path / DONE, json.dumps(_record(leg, trainer), indent=1) + '\n')
    stale = (BEST, PREVIOUS) if leg.cell is None or place.keep_checkpoints \
        else (BEST, PREVIOUS, LAST)
    for name in stale:
        (run.path / name).unlink(missing_ok=True)
    return True


def _placed(config: RunConfig, folder: Path) -> RunConfig:
    """Return a run's config with the folder of the leg that it starts from."""
    start = config.model.start_from
    if start is None:
        return config
    return replace(config, model=replace(config.model, start_from=str(folder / start)))


def _record(leg: Leg, trainer: Trainer) -> dict[str, Any]:
    """Return what is to be known of a finished leg; its figures are those of the last step."""
    curve: dict[int, dict[str, float]] = {}
    for line in (trainer.folder.path / LOG).read_text(encoding='utf-8').splitlines():
        values = json.loads(line)
        measured = {key.removeprefix('val_'): value for key, value in values.items()
                    if key.startswith('val_')}
        if measured:
            curve[values['step']] = measured
    facts = json.loads((trainer.folder.path / ENVIRONMENT).read_text(encoding='utf-8'))[-1]
    return {'name': leg.name, 'row': leg.row, 'cell': leg.cell, 'fraction': leg.fraction,
            'seed': leg.config.seed, 'task': leg.config.task, 'steps': trainer.step,
            'batch_size': leg.config.batch_size, 'num_records': leg.config.data.num_records,
            'minutes': trainer.elapsed_s / 60, 'figures': curve[trainer.step],
            'curve': [{'step': step, **values} for step, values in sorted(curve.items())],
            'environment': {key: facts[key] for key in ('device', 'cores', 'threads', 'torch',
                                                        'commit')},
            'config': to_dict(leg.config)}


def _check_same(stored: dict, config: RunConfig, leg: Leg, folder: Path) -> None:
    values = to_dict(config)
    changed = sorted(key for key in stored if stored[key] != values.get(key))
    if changed:
        raise ConfigError(f'{folder / leg.name} holds a run of other settings '
                          f'({", ".join(changed)}); remove it or choose another --out')


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + '.tmp')
    temporary.write_text(text, encoding='utf-8')
    os.replace(temporary, path)
