# SPDX-License-Identifier: Apache-2.0
"""Compare one frame's depth, disparity and confidence with the truth, and sum up over frames."""
from dataclasses import dataclass, field

from crossview_ros.metrics import Metric
from crossview_ros.metrics.depth import depth_metrics
from crossview_ros.metrics.disparity import best_constant_disparity, disparity_metrics
import numpy as np

RANGE_EDGES_M = (0.0, 5.0, 10.0, 20.0, 40.0, 80.0)
NUM_CONFIDENCE_BINS = 10


@dataclass(frozen=True)
class Truth:
    """What is known to be true of one left image; None where the bag does not say."""

    depth: np.ndarray | None = None       # (H, W) float32 [m], NaN unknown
    disparity: np.ndarray | None = None   # (H, W) float32 [px], NaN unknown
    # (H, W, 2) float32 [px] on the grid of the left image before this one, NaN unknown
    flow: np.ndarray | None = None
    flow_hidden: np.ndarray | None = None   # (H, W) bool: not visible in this left image
    T_world_camera: np.ndarray | None = None   # (4, 4) of the left camera, in any fixed frame


@dataclass(frozen=True)
class RangeRow:
    """Depth error of the true pixels between two distances."""

    near_m: float
    far_m: float
    share: float      # of all true pixels, 0..1
    coverage: float   # of the row's true pixels that have a depth, 0..1
    abs_rel: float    # mean |error| / truth, a missing pixel counts as 1
    mean_abs_m: float   # mean |error| of the pixels that have a depth [m]


@dataclass(frozen=True)
class ReliabilityRow:
    """How often pixels of like confidence are really within 1 px."""

    confidence: float   # mean of the row's pixels, 0..1
    observed: float     # share of them with |disparity error| < 1 px, 0..1
    share: float        # of all compared pixels, 0..1


class RangeSum:
    """Depth errors by true distance, added up over frames; not for use from two threads."""

    def __init__(self) -> None:
        """Start without a pixel."""
        self._sums = np.zeros((len(RANGE_EDGES_M) - 1, 4))

    def add(self, depth: np.ndarray, truth: np.ndarray) -> None:
        """Take the pixels of one frame, (H, W) [m] each; not finite is missing or unknown."""
        self._sums += _range_sums(depth, truth)

    def table(self) -> list[RangeRow]:
        """Return the depth error by true distance; rows without a true pixel are left out."""
        total = self._sums[:, 0].sum()
        return [RangeRow(near, far, count / total, found / count, relative / count,
                         absolute / found if found else float('nan'))
                for near, far, (count, found, relative, absolute)
                in zip(RANGE_EDGES_M, RANGE_EDGES_M[1:], self._sums) if count]


@dataclass
class ScoreSum:
    """
    Sums of all frames scored so far; not for use from two threads.

    Each figure is the mean over frames of that frame's figure; the tables count pixels.
    """

    min_depth: float = 0.1    # [m]
    max_depth: float = 80.0   # [m]
    frames: dict[str, list[float]] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    _ranges: RangeSum = field(default_factory=RangeSum, repr=False)
    _bins: np.ndarray = field(
        default_factory=lambda: np.zeros((NUM_CONFIDENCE_BINS, 3)), repr=False)

    def add(self, depth: np.ndarray | None, disparity: np.ndarray | None,
            confidence: np.ndarray | None, truth: Truth) -> dict[str, Metric]:
        """
        Score one frame and add it to the sums.

        :param depth: (H, W) float32 [m]; NaN and infinities are missing.
        :param disparity: (H, W) float32 [px]; NaN is missing.
        :param confidence: (H, W) float32 in [0, 1], or None.
        :return: The frame's own figures, by name; empty without truth and depth.
        """
        figures = score_frame(depth, disparity, confidence, truth, self.min_depth, self.max_depth)
        self.note(figures)
        if depth is not None and truth.depth is not None:
            self._ranges.add(depth, truth.depth)
        if disparity is not None and confidence is not None and truth.disparity is not None:
            self._bins += _confidence_sums(disparity, confidence, truth.disparity)
        return figures

    def note(self, figures: dict[str, Metric]) -> None:
        """Take the figures of one frame into the mean over frames."""
        for name, metric in figures.items():
            self.frames.setdefault(name, []).append(metric.value)
            self.units[name] = metric.unit

    def figures(self) -> dict[str, Metric]:
        """Return the mean over frames of every figure; frames where it is undefined are left."""
        means = {}
        for name, values in self.frames.items():
            defined = np.asarray(values, np.float64)
            defined = defined[np.isfinite(defined)]
            if defined.size:
                means[name] = Metric(float(defined.mean()), self.units[name])
        return means

    def range_table(self) -> list[RangeRow]:
        """Return the depth error by true distance; rows without a true pixel are left out."""
        return self._ranges.table()

    def reliability_table(self) -> list[ReliabilityRow]:
        """Return stated against observed confidence; rows without a pixel are left out."""
        total = self._bins[:, 0].sum()
        return [ReliabilityRow(stated / count, right / count, count / total)
                for count, stated, right in self._bins if count]


