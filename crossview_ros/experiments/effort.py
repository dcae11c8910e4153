# SPDX-License-Identifier: Apache-2.0
"""What the runs of an experiment will take, from one step of each kind."""
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from crossview_ros.experiments.legs import finished
from crossview_ros.experiments.plan import Leg
from crossview_ros.training.estimate import step_cost, StepCost
from crossview_ros.training.run_config import RunConfig


class Effort(NamedTuple):
    """Of a leg: measured minutes if it is done, estimated ones if not."""

    leg: Leg
    minutes: float
    flop: float        # multiplications and additions of all its steps
    state: str         # done, begun, or nothing


def efforts(legs: list[Leg], folder: Path, device: str, threads: int = 0) -> Iterator[Effort]:
    """
    Try a step of each kind of run; validation, rendering and loading are not counted.

    :raises CrossviewError: If a run cannot be made, or a folder holds one of other settings.
    """
    costs: dict[str, StepCost] = {}
    for leg in legs:
        kind = _kind(leg.config)
        key = repr(kind)
        if key not in costs:
            costs[key] = step_cost(leg.verb, kind, device, threads)
        done = finished(leg, folder)
        minutes = leg.config.steps * costs[key].step_s / 60 if done is None else done['minutes']
        begun = (folder / leg.name / 'config.yaml').is_file()
        yield Effort(leg, minutes, leg.config.steps * costs[key].flop,
                     'done' if done else 'begun' if begun else '')


def _kind(config: RunConfig) -> RunConfig:
    """Return a config without what does not change the work of a step."""
    return replace(config, steps=1, seed=0, model=replace(config.model, start_from=None),
                   data=replace(config.data, num_records=1))
