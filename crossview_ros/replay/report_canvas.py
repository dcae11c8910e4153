# SPDX-License-Identifier: Apache-2.0
"""Colours and canvas that all diagrams of a report share."""
import io
from typing import Any

import numpy as np

INK, MUTED, GRID = '#1c2733', '#5d6b7a', '#e4e9ee'
ACCENT, SECOND, LOSS = '#0f6f8f', '#d97706', '#c2311c'
_DPI = 160


def new_figure(width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
    """Return a figure of a size in inches and its axes, one below the other."""
    # an own canvas: pyplot would pick a window system and keep every figure alive
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor='white', layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, 1, sharex=True)
    for axis in np.atleast_1d(axes):
        axis.grid(axis='y', color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
        axis.spines[['top', 'right']].set_visible(False)
        axis.spines[['left', 'bottom']].set_color(GRID)
        axis.tick_params(colors=MUTED, labelsize=8)
        axis.xaxis.label.set(color=MUTED, fontsize=8.5)
        axis.yaxis.label.set(color=MUTED, fontsize=8.5)
    return figure, axes


def png(figure: Any) -> bytes:
    """Return a figure as PNG."""
    for axis in figure.axes:
        legend = axis.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set(color=INK, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', metadata={'Software': None})
    return buffer.getvalue()