def score_frame(depth: np.ndarray | None, disparity: np.ndarray | None,
                confidence: np.ndarray | None, truth: Truth,
                min_depth: float, max_depth: float) -> dict[str, Metric]:
    """
    Return every figure that one frame allows.

    :param min_depth: True depths below it are not compared [m].
    :param max_depth: True depths above it are not compared [m].
    """
    figures = {}
    if depth is not None:
        figures['depth.valid_share'] = Metric(float(np.isfinite(depth).mean()), '-')
        if np.isfinite(depth).any():
            figures['depth.median'] = Metric(float(np.median(depth[np.isfinite(depth)])), 'm')
    if confidence is not None and np.isfinite(confidence).any():
        figures['confidence.mean'] = Metric(float(np.nanmean(confidence)), '-')
    if depth is not None and truth.depth is not None:
        scores = depth_metrics(depth, truth.depth, min_depth, max_depth)
        figures.update({f'depth.{name}': metric for name, metric in scores.items()})
    if disparity is not None and truth.disparity is not None:
        scores = disparity_metrics(disparity, truth.disparity)
        figures.update({f'disparity.{name}': metric for name, metric in scores.items()})
        constant = np.full_like(truth.disparity, best_constant_disparity(truth.disparity))
        figures['disparity.epe_constant'] = disparity_metrics(constant, truth.disparity)['epe']
    return figures


def _range_sums(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Return per range (true pixels, pixels with depth, sum of relative, sum of |error|)."""
    known = np.isfinite(truth) & (truth > 0)
    target = truth[known].astype(np.float64)
    found = np.isfinite(depth[known])
    error = np.where(found, np.abs(np.where(found, depth[known], 0.0) - target), 0.0)
    relative = np.where(found, error / target, 1.0)
    row = np.digitize(target, RANGE_EDGES_M) - 1
    inside = row < len(RANGE_EDGES_M) - 1
    columns = (np.ones_like(target), found.astype(np.float64), relative, error)
    return np.stack([np.bincount(row[inside], values[inside], len(RANGE_EDGES_M) - 1)
                     for values in columns], axis=1)


def _confidence_sums(disparity: np.ndarray, confidence: np.ndarray,
                     truth: np.ndarray) -> np.ndarray:
    """Return per confidence bin (pixels, sum of confidence, pixels within 1 px)."""
    known = np.isfinite(disparity) & np.isfinite(confidence) & np.isfinite(truth)
    stated = confidence[known].astype(np.float64)
    right = (np.abs(disparity[known] - truth[known]) < 1.0).astype(np.float64)
    row = np.minimum((stated * NUM_CONFIDENCE_BINS).astype(int), NUM_CONFIDENCE_BINS - 1)
    return np.stack([np.bincount(row, values, NUM_CONFIDENCE_BINS)
                     for values in (np.ones_like(stated), stated, right)], axis=1)
