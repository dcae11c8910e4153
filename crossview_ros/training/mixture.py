# SPDX-License-Identifier: Apache-2.0
"""Several data sets as one sequence, each sample as often as its part is repeated."""
from collections.abc import Sequence
from inspect import signature
from pathlib import Path
from typing import Any, NamedTuple

from crossview_ros.data.datasets import DATASETS
from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.training.data_config import DataConfig, DatasetUse
from crossview_ros.training.records import epoch_order
import numpy as np


class Part(NamedTuple):
    """Some samples of a data set, each ``repeat`` times."""

    samples: Sequence[Any]
    indices: range
    repeat: int = 1


class Mixture:
    """
    All parts one behind the other; a part of n samples repeated r times takes r n places.

    Reads a sample when it is asked for, from any thread.
    """

    def __init__(self, parts: list[Part]):
        self.parts = parts
        self._ends = np.cumsum([len(part.indices) * part.repeat for part in parts])

    def __len__(self) -> int:
        """Return the places, repeats included."""
        return int(self._ends[-1])

    def __getitem__(self, place: int) -> Any:
        """
        Read the sample of a place.

        :raises DatasetError: As the data set it is of.
        """
        place = range(len(self))[place]
        number = int(np.searchsorted(self._ends, place, 'right'))
        part = self.parts[number]
        start = self._ends[number] - len(part.indices) * part.repeat
        return part.samples[part.indices[(place - start) % len(part.indices)]]

    @property
    def num_skipped(self) -> int:
        """Count the damaged samples met so far, where they may be skipped."""
        return sum(len(getattr(part.samples, 'skipped', ())) for part in self.parts)


def open_mixture(uses: Sequence[DatasetUse], config: DataConfig) -> Mixture:
    """
    Open the data sets of a mixture.

    :param config: Says where they are, and whether they may be incomplete or damaged.
    :raises ConfigError: If a data set is unknown.
    :raises DatasetError: If one cannot be opened, or has not its full count.
    """
    return Mixture([_open(use, config) for use in uses])


def places_of_step(seed: int, step: int, size: int, mixture_size: int,
                   epoch_size: int | None = None) -> list[int]:
    """
    Return which places of a mixture make the batch of an optimizer step.

    Each epoch has its own order of all places, of which it takes the first ``epoch_size``; those
    that do not fill a batch are dropped (croco.md 8).

    :raises ConfigError: If there are not enough for an epoch or a batch.
    """
    steps = steps_per_epoch(size, mixture_size, epoch_size)
    epoch, number = divmod(step, steps)
    order = epoch_order(seed, epoch, mixture_size)
    return order[number * size:(number + 1) * size].tolist()


def steps_per_epoch(size: int, mixture_size: int, epoch_size: int | None = None) -> int:
    """
    Return how many whole batches an epoch has.

    :raises ConfigError: As `places_of_step`.
    """
    length = mixture_size if epoch_size is None else epoch_size
    if length > mixture_size or length < size:
        raise ConfigError(f'an epoch of {length} samples must hold a batch of {size} and fit the '
                          f'{mixture_size} samples of the mixture; change batch_size or '
                          'data.epoch_size')
    return length // size


def _open(use: DatasetUse, config: DataConfig) -> Part:
    if use.name not in DATASETS:
        raise ConfigError(f"unknown data set '{use.name}'; known: {', '.join(DATASETS)}")
    root = Path(config.root).expanduser() / (use.folder or use.name)
    reader = DATASETS[use.name]
    try:
        call = signature(reader).bind(root, use.split, skip_damaged=config.skip_damaged,
                                      **use.options)
    except TypeError as error:   # an option that the reader does not have
        raise ConfigError(f"data set '{use.name}': impossible options {use.options}: {error}") \
            from error
    samples = reader(*call.args, **call.kwargs)
    if use.count is not None and len(samples) != use.count and not config.partial:
        raise DatasetError(f'{root}: expected {use.count} samples of {use.name} {use.split}, '
                           f'found {len(samples)}; complete it, or set data.partial=true')
    return Part(samples, range(len(samples)), use.repeat)
