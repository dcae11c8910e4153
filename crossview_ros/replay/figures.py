# SPDX-License-Identifier: Apache-2.0
"""Say what every figure of a report means, and print it with its unit."""
from dataclasses import dataclass
import math

from crossview_ros.metrics import Metric


@dataclass(frozen=True)
class Figure:
    """How one figure is called and what it says."""

    label: str
    meaning: str
    percent: bool = False   # a share of 1 that people read in percent


FIGURES = {
    'depth.abs_rel': Figure(
        'Depth error', 'mean |depth - truth| / truth; a missing pixel counts as 100 %', True),
    'depth.sq_rel': Figure('Squared relative depth error', 'mean (depth - truth)^2 / truth'),
    'depth.rmse': Figure(
        'Depth RMSE', 'root of the mean squared error; a missing pixel counts as 100 %'),
    'depth.rmse_log': Figure(
        'Depth RMSE of logarithms', 'root of the mean squared log ratio of the pixels with depth'),
    'depth.delta_1': Figure(
        'Within 25 %', 'share of true pixels whose depth is within a factor of 1.25', True),
    'depth.delta_2': Figure(
        'Within 56 %', 'share of true pixels whose depth is within a factor of 1.25^2', True),
    'depth.delta_3': Figure(
        'Within 95 %', 'share of true pixels whose depth is within a factor of 1.25^3', True),
    'depth.coverage': Figure(
        'Coverage', 'share of the true pixels in range that have a depth', True),
    'depth.valid_share': Figure('Pixels with depth', 'share of all pixels with a depth', True),
    'depth.median': Figure('Median depth', 'median over the pixels with depth'),
    'disparity.epe': Figure(
        'Disparity error', 'mean |disparity - truth|; a missing pixel counts as 20 px'),
    'disparity.epe_constant': Figure(
        'Error of the best constant', 'disparity error if every pixel got the same, best value: '
        'what no skill at all would give'),
    'disparity.bad_1': Figure('Bad 1', 'share of true pixels off by more than 1 px', True),
    'disparity.bad_2': Figure('Bad 2', 'share of true pixels off by more than 2 px', True),
    'disparity.bad_3': Figure('Bad 3', 'share of true pixels off by more than 3 px', True),
    'disparity.d1': Figure(
        'D1', 'share of true pixels off by more than 3 px and more than 5 %', True),
    'disparity.coverage': Figure(
        'Disparity coverage', 'share of the true pixels that have a disparity', True),
    'confidence.mean': Figure(
        'Mean confidence', 'stated probability that the disparity is within 1 px, mean', True),
    'photo.error': Figure(
        'Photometric error', 'mean difference of the left image and the right image moved by the '
        'disparity, of 255 grey levels: low is good, but flat surfaces are low anyway'),
    'photo.unmoved': Figure(
        'Photometric error, unmoved', 'the same pixels with the right image not moved'),
}


def describe(name: str) -> Figure:
    """Return label and meaning; an unknown name describes itself."""
    return FIGURES.get(name, Figure(name, ''))


def position(name: str) -> int:
    """Return the place of a figure in a table: as listed here, unknown ones last."""
    names = list(FIGURES)
    return names.index(name) if name in FIGURES else len(names)


def number_and_unit(name: str, metric: Metric) -> tuple[str, str]:
    """Return a figure as people read it: three significant digits, shares in percent."""
    if describe(name).percent and metric.unit != '%':
        return f'{100.0 * metric.value:.1f}', '%'
    return significant(metric.value), '' if metric.unit == '-' else metric.unit


def significant(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits and without an exponent."""
    if not math.isfinite(value):
        return '-'
    if value == 0:
        return '0'
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f'{value:.{min(6, max(0, decimals))}f}'
