# SPDX-License-Identifier: Apache-2.0
"""Diagrams of an experiment: the validation of each row over the steps of its fine-tuning."""
from typing import Any

from crossview_ros.experiments.summary import Figure, FIGURES
from crossview_ros.replay.report_canvas import new_figure, png
import numpy as np

COLOURS = ('#0f6f8f', '#d97706', '#5d6b7a', '#c2311c', '#4d8c3a', '#7a4fa3', '#a8763e', '#1c2733')
STYLES = ('-', '--', ':')   # of the fractions, the largest first


def draw_curves(results: dict[str, Any]) -> dict[str, bytes]:
    """
    Draw one diagram for each cell that has results.

    :param results: As `gather` returns.
    :return: Cell -> PNG: one axis for each figure, one line for each row and fraction, the mean
        over seeds, with a band of one standard deviation.
    """
    tuned = [leg for leg in results['legs'] if leg['cell'] is not None]
    return {cell: _diagram(results, [leg for leg in tuned if leg['cell'] == cell])
            for cell in results['cells'] if any(leg['cell'] == cell for leg in tuned)}


def _diagram(results: dict[str, Any], legs: list[dict]) -> bytes:
    figures = FIGURES[legs[0]['task']]
    canvas, axes = new_figure(7.2, 2.3 * len(figures) + 0.6, rows=len(figures))
    axes = np.atleast_1d(axes)
    fractions = sorted({leg['fraction'] for leg in legs}, reverse=True)
    rows = [row for row in results['rows'] if any(leg['row'] == row for leg in legs)]
    for axis, figure in zip(axes, figures):
        for number, row in enumerate(rows):
            for fraction, style in zip(fractions, STYLES):
                chosen = [leg for leg in legs
                          if (leg['row'], leg['fraction']) == (row, fraction)]
                if chosen:
                    _line(axis, chosen, figure, COLOURS[number % len(COLOURS)], style,
                          f'{results["rows"][row]}, {100 * fraction:g} %')
        unit = '' if figure.unit == '-' else f' [{figure.unit}]'
        axis.set_ylabel(figure.label + unit)
    axes[-1].set_xlabel('step of the fine-tuning; band: one standard deviation over seeds')
    axes[0].legend(loc='upper left', bbox_to_anchor=(1.0, 1.0), frameon=False)
    return png(canvas)


def _line(axis: Any, legs: list[dict], figure: Figure, colour: str, style: str,
          label: str) -> None:
    steps = [point['step'] for point in legs[0]['curve']]
    values = figure.factor * np.array([[point[figure.key] for point in leg['curve']]
                                       for leg in legs])
    mean = values.mean(0)
    axis.plot(steps, mean, style, color=colour, linewidth=1.3, marker='.', markersize=4,
              label=label)
    if len(values) > 1:
        deviation = values.std(0, ddof=1)
        axis.fill_between(steps, mean - deviation, mean + deviation, color=colour, alpha=0.12,
                          linewidth=0)
