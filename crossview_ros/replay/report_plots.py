# SPDX-License-Identifier: Apache-2.0
"""Draw the diagrams of a report: latency, course over the run, error by range, reliability."""
from crossview_ros.replay.calibration_scores import SparsificationRow
from crossview_ros.replay.report_canvas import ACCENT, INK, LOSS, MUTED, new_figure, png, SECOND
from crossview_ros.replay.report_data import ReportData
from crossview_ros.replay.report_paths import error_growth, lidar_scatter, top_view
from crossview_ros.replay.scores import RangeRow
import numpy as np


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
        plots['error_by_range'] = error_by_range(data.ranges, 'true depth [m]')
    if data.reliability:
        plots['confidence_reliability'] = confidence_reliability(data)
    for row in data.sparsification:
        plots[f'sparsification_{row.name}'] = sparsification_curve(row)
    if data.lidar_ranges and not data.ranges:
        plots['error_by_range'] = error_by_range(data.lidar_ranges, 'LiDAR depth [m]')
    if data.density is not None:
        plots['lidar_scatter'] = lidar_scatter(data.density)
    if data.track.num_estimated > 1:
        plots['top_view'] = top_view(data.track, data.baseline)
    if len(data.track.compared()[0]) > 1:
        plots['error_growth'] = error_growth(data.track)
    return plots


def latency_histogram(data: ReportData) -> bytes:
    """Draw how many frames took how long, with the median and the 95th percentile."""
    latencies = data.latencies_ms
    figure, axes = new_figure(6.2, 3.0)
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
    axes.set_ylim(top=1.3 * axes.get_ylim()[1])   # room for the legend
    axes.legend(loc='upper right', ncols=2, edgecolor='none', facecolor='white', framealpha=1.0)
    return png(figure)


def course(data: ReportData) -> bytes:
    """Draw latency, and depth and flow error where the truth is known, over the frames."""
    errors = [(name, label, factor) for name, label, factor in (
        ('depth.abs_rel', 'depth error [%]', 100.0), ('flow.epe', 'flow error [px]', 1.0))
        if any(name in frame.figures for frame in data.frames)]
    # beside the table of stages the diagram gets the whole width of the page
    figure, rows = new_figure(12.8 if data.stages_ms else 6.2, 3.0 + 0.8 * (len(errors) > 1),
                              rows=1 + len(errors))
    rows = np.atleast_1d(rows)
    answered = [frame for frame in data.frames if frame.latency_ms is not None]
    lost = [frame.index for frame in data.frames if frame.latency_ms is None]
    rows[0].plot([f.index for f in answered], [f.latency_ms for f in answered], '.-',
                 color=ACCENT, markersize=3, linewidth=0.8)
    rows[0].set_ylabel('latency [ms]')
    rows[0].set_ylim(bottom=0)
    for index in lost:
        rows[0].axvline(index, color=LOSS, linewidth=1.0, alpha=0.6)
    for axes, (name, label, factor) in zip(rows[1:], errors):
        scored = [frame for frame in data.frames if name in frame.figures]
        axes.plot([f.index for f in scored], [factor * f.figures[name] for f in scored], '.-',
                  color=SECOND, markersize=3, linewidth=0.8)
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    rows[-1].xaxis.get_major_locator().set_params(integer=True)
    rows[-1].set_xlabel('frame' + ('; red: no answer' if lost else ''))
    return png(figure)


def error_by_range(ranges: list[RangeRow], label: str) -> bytes:
    """Draw the depth error of the true pixels between two distances."""
    figure, axes = new_figure(6.2, 3.0)
    names = [f'{row.near_m:g}-{row.far_m:g}' for row in ranges]
    bars = axes.bar(names, [100 * row.abs_rel for row in ranges], color=ACCENT, width=0.7)
    for bar, row in zip(bars, ranges):
        bar.set_alpha(0.85 if row.share >= 0.01 else 0.3)
    axes.bar_label(bars, [f'{100 * row.share:.0f} % of pixels' if row.share >= 0.005
                          else '< 1 % of pixels' for row in ranges],
                   fontsize=7, color=MUTED, padding=2)
    axes.margins(y=0.15)
    axes.set_xlabel(label)
    axes.set_ylabel('depth error [%]')
    return png(figure)


def sparsification_curve(row: SparsificationRow) -> bytes:
    """Draw how the mean error falls as the most doubtful pixels are taken away."""
    figure, axes = new_figure(6.2, 3.0)
    removed = 100 * np.array(row.removed)
    axes.axhline(100, color=MUTED, linewidth=1.0, linestyle='--', label='by chance')
    axes.plot(removed, 100 * np.array(row.by_confidence), color=ACCENT, linewidth=1.4,
              label='by confidence')
    axes.plot(removed, 100 * np.array(row.by_error), color=SECOND, linewidth=1.4,
              label='by error: the best possible')
    axes.fill_between(removed, 100 * np.array(row.by_error), 100 * np.array(row.by_confidence),
                      color=ACCENT, alpha=0.12, linewidth=0, label='AUSE')
    axes.set_xlim(0, 100)
    axes.set_ylim(bottom=0)
    axes.set_xlabel('pixels taken away [%]')
    axes.set_ylabel('mean error of the rest [%]')
    axes.legend(frameon=False, loc='best')
    return png(figure)


def confidence_reliability(data: ReportData) -> bytes:
    """Draw how often pixels are within 1 px against how often they were said to be."""
    figure, axes = new_figure(6.2, 3.0)
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
    return png(figure)
