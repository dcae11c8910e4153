# SPDX-License-Identifier: Apache-2.0
"""Draw where the camera went, how the error grows on the way, and depth against LiDAR."""
from typing import Any

from crossview_ros.geometry.se3 import invert
from crossview_ros.replay.lidar_scores import DepthDensity
from crossview_ros.replay.odometry_scores import errors_along_path, Track
from crossview_ros.replay.report_canvas import (
    ACCENT, GRID, INK, LOSS, MUTED, new_figure, png, SECOND)
from crossview_ros.replay.report_data import Baseline
import numpy as np


def top_view(track: Track, baseline: Baseline | None = None) -> bytes:
    """Draw the way from above, in the frame of the first camera pose."""
    figure, axes = new_figure(6.2, 4.4)
    _, estimate, truth = track.compared()
    if not len(estimate):
        estimate = track.estimate()
    first = truth[0] if len(truth) else estimate[0]
    if len(truth):
        _draw_path(axes, first, truth, color=MUTED, linewidth=3.5, alpha=0.5, label='truth')
    if baseline is not None and len(truth):
        _draw_path(axes, first, baseline.track.compared()[1], color=SECOND, linewidth=1.2,
                   linestyle='--', label=baseline.name)
    _draw_path(axes, first, estimate, color=ACCENT, linewidth=1.4, label='odometry')
    lost = [frame.truth for frame in track.frames if frame.lost and frame.truth is not None]
    if lost:
        right, forward = _from_above(first, np.array(lost))
        axes.plot(right, forward, 'x', color=LOSS, markersize=5, label='lost')
    axes.plot(0.0, 0.0, 'o', color=INK, markersize=5, label='start')
    _square(axes)
    axes.grid(axis='both', color=GRID, linewidth=0.8)
    axes.set_xlabel('to the right [m]')
    axes.set_ylabel('forward [m]')
    axes.legend(frameon=False, loc='best')
    return png(figure)


def error_growth(track: Track) -> bytes:
    """Draw position and rotation error over the true distance, or over time when standing."""
    travelled, position_m, rotation_deg = errors_along_path(track)
    label = 'true distance travelled [m]'
    if track.stands_still:
        frames, _, _ = track.compared()
        travelled = np.array([frame.stamp_ns - frames[0].stamp_ns for frame in frames]) * 1e-9
        label = 'time [s]; the camera stands still'
    figure, rows = new_figure(6.2, 4.4, rows=2)
    for axes, values, name, colour in ((rows[0], position_m, 'position error [m]', ACCENT),
                                       (rows[1], rotation_deg, 'rotation error [deg]', SECOND)):
        axes.plot(travelled, values, '.-', color=colour, markersize=3, linewidth=1.0)
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
    rows[1].set_xlabel(label)
    return png(figure)


def lidar_scatter(density: DepthDensity) -> bytes:
    """Draw predicted against LiDAR depth, both logarithmic; dark is where many points are."""
    from matplotlib.colors import LogNorm
    figure, axes = new_figure(6.2, 4.4)
    counts = density.counts.T.astype(float)
    used = np.flatnonzero(density.counts.sum(axis=0) + density.counts.sum(axis=1))
    low, high = density.edges_m[used[0]], density.edges_m[used[-1] + 1]
    mesh = axes.pcolormesh(density.edges_m, density.edges_m, np.where(counts > 0, counts, np.nan),
                           cmap='GnBu', norm=LogNorm(0.5, max(counts.max(), 1.0)),
                           rasterized=True)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=1.0, linestyle='--',
              label='equal')
    for axis in ('x', 'y'):
        getattr(axes, f'set_{axis}scale')('log')
        getattr(axes, f'set_{axis}lim')(low, high)
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis, low, high)
    axes.set_aspect('equal')
    axes.set_xlabel('LiDAR depth [m]')
    axes.set_ylabel('predicted depth [m]')
    axes.legend(frameon=False, loc='upper left')
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
    bar.set_label('points', color=MUTED, fontsize=8.5)
    bar.ax.tick_params(colors=MUTED, labelsize=8)
    bar.outline.set_visible(False)
    return png(figure)


def _draw_path(axes: Any, first: np.ndarray, poses: np.ndarray, **style: Any) -> None:
    axes.plot(*_from_above(first, poses), **style)


def _from_above(first: np.ndarray, poses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return right and forward [m] in the frame of a camera pose."""
    positions = (invert(first) @ poses)[:, :3, 3]
    return positions[:, 0], positions[:, 2]


def _square(axes: Any) -> None:
    """Show the same length on both axes, and not less than a centimetre."""
    box = axes.dataLim
    centre = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    axes.update_datalim([centre - 0.005, centre + 0.005])
    axes.set_aspect('equal', adjustable='datalim')
    axes.autoscale_view()


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, StrMethodFormatter
    values = [step * 10.0 ** power for power in range(-2, 4) for step in (1, 2, 5)]
    axis.set_major_locator(FixedLocator([value for value in values if low <= value <= high]))
    axis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axis.set_minor_formatter(NullFormatter())
