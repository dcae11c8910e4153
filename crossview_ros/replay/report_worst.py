# SPDX-License-Identifier: Apache-2.0
"""Picture the frames that came out worst, so that a reader sees what goes wrong."""
from collections.abc import Callable

from crossview_ros.replay import report_html as html
from crossview_ros.replay.figures import describe
from crossview_ros.replay.report_data import ReportData
from crossview_ros.replay.report_flow import flow_grid
from crossview_ros.replay.report_panels import depth_grid, Tiles
from crossview_ros.replay.worst_frames import DEPTH_RANKS, FLOW_RANKS


def worst_section(data: ReportData, tiles: Tiles, flow_tiles: Tiles) -> str:
    """Return the section with the worst frames; nothing where no frame could be judged."""
    body = ''.join((_box(data, 'Depth', tiles, DEPTH_RANKS, depth_grid),
                    _box(data, 'Flow', flow_tiles, FLOW_RANKS, flow_grid)))
    return html.section('The worst frames', 'Where the error was largest, the worst first; '
                        'colours and scales as above.', f'<div class="panels">{body}</div>'
                        if body else '')


def _box(data: ReportData, title: str, tiles: Tiles, ranks: tuple[str, ...],
         grid: Callable[[ReportData, Tiles], str]) -> str:
    if not tiles or len(data.frames) <= len(tiles):
        return ''   # every frame is among the worst
    name = next(name for name in ranks if name in tiles[0][0].figures)
    return html.box(f'{title}: largest {describe(name).label.lower()}', grid(data, tiles))
