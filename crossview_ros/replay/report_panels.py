# SPDX-License-Identifier: Apache-2.0
"""Lay out the pictures of a report: one row a frame, one column a quantity, one scale for all."""
from collections.abc import Sequence
from html import escape
from typing import Any

from crossview_ros.replay import report_html as html
from crossview_ros.replay import report_pictures as pictures
from crossview_ros.replay.figures import describe, number_and_unit
from crossview_ros.replay.report_data import Panel, ReportData

Tiles = list[tuple[Any, dict[str, bytes]]]   # per panel, column name -> PNG

NO_BAR = '<div class="bar"></div><div class="ticks"></div>'   # keeps the heads of a row aligned
SPREAD = 'Frames spread over the run, all on the same scales; not chosen for their quality.'
_COLUMNS = {
    'left': 'Left image',
    'points': 'Points that went in [m]',
    'depth': 'Depth [m]',
    'truth': 'True depth [m]',
    'error': 'Depth error [%]',
    'confidence': 'Confidence',
}
_CAPTION_FIGURES = ('depth.abs_rel', 'depth.delta_1', 'depth.coverage', 'disparity.epe',
                    'holdout.mae', 'holdout.mae_linear', 'lidar.abs_rel', 'photo.error',
                    'depth.median', 'confidence.mean')


def draw_tiles(panels: list[Panel]) -> Tiles:
    """
    Colour every panel, all on one depth scale.

    :return: Per panel, column name -> PNG; a column without data is left out.
    """
    scale = pictures.DepthScale.of(panels)
    return [(panel, _tiles(panel, scale)) for panel in panels]


def panel_section(data: ReportData, tiles: Tiles) -> str:
    """Return the section with the depth pictures; nothing without pictures."""
    if not tiles:
        return ''
    legend = _legend(any(panel.truth is not None for panel, _ in tiles))
    return html.section('What it saw', SPREAD,
                        f'<div class="box">{depth_grid(data, tiles)}{legend}</div>')


def depth_grid(data: ReportData, tiles: Tiles) -> str:
    """Return the depth pictures in rows, under the colour scale that all of them share."""
    bars = _bars(pictures.DepthScale.of([*data.panels, *data.worst]))
    return picture_grid(data, tiles, _COLUMNS, bars, _CAPTION_FIGURES)


def picture_grid(data: ReportData, tiles: Tiles, titles: dict[str, str], bars: dict[str, str],
                 captions: Sequence[str]) -> str:
    """
    Return pictures in rows, each with a caption below.

    :param titles: Column name -> headline, in order; columns without a picture are left out.
    :param bars: Column name -> HTML of its colour scale.
    :param captions: Figures of a panel to name in its caption.
    """
    columns = [name for name in titles if any(name in pngs for _, pngs in tiles)]
    cells = [f'<div class="head">{escape(titles[name])}{bars.get(name, NO_BAR)}</div>'
             for name in columns]
    for panel, pngs in tiles:
        cells += [f'<figure>{_cell(panel, name, titles[name], pngs)}</figure>'
                  for name in columns]
        cells.append(f'<p class="caption">{escape(_caption(panel, data, captions))}</p>')
    return (f'<div class="panels" style="grid-template-columns:repeat({len(columns)},1fr)">'
            f'{"".join(cells)}</div>')


def legend(entries: Sequence[tuple[tuple[int, int, int], str]]) -> str:
    """Return what single colours mean."""
    marks = ''.join(f'<span><i style="background:rgb{colour}"></i>{escape(text)}</span>'
                    for colour, text in entries)
    return f'<div class="legend">{marks}</div>'


def _tiles(panel: Panel, scale: pictures.DepthScale) -> dict[str, bytes]:
    depth = pictures.shrink_map(panel.depth)
    tiles = {'left': pictures.shrink_image(panel.left),
             'depth': pictures.depth_tile(depth, scale)}
    if panel.points is not None:
        tiles['points'] = pictures.depth_tile(pictures.shrink_map(panel.points), scale)
    if panel.truth is not None:
        truth = pictures.shrink_map(panel.truth)
        tiles['truth'] = pictures.depth_tile(truth, scale)
        tiles['error'] = pictures.error_tile(depth, truth)
    if panel.confidence is not None:
        tiles['confidence'] = pictures.confidence_tile(pictures.shrink_map(panel.confidence))
    return {name: pictures.png_bytes(tile) for name, tile in tiles.items()}


def _bars(scale: pictures.DepthScale) -> dict[str, str]:
    depth = html.colour_bar(pictures.depth_bar(scale))
    return {'depth': depth, 'truth': depth, 'points': depth,
            'error': html.colour_bar(pictures.error_bar()),
            'confidence': html.colour_bar(pictures.confidence_bar())}


def _cell(panel: Any, name: str, title: str, pngs: dict[str, bytes]) -> str:
    return html.picture(pngs[name], f'{title}, frame {panel.index}') if name in pngs else ''


def _caption(panel: Any, data: ReportData, names: Sequence[str]) -> str:
    start_ns = data.frames[0].stamp_ns if data.frames else panel.stamp_ns
    parts = [f'frame {panel.index}', f't = {(panel.stamp_ns - start_ns) * 1e-9:.2f} s']
    for name in names:
        if name in panel.figures:
            number, unit = number_and_unit(name, panel.figures[name])
            parts.append(f'{describe(name).label.lower()} {number} {unit}'.strip())
    return '   |   '.join(parts)


def _legend(has_truth: bool) -> str:
    entries = [(pictures.NO_DATA, 'no depth, or truth unknown' if has_truth else 'no depth'),
               (pictures.TOO_FAR, 'beyond the largest depth'),
               (pictures.TOO_NEAR, 'nearer than the smallest depth')]
    if has_truth:
        entries.append((pictures.MISSED, 'truth known, depth missing'))
    return legend(entries)
