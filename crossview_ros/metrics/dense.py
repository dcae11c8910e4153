# SPDX-License-Identifier: Apache-2.0
"""
The standard figures of stereo and flow, by the names that papers and benchmarks use.

Per data set the pixels of all images are pooled, per batch the means of the images are averaged
(croco.md 6.3).
"""
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from crossview_ros.metrics import Metric
from crossview_ros.metrics.pixel_errors import PixelErrors
import numpy as np

Sums = dict[str, tuple[float, int]]   # figure -> sum over pixels, number of pixels


@dataclass(frozen=True)
class Figure:
    """A mean over pixels."""

    unit: str
    values: Callable[[PixelErrors], np.ndarray]   # (M,), one value for each pixel that counts
    root: bool = False                            # of the mean


def pooled_sums(task: str, errors: PixelErrors) -> Sums:
    """
    Add up what `pooled_metrics` needs of one image, so that its pixels need not be kept.

    :param task: 'stereo' or 'flow'.
    """
    return {name: _sum(FIGURES[name].values(errors)) for name in POOLED[task]}


def pooled_metrics(sums: Iterable[Sums], empty: float = float('nan')) -> dict[str, Metric]:
    """
    Return the figures of a data set, every pixel counting the same.

    :param sums: `pooled_sums` of each image, of one task.
    :param empty: Value of a range of speeds without a pixel; the reference says 0. All other
        figures are NaN without a pixel.
    """
    images = list(sums)
    totals = {name: (sum(image[name][0] for image in images),
                     sum(image[name][1] for image in images)) for name in images[0]}
    return {name: Metric(total / count if count else empty if name in SPEEDS_PX
                         else float('nan'), FIGURES[name].unit)
            for name, (total, count) in totals.items()}


def batch_metrics(task: str, images: Iterable[PixelErrors]) -> dict[str, Metric]:
    """
    Return the figures of a batch, every image counting the same; NaN if one has no truth.

    A validation set is averaged so too; the best checkpoint has the least avgerr (stereo) or
    EPE (flow).

    :param task: 'stereo' or 'flow'.
    """
    images = list(images)
    return {name: Metric(float(np.mean([_mean(FIGURES[name], image) for image in images])),
                         FIGURES[name].unit) for name in PER_BATCH[task]}


def _mean(figure: Figure, errors: PixelErrors) -> float:
    total, count = _sum(figure.values(errors))
    mean = total / count if count else float('nan')
    return float(np.sqrt(mean)) if figure.root else mean


def _sum(values: np.ndarray) -> tuple[float, int]:
    return float(values.sum()), int(values.size)


def _bad(errors: PixelErrors, limit_px: float) -> np.ndarray:
    return 100.0 * ((errors.length > limit_px) | ~errors.found)


def _at_speed(errors: PixelErrors, low_px: float, high_px: float) -> np.ndarray:
    """Take the pixels whose truth is in [low, high); half unknown ones have no speed."""
    return errors.length[errors.whole & (errors.truth_px >= low_px) & (errors.truth_px < high_px)]


SPEEDS_PX = {'s0-10': (0, 10), 's10-40': (10, 40), 's40+': (40, np.inf)}
FIGURES = {
    'L1err': Figure('px', lambda errors: errors.l1),
    'avgerr': Figure('px', lambda errors: errors.l1),
    'rmse': Figure('px', lambda errors: errors.length ** 2, root=True),
    'EPE': Figure('px', lambda errors: errors.length),
    **{f'bad@{limit_px}': Figure('%', partial(_bad, limit_px=limit_px))
       for limit_px in (0.5, 1.0, 2.0, 3.0, 5.0)},
    **{name: Figure('px', partial(_at_speed, low_px=low, high_px=high))
       for name, (low, high) in SPEEDS_PX.items()},
    'D1-all': Figure('%', lambda errors: 100.0 * errors.outlier),   # KITTI
    'Fl-all': Figure('%', lambda errors: 100.0 * errors.outlier),   # KITTI
    'coverage': Figure('%', lambda errors: 100.0 * errors.found),
}
POOLED = {
    'stereo': ('L1err', 'bad@0.5', 'bad@1.0', 'bad@2.0', 'bad@3.0', 'D1-all', 'coverage'),
    'flow': ('L1err', 'EPE', 'bad@0.5', 'bad@1.0', 'bad@3.0', 'bad@5.0', *SPEEDS_PX, 'Fl-all',
             'coverage'),
}
PER_BATCH = {
    'stereo': ('avgerr', 'rmse', 'bad@0.5', 'bad@1.0', 'bad@2.0', 'bad@3.0'),
    'flow': ('L1err', 'EPE', 'bad@1.0', 'bad@3.0', 'bad@5.0'),
}
