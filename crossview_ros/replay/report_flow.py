# SPDX-License-Identifier: Apache-2.0
"""Picture optical flow: colour wheel, error, confidence, all panels on one scale."""
from collections.abc import Iterable

from crossview_ros.geometry.flow_color import flow_to_color
from crossview_ros.replay import report_html as html
from crossview_ros.replay import report_pictures as pictures
from crossview_ros.replay.figures import significant
from crossview_ros.replay.report_data import FlowPanel, ReportData
from crossview_ros.replay.report_panels import legend, picture_grid, SPREAD, Tiles
import numpy as np

MAX_ERROR_PX = 5.0    # at the end of the colour bar
_WHEEL_PX = 96        # size of the picture; shown at half of it
_COLUMNS = {
    'before': 'Image before',
    'flow': 'Flow',
    'flow_truth': 'True flow',
    'flow_error': 'Flow error [px]',
    'flow_confidence': 'Flow confidence',
}
_CAPTION_FIGURES = ('flow.epe', 'flow.epe_visible', 'flow.epe_zero', 'flow.fl_all')
_CAPTION_WITHOUT_TRUTH = ('flow.median', 'flow.photo', 'flow.photo_unmoved')


def full_colour_px(panels: Iterable[FlowPanel]) -> float:
    """Return the motion [px] of full colour: the 98th percentile of the truth, or the flow."""
    lengths = []
    for panel in panels:
        flow = panel.flow if panel.truth is None else panel.truth
        length = np.linalg.norm(flow, axis=2)
        lengths.append(length[np.isfinite(length)])
    lengths = np.concatenate(lengths or [np.empty(0)])
    return max(float(np.percentile(lengths, 98)), 0.5) if lengths.size else 1.0


def draw_flow_tiles(panels: list[FlowPanel]) -> Tiles:
    """
    Colour every panel.

    :return: Per panel, column name -> PNG; a column without data is left out.
    """
    full_px = full_colour_px(panels)
    return [(panel, _tiles(panel, full_px)) for panel in panels]


def draw_wheel() -> bytes:
    """Return the colour wheel as PNG: the direction from the centre is that of the motion."""
    axis = np.linspace(-1.0, 1.0, _WHEEL_PX, dtype=np.float32)
    flow = np.stack(np.meshgrid(axis, axis), axis=2)
    picture = flow_to_color(flow, 1.0)
    picture[np.linalg.norm(flow, axis=2) > 1.0] = 255
    return pictures.png_bytes(picture)


def flow_section(data: ReportData, tiles: Tiles, wheel: bytes) -> str:
    """Return the section with the flow pictures; nothing without pictures."""
    if not tiles:
        return ''
    full_px = full_colour_px([*data.flow_panels, *data.worst_flow])
    has_truth = any(panel.truth is not None for panel, _ in tiles)
    grid = flow_grid(data, tiles)
    marks = [(pictures.NO_DATA, 'no flow, or truth unknown' if has_truth else 'no flow')]
    if has_truth:
        marks.append((pictures.MISSED, 'truth known, flow missing'))
    key = (f'<div class="wheel">{html.picture(wheel, "colour wheel of the flow")}<span>The hue '
           'says where a point moves until the next image, as seen from the centre of the wheel. '
           f'White is no motion, full colour {significant(full_px, 2)} px, darker is more.'
           '</span></div>')
    return html.section('How the image moves', f'From the image before to this one. {SPREAD}',
                        f'<div class="box">{key}{grid}{legend(marks)}</div>')


def flow_grid(data: ReportData, tiles: Tiles) -> str:
    """Return the flow pictures in rows."""
    bars = {'flow_error': html.colour_bar(_error_bar()),
            'flow_confidence': html.colour_bar(pictures.confidence_bar())}
    has_truth = any(panel.truth is not None for panel, _ in tiles)
    return picture_grid(data, tiles, _COLUMNS, bars,
                        _CAPTION_FIGURES if has_truth else _CAPTION_WITHOUT_TRUTH)


def _tiles(panel: FlowPanel, full_px: float) -> dict[str, bytes]:
    flow = pictures.shrink_map(panel.flow)
    tiles = {'before': pictures.shrink_image(panel.image), 'flow': _flow_tile(flow, full_px)}
    if panel.truth is not None:
        truth = pictures.shrink_map(panel.truth)
        tiles['flow_truth'] = _flow_tile(truth, full_px)
        tiles['flow_error'] = _error_tile(flow, truth)
    if panel.confidence is not None:
        tiles['flow_confidence'] = pictures.confidence_tile(pictures.shrink_map(panel.confidence))
    return {name: pictures.png_bytes(tile) for name, tile in tiles.items()}


def _flow_tile(flow: np.ndarray, full_px: float) -> np.ndarray:
    picture = flow_to_color(flow, full_px)
    picture[~np.isfinite(flow).all(axis=2)] = pictures.NO_DATA
    return picture


def _error_tile(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    known = np.isfinite(truth).all(axis=2)
    found = np.isfinite(flow).all(axis=2)
    error_px = np.linalg.norm(flow - truth, axis=2)
    picture = pictures.coloured('YlOrRd', error_px / MAX_ERROR_PX)
    picture[known & ~found] = pictures.MISSED
    return picture


def _error_bar() -> pictures.ColourBar:
    ticks = [(value / MAX_ERROR_PX, f'{value:g}') for value in (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]
    return pictures.ColourBar(pictures.colour_stops('YlOrRd'), ticks)
