# SPDX-License-Identifier: Apache-2.0
"""Does confidence tell where the errors are? The sparsification curve and the area above it."""
from dataclasses import dataclass

from crossview_ros.errors import DatasetError
import numpy as np

REMOVED = np.linspace(0.0, 0.98, 50)   # shares of the pixels that are taken away


@dataclass(frozen=True)
class Sparsification:
    """Mean error of the pixels that stay, of the mean error of all, per share taken away."""

    by_confidence: np.ndarray   # (50,) the least confident are taken away first
    by_error: np.ndarray        # (50,) the largest errors first: no confidence can do better

    @property
    def ause(self) -> float:
        """
        Return the area between both curves: 0 for a confidence that sorts as the error does.

        A confidence that says nothing has the area above the curve by error, under 1.
        """
        return _area(self.by_confidence - self.by_error)

    @property
    def ause_of_chance(self) -> float:
        """Return what a confidence that says nothing gets."""
        return _area(1.0 - self.by_error)


def sparsification(error: np.ndarray, confidence: np.ndarray) -> Sparsification | None:
    """
    Take away pixels by doubt, and by error, and follow the mean error of those that stay.

    Among pixels of equal confidence the order is left to chance: each counts as their mean.

    :param error: (M,) not negative, finite.
    :param confidence: (M,) finite, grows with trust.
    :return: None without pixels or without any error.
    :raises DatasetError: If the two differ in length.

    Source: Ilg et al., Uncertainty Estimates and Multi-Hypotheses Networks for Optical Flow,
    ECCV 2018, section 4.
    """
    error, confidence = (np.asarray(values, np.float64).reshape(-1)
                         for values in (error, confidence))
    if error.shape != confidence.shape:
        raise DatasetError(f'{error.size} errors but {confidence.size} confidences')
    if not error.size or not error.sum() > 0:
        return None
    _, group, count = np.unique(confidence, return_inverse=True, return_counts=True)
    expected = (np.bincount(group, error) / count)[group]
    return Sparsification(_curve(expected[np.argsort(confidence, kind='stable')]),
                          _curve(np.sort(error)[::-1]))


def _area(heights: np.ndarray) -> float:
    """Return the mean height over `REMOVED`, which is evenly spaced, by trapezoids."""
    return float((heights[1:] + heights[:-1]).mean() / 2)


def _curve(error: np.ndarray) -> np.ndarray:
    """Return the mean of what stays of errors in the order of their removal, of the first."""
    kept = np.cumsum(error[::-1])[::-1] / np.arange(error.size, 0, -1)
    first = np.minimum((REMOVED * error.size).astype(int), error.size - 1)
    return kept[first] / kept[0]
