# SPDX-License-Identifier: Apache-2.0
"""Write a report: report.html for people, metrics.json and per_frame.csv for machines, PNGs."""
from collections.abc import Callable
from pathlib import Path

from crossview_ros.replay.metrics_file import write_metrics
from crossview_ros.replay.per_frame_csv import write_per_frame
from crossview_ros.replay.report_data import ReportData
from crossview_ros.replay.report_flow import draw_flow_tiles, draw_wheel
from crossview_ros.replay.report_page import build_page
from crossview_ros.replay.report_panels import draw_tiles, Tiles
from crossview_ros.replay.report_plots import draw_plots


def write_report(out_dir: Path, data: ReportData) -> Path:
    """
    Write report.html (self-contained), metrics.json, per_frame.csv and report_pictures/.

    Pictures of an older report in the folder are replaced.

    :return: Path of report.html.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    tiles, worst = _drawn(data.panels, data.worst, draw_tiles)
    flow_tiles, worst_flow = _drawn(data.flow_panels, data.worst_flow, draw_flow_tiles)
    plots = draw_plots(data)
    if flow_tiles:
        plots['flow_wheel'] = draw_wheel()
    named = {f'frame_{panel.index:04d}_{name}.png': png
             for panel, pngs in (*tiles, *flow_tiles, *worst, *worst_flow)
             for name, png in pngs.items()}
    named.update({f'plot_{name}.png': png for name, png in plots.items()})
    _write_pictures(out_dir / 'report_pictures', named)
    write_metrics(out_dir / 'metrics.json', data)
    write_per_frame(out_dir / 'per_frame.csv', data.frames)
    page = out_dir / 'report.html'
    page.write_text(build_page(data, tiles, flow_tiles, plots, worst, worst_flow),
                    encoding='utf-8')
    return page


def _drawn(panels: list, worst: list,
           draw: Callable[[list], Tiles]) -> tuple[Tiles, Tiles]:
    """Colour two lists of panels on one scale."""
    tiles = draw([*panels, *worst])
    return tiles[:len(panels)], tiles[len(panels):]


def _write_pictures(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for old in (*folder.glob('frame_*_*.png'), *folder.glob('plot_*.png')):
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
