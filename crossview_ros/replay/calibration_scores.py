# SPDX-License-Identifier: Apache-2.0
"""Gather over the frames of a run how well confidence sorts the errors."""
from dataclasses import dataclass

from crossview_ros.metrics import Metric
from crossview_ros.metrics.sparsification import REMOVED, Sparsification, sparsification
import numpy as np


@dataclass(frozen=True)
class SparsificationRow:
    """The curve of one quantity, the mean over frames; see `Sparsification`."""

    name: str             # 'disparity', 'lidar' or 'flow': what the error is against
    removed: list[float]
    by_confidence: list[float]
    by_error: list[float]


class SparsificationSum:
    """Sums over the frames of a run; not for use from two threads."""

    def __init__(self) -> None:
        """Start without a frame."""
        self._curves: dict[str, list[Sparsification]] = {}

    def add(self, name: str, error: np.ndarray, confidence: np.ndarray | None,
            ) -> dict[str, Metric]:
        """
        Take the pixels of one frame.

        :param name: 'disparity', 'lidar' or 'flow'.
        :param error: (H, W) not negative; NaN where it is unknown.
        :param confidence: (H, W) in [0, 1], or None.
        :return: The figures NAME.ause and NAME.ause_of_chance; empty where nothing is known.
        """
        if confidence is None:
            return {}
        known = np.isfinite(error) & np.isfinite(confidence)
        curve = sparsification(error[known], confidence[known])
        if curve is None:
            return {}
        self._curves.setdefault(name, []).append(curve)
        return {f'{name}.ause': Metric(curve.ause, '-'),
                f'{name}.ause_of_chance': Metric(curve.ause_of_chance, '-')}

    def table(self) -> list[SparsificationRow]:
        """Return the mean curve of each quantity."""
        return [SparsificationRow(
            name, REMOVED.tolist(),
            np.mean([curve.by_confidence for curve in curves], axis=0).tolist(),
            np.mean([curve.by_error for curve in curves], axis=0).tolist())
            for name, curves in self._curves.items()]
