# SPDX-License-Identifier: Apache-2.0
"""Write per_frame.csv: a row for each frame, a column for each figure, for any spreadsheet."""
import csv
from pathlib import Path

from crossview_ros.replay.figures import position
from crossview_ros.replay.report_data import FrameRecord
import numpy as np

FIXED = ('index', 'stamp_ns', 'latency_ms')


def write_per_frame(path: Path, frames: list[FrameRecord]) -> None:
    """Write the figures of every frame; a field is empty where there is none."""
    names = sorted({name for frame in frames for name in frame.figures},
                   key=lambda name: (position(name), name))
    with path.open('w', newline='', encoding='utf-8') as file:
        rows = csv.writer(file, lineterminator='\n')
        rows.writerow((*FIXED, *names))
        for frame in frames:
            rows.writerow((frame.index, frame.stamp_ns, _text(frame.latency_ms),
                           *(_text(frame.figures.get(name)) for name in names)))


def _text(value: float | None) -> str:
    return '' if value is None or not np.isfinite(value) else f'{value:.9g}'
