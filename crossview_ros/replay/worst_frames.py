# SPDX-License-Identifier: Apache-2.0
"""Keep the pictures of the frames that came out worst."""
from collections.abc import Callable, Sequence
from typing import Any

from crossview_ros.metrics import Metric
import numpy as np

NUM_WORST = 3
DEPTH_RANKS = ('depth.abs_rel', 'lidar.abs_rel', 'photo.error')   # the first one known decides
FLOW_RANKS = ('flow.epe', 'flow.photo')


class WorstFrames:
    """The frames with the largest figure so far; not for use from two threads."""

    def __init__(self, ranks: Sequence[str], num_worst: int = NUM_WORST) -> None:
        """
        Start without a frame.

        :param ranks: Names of figures that grow with the error, the most telling first.
        """
        self._ranks, self._num_worst = tuple(ranks), num_worst
        self._kept: list[tuple[int, float, Any]] = []   # place of the rank, figure, panel

    def add(self, figures: dict[str, Metric], panel: Callable[[], Any]) -> None:
        """
        Consider a frame.

        :param panel: Makes what to keep of it; called only if it is among the worst.
        """
        known = [place for place, name in enumerate(self._ranks)
                 if name in figures and np.isfinite(figures[name].value)]
        if not known:
            return
        key = known[0], -figures[self._ranks[known[0]]].value
        if len(self._kept) == self._num_worst and key >= self._key(self._kept[-1]):
            return
        self._kept.append((known[0], -key[1], panel()))
        self._kept.sort(key=self._key)
        del self._kept[self._num_worst:]

    def panels(self) -> list[Any]:
        """Return the worst frames, the worst first, all by the same figure."""
        return [panel for place, _, panel in self._kept if place == self._kept[0][0]]

    @staticmethod
    def _key(entry: tuple[int, float, Any]) -> tuple[int, float]:
        return entry[0], -entry[1]
