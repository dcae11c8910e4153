# SPDX-License-Identifier: Apache-2.0
"""Which rows of a batch go through the network together, and in which process."""
from crossview_ros.errors import ConfigError
from crossview_ros.training.engine import Engine
from crossview_ros.training.records import Batch
from crossview_ros.training.run_config import RunConfig


class Part:
    """Rows of a batch that go through the network together."""

    def __init__(self, number: int, size: int, first: int):
        """
        Choose the rows.

        :param number: Of the part in the whole batch.
        :param first: Row of the whole batch with which that of this process begins.
        """
        self.number, self.rows = number, range(number * size, (number + 1) * size)
        self._slice = slice(self.rows.start - first, self.rows.stop - first)

    def of(self, batch: Batch) -> Batch:
        """Take the rows out of those that this process has made."""
        return {name: value[self._slice] for name, value in batch.items()}

    def seed(self, seed: int, step: int) -> int:
        """Return the seed of what a network draws for these rows in an optimizer step."""
        return (seed * 1_000_003 + step) * 4099 + self.number


def parts_of_process(config: RunConfig, engine: Engine) -> list[Part]:
    """
    Return the parts of a batch that this process computes: consecutive rows.

    :raises ConfigError: If the batch cannot be shared evenly by the processes.
    """
    size = config.micro_batch or config.batch_size // engine.world_size
    count = config.batch_size // size if size else 0
    if count % engine.world_size or count * size != config.batch_size:
        raise ConfigError(f'batch_size {config.batch_size} in parts of {size} (micro_batch) '
                          f'cannot be shared evenly by {engine.world_size} processes')
    own = count // engine.world_size
    first = engine.rank * own
    return [Part(number, size, first * size) for number in range(first, first + own)]
