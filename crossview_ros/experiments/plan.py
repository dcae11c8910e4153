# SPDX-License-Identifier: Apache-2.0
"""What one YAML file in config/experiments describes, and the training runs that it asks for."""
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Any

from crossview_ros.config import from_dict
from crossview_ros.errors import ConfigError
from crossview_ros.training.run_config import merged, RunConfig
from crossview_ros.training.tasks import TASKS_OF_VERB

PRETRAIN = 'pretrain'   # folder of the pre-training legs


@dataclass(frozen=True)
class Row:
    """A way to pre-train; changes are fields of a run (`RunConfig`) that differ from ``base``."""

    label: str
    pretrain: dict[str, Any] | None = None   # what makes it a pre-training run; None: scratch
    both: dict[str, Any] = field(default_factory=dict)   # of pre-training and fine-tuning alike


@dataclass(frozen=True)
class Cell:
    """A fine-tuning that several rows undergo, with the same data and the same fresh heads."""

    label: str
    finetune: dict[str, Any]                 # changes of ``base``
    rows: tuple[str, ...]
    seeds: tuple[int, ...]                   # of the fresh heads, the order of data, augmentation
    fractions: tuple[float, ...] = (1.0,)    # (0, 1] of data.num_records; the first ones

    def __post_init__(self):
        if not (self.rows and self.seeds and self.fractions):
            raise ConfigError(f"cell '{self.label}' needs rows, seeds and fractions")
        if any(not 0 < fraction <= 1 for fraction in self.fractions):
            raise ConfigError(f"cell '{self.label}': fractions must lie in (0, 1], got "
                              f'{self.fractions}')


@dataclass(frozen=True)
class Claim:
    """What a paper says of two rows; the run decides whether it holds at this scale."""

    text: str
    better: str        # row that is said to be ahead
    than: str
    cells: tuple[str, ...]
    if_not: str = ''   # a likely reason, told where the claim does not hold


@dataclass(frozen=True)
class ExperimentConfig:
    """One table of training runs: rows are ways to pre-train, cells are what follows."""

    title: str
    about: str
    base: dict[str, Any]                     # fields of every run
    rows: dict[str, Row]
    cells: dict[str, Cell]
    claims: tuple[Claim, ...] = ()
    jobs: int = 1                            # runs at once
    smoke: dict[str, Any] = field(default_factory=dict)   # changes that make runs of seconds

    def __post_init__(self):
        if self.jobs < 1:
            raise ConfigError(f'jobs must be at least 1, got {self.jobs}')
        for name, cell in self.cells.items():
            _check_known(f"cell '{name}'", cell.rows, self.rows)
        for claim in self.claims:
            _check_known(f"claim '{claim.text}'", (claim.better, claim.than), self.rows)
            _check_known(f"claim '{claim.text}'", claim.cells, self.cells)
        if PRETRAIN in self.cells:
            raise ConfigError(f"no cell can be named '{PRETRAIN}'")


@dataclass(frozen=True)
class Leg:
    """One training run of the table; ``name`` is its folder below that of the experiment."""

    name: str
    verb: str
    config: RunConfig        # start_from is the name of another leg
    row: str
    cell: str | None = None  # None: pre-training
    fraction: float = 1.0    # of the labelled records


def legs_of(experiment: ExperimentConfig, only: Collection[str] = ()) -> list[Leg]:
    """
    List the runs in the order in which they are done; a table of some seeds is always paired.

    :param only: Rows to run; empty: all.
    :raises ConfigError: If a row is unknown, a run impossible, or held-out records differ.
    """
    _check_known('--only', only, experiment.rows)
    rows = {name: row for name, row in experiment.rows.items() if not only or name in only}
    needed = {name for cell in experiment.cells.values() for name in cell.rows}
    legs = [_pretraining(experiment, name) for name, row in rows.items()
            if row.pretrain is not None and name in needed]
    for name, cell in experiment.cells.items():
        legs += [_fine_tuning(experiment, name, row, fraction, seed)
                 for seed in cell.seeds for fraction in cell.fractions for row in cell.rows
                 if row in rows]
    counts = {leg.config.data.num_validation for leg in legs}
    if len(counts) > 1:   # they may lie in one folder, all of which is measured
        raise ConfigError('all runs of an experiment need the same data.num_validation, got '
                          f'{sorted(counts)}')
    return legs


def smoke_experiment(experiment: ExperimentConfig) -> ExperimentConfig:
    """Return the same table of runs of seconds: its ``smoke`` changes on top of each."""
    def small(changes: dict[str, Any]) -> dict[str, Any]:
        return merged(changes, experiment.smoke)
    return replace(
        experiment, smoke={},
        rows={name: replace(row, pretrain=None if row.pretrain is None else small(row.pretrain))
              for name, row in experiment.rows.items()},
        cells={name: replace(cell, finetune=small(cell.finetune))
               for name, cell in experiment.cells.items()})


def _pretraining(experiment: ExperimentConfig, name: str) -> Leg:
    row, leg = experiment.rows[name], f'{PRETRAIN}/{name}'
    values = merged(merged(experiment.base, row.both), row.pretrain)
    config = from_dict(RunConfig, values, leg)
    return Leg(leg, _verb(config, leg, PRETRAIN), config, name)


def _fine_tuning(experiment: ExperimentConfig, cell_name: str, row_name: str, fraction: float,
                 seed: int) -> Leg:
    row, cell = experiment.rows[row_name], experiment.cells[cell_name]
    leg = f'{cell_name}/{100 * fraction:g}_percent/{row_name}_{seed}'
    values = merged(merged(experiment.base, cell.finetune), row.both)
    config = from_dict(RunConfig, values, leg)
    start = None if row.pretrain is None else f'{PRETRAIN}/{row_name}'
    config = replace(
        config, seed=seed, model=replace(config.model, start_from=start),
        data=replace(config.data, num_records=max(1, round(fraction * config.data.num_records))))
    return Leg(leg, _verb(config, leg, 'finetune'), config, row_name, cell_name, fraction)


def _verb(config: RunConfig, leg: str, verb: str) -> str:
    if config.task not in TASKS_OF_VERB[verb]:
        raise ConfigError(f"{leg}: verb '{verb}' trains {', '.join(TASKS_OF_VERB[verb])}, got "
                          f"task '{config.task}'")
    if config.max_minutes is not None:
        raise ConfigError(f'{leg}: max_minutes would give each machine another table; set steps')
    return verb


def _check_known(who: str, names: Collection[str], known: Collection[str]) -> None:
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(f'{who} names {", ".join(unknown)}; known: {", ".join(known)}')
