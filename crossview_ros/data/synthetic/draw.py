# SPDX-License-Identifier: Apache-2.0
"""Random numbers for the rows of a batch, of which a process may need only some."""
import torch
from torch import Tensor


class Draw:
    """
    Random tensors, one entry for each row of a batch.

    Numbers are drawn for all rows of the batch, and those of the wanted rows returned: a row gets
    the same ones whichever others are wanted with it, so that processes can share a batch.
    """

    def __init__(self, generator: torch.Generator, rows: range | None = None,
                 batch: int | None = None):
        """
        Choose the rows.

        :param generator: Makes the draw repeatable and decides the device.
        :param rows: Consecutive rows that are wanted; None: as many as each shape says, all.
        :param batch: Rows of the whole batch, where ``rows`` are given.
        """
        self.generator, self._rows, self._batch = generator, rows, batch

    def uniform(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Tensor:
        """Draw evenly from [low, high); the shape is (rows, ...) here and below."""
        return low + (high - low) * self._drawn(torch.rand, shape)

    def log_uniform(self, shape: tuple[int, ...], low: float, high: float) -> Tensor:
        """Draw so that each factor of two is equally likely."""
        return low * (high / low) ** self._drawn(torch.rand, shape)

    def normal(self, shape: tuple[int, ...], limit: float = 2.5) -> Tensor:
        """Draw from the standard normal distribution, cut at ``limit`` sigma."""
        return self._drawn(torch.randn, shape).clamp(-limit, limit)

    def integers(self, shape: tuple[int, ...], high: int) -> Tensor:
        """Draw int64 from [0, high)."""
        return self._drawn(lambda size, **more: torch.randint(high, size, **more), shape)

    def noise_like(self, images: Tensor) -> Tensor:
        """
        Draw normal noise where the images (rows, ...) lie, not cut.

        Each row has a generator of its own: noise of rows that are not wanted would cost time.
        """
        noise = torch.empty_like(images)
        for row, seed in zip(noise, self.integers((len(images),), 2 ** 62).tolist()):
            row.normal_(generator=torch.Generator(images.device).manual_seed(seed))
        return noise

    def _drawn(self, make, shape: tuple[int, ...]) -> Tensor:
        if self._rows is not None:
            shape = (self._batch, *shape[1:])
        values = make(shape, generator=self.generator, device=self.generator.device)
        return values if self._rows is None else values[self._rows.start:self._rows.stop]
