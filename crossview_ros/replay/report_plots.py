# SPDX-License-Identifier: Apache-2.0
"""Draw the diagrams of a report: latency, course over the run, error by range, reliability."""
import io
from typing import Any

from crossview_ros.replay.report_data import ReportData
import numpy as np

INK, MUTED, GRID = '#1c2733', '#5d6b7a', '#e4e9ee'
ACCENT, SECOND, LOSS = '#0f6f8f', '#d97706', '#c2311c'
_DPI = 160


def draw_plots(data: ReportData) -> dict[str, bytes]:
    """
    Return the diagrams that the data allows, as PNG files.

    :return: File stem -> PNG bytes; a diagram without data is left out.
    """
    plots = {}
    if data.num_answered:
        plots['latency_histogram'] = latency_histogram(data)
    if len(data.frames) > 1:
        plots['course'] = course(data)
    if data.ranges:
        plots['error_by_range'] = error_by_range(data)
    if data.reliability:
        plots['confidence_reliability'] = confidence_reliability(data)
    return plots


def latency_histogram(data: ReportData) -> bytes:
    """Draw how many frames took how long, with the median and the 95th percentile."""
    latencies = data.latencies_ms
    figure, axes = _figure(6.2, 3.0)
    top = float(latencies.max())
    num_bins = int(np.clip(round(2.5 * np.sqrt(latencies.size)), 6, 40))
    axes.hist(latencies, bins=np.linspace(min(latencies.min() * 0.95, 0.9 * top), top * 1.02,
                                          num_bins + 1), color=ACCENT, alpha=0.85, linewidth=0)
    for value, name, colour in zip(np.percentile(latencies, (50, 95)), ('median', 'p95'),
                                   (INK, SECOND)):
        axes.axvline(value, color=colour, linewidth=1.4, linestyle='--',
                     label=f'{name} {value:.0f} ms')
    axes.set_xlabel('latency [ms]')
    axes.set_ylabel('frames')
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, loc='upper right')
    return _png(figure)


def course(data: ReportData) -> bytes:
    """Draw latency, and depth error where the truth is known, over the frames of the run."""
    has_error = any('depth.abs_rel' in frame.figures for frame in data.frames)
    # beside the table of stages the diagram gets the whole width of the page
    figure, rows = _figure(12.8 if data.stages_ms else 6.2, 3.0, rows=2 if has_error else 1)
    rows = np.atleast_1d(rows)
    answered = [frame for frame in data.frames if frame.latency_ms is not None]
    lost = [frame.index for frame in data.frames if frame.latency_ms is None]
    rows[0].plot([f.index for f in answered], [f.latency_ms for f in answered], '.-',
                 color=ACCENT, markersize=3, linewidth=0.8)
    rows[0].set_ylabel('latency [ms]')
    rows[0].set_ylim(bottom=0)
    for index in lost:
        rows[0].axvline(index, color=LOSS, linewidth=1.0, alpha=0.6)
    if has_error:
        scored = [f for f in data.frames if 'depth.abs_rel' in f.figures]
        rows[1].plot([f.index for f in scored],
                     [100 * f.figures['depth.abs_rel'] for f in scored], '.-', color=SECOND,
                     markersize=3, linewidth=0.8)
        rows[1].set_ylabel('depth error [%]')
        rows[1].set_ylim(bottom=0)
    rows[-1].set_xlabel('frame' + ('; red: no answer' if lost else ''))
    return _png(figure)


def error_by_range(data: ReportData) -> bytes:
    """Draw the depth error of the true pixels between two distances."""
    figure, axes = _figure(6.2, 3.0)
    names = [f'{row.near_m:g}-{row.far_m:g}' for row in data.ranges]
    bars = axes.bar(names, [100 * row.abs_rel for row in data.ranges], color=ACCENT,
                    width=0.7)
    for bar, row in zip(bars, data.ranges):
        bar.set_alpha(0.85 if row.share >= 0.01 else 0.3)
    axes.bar_label(bars, [f'{100 * row.share:.0f} % of pixels' if row.share >= 0.005
                          else '< 1 % of pixels' for row in data.ranges],
                   fontsize=7, color=MUTED, padding=2)
    axes.margins(y=0.15)
    axes.set_xlabel('true depth [m]')
    axes.set_ylabel('depth error [%]')
    return _png(figure)


def confidence_reliability(data: ReportData) -> bytes:
    """Draw how often pixels are within 1 px against how often they were said to be."""
    figure, axes = _figure(6.2, 3.0)
    stated = [100 * row.confidence for row in data.reliability]
    observed = [100 * row.observed for row in data.reliability]
    sizes = [12 + 300 * row.share for row in data.reliability]
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=1.0, linestyle='--',
              label='as sure as it should be')
    axes.plot(stated, observed, color=ACCENT, linewidth=1.0)
    axes.scatter(stated, observed, s=sizes, color=ACCENT, alpha=0.85, linewidth=0, zorder=3,
                 label='measured; area = share of pixels')
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 104)
    axes.set_xlabel('stated confidence [%]')
    axes.set_ylabel('really within 1 px [%]')
    axes.legend(frameon=False, loc='upper left', scatterpoints=1, markerscale=0.5)
    return _png(figure)


def _figure(width: float, height: float, rows: int = 1) -> tuple[Any, Any]:
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


def _png(figure: Any) -> bytes:
    for axis in figure.axes:
        legend = axis.get_legend()
        for text in legend.get_texts() if legend else ():
            text.set(color=INK, fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png', metadata={'Software': None})
    return buffer.getvalue()
