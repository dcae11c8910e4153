# SPDX-License-Identifier: Apache-2.0
"""Write a report: report.html for people, metrics.json for machines, and its pictures as PNG."""
from pathlib import Path

from crossview_ros.replay.metrics_file import write_metrics
from crossview_ros.replay.report_data import ReportData
from crossview_ros.replay.report_flow import draw_flow_tiles, draw_wheel
from crossview_ros.replay.report_page import build_page
from crossview_ros.replay.report_panels import draw_tiles
from crossview_ros.replay.report_plots import draw_plots


def write_report(out_dir: Path, data: ReportData) -> Path:
    """
    Write report.html (self-contained), metrics.json and the PNGs (report_pictures/).

    Pictures of an older report in the folder are replaced.

    :return: Path of report.html.
    """
    out_dir = Path(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    tiles, flow_tiles = draw_tiles(data.panels), draw_flow_tiles(data.flow_panels)
    plots = draw_plots(data)
    if flow_tiles:
        plots['flow_wheel'] = draw_wheel()
    named = {f'frame_{panel.index:04d}_{name}.png': png
             for panel, pngs in (*tiles, *flow_tiles) for name, png in pngs.items()}
    named.update({f'plot_{name}.png': png for name, png in plots.items()})
    _write_pictures(out_dir / 'report_pictures', named)
    write_metrics(out_dir / 'metrics.json', data)
    page = out_dir / 'report.html'
    page.write_text(build_page(data, tiles, flow_tiles, plots), encoding='utf-8')
    return page


def _write_pictures(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for old in (*folder.glob('frame_*_*.png'), *folder.glob('plot_*.png')):
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
