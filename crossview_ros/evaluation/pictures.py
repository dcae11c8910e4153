# SPDX-License-Identifier: Apache-2.0
"""A picture of an answer beside its truth, and of where it is wrong."""
from pathlib import Path

import numpy as np

MAX_ERROR = {'stereo': 4.0, 'flow': 4.0, 'depth': 0.3}   # [px], [px], [share]: darkest colour
PANEL_WIDTH = 4.6   # [inch]
DPI = 110


def write_picture(path: Path, task: str, title: str, image: np.ndarray, answer: np.ndarray,
                  truth: np.ndarray) -> None:
    """
    Draw image, answer, truth and error side by side; white is unknown or not answered.

    :param task: 'stereo', 'flow' [px] or 'depth' [m].
    :param image: (H, W, 3) uint8 RGB.
    :param answer: As ``truth``: (H, W), or (H, W, 2) for flow; NaN missing.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    height = 2 * PANEL_WIDTH * image.shape[0] / image.shape[1]
    figure = Figure(figsize=(2 * PANEL_WIDTH, height + 0.7), dpi=DPI, layout='constrained')
    FigureCanvasAgg(figure)
    (first, second), (third, fourth) = figure.subplots(2, 2)
    figure.suptitle(title, fontsize=10)
    first.imshow(image)
    for axis, field in ((second, answer), (third, truth)):
        colours, scale = _colours(task, field, truth)
        axis.imshow(colours, **scale)
    error = _error(task, answer, truth)
    shown = fourth.imshow(error, cmap='YlOrRd', vmin=0, vmax=MAX_ERROR[task])
    figure.colorbar(shown, ax=fourth, shrink=0.8)
    unit = 'share of the depth' if task == 'depth' else 'px'
    titles = ('image', 'answer', 'truth', f'error [{unit}]')
    for axis, text in zip((first, second, third, fourth), titles):
        axis.set_title(text, fontsize=9)
        axis.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={'Software': None})


def _colours(task: str, field: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, dict]:
    """Return what `imshow` takes; answer and truth have the scale of the truth."""
    if task == 'flow':
        from crossview_ros.geometry.flow_color import flow_to_color
        return flow_to_color(field, float(np.nanmax(np.linalg.norm(truth, axis=2)))), {}
    low, high = np.nanpercentile(np.where(np.isfinite(truth), truth, np.nan), (1, 99))
    return np.where(np.isfinite(field), field, np.nan), \
        {'cmap': 'turbo_r' if task == 'depth' else 'turbo', 'vmin': low, 'vmax': high}


def _error(task: str, answer: np.ndarray, truth: np.ndarray) -> np.ndarray:
    difference = answer - truth
    if task == 'flow':
        return np.linalg.norm(difference, axis=2)
    difference = np.where(np.isfinite(difference), np.abs(difference), np.nan)
    return difference / truth if task == 'depth' else difference
