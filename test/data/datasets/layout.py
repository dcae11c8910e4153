# SPDX-License-Identifier: Apache-2.0
"""What a written fixture promises of its data set, and how its files are written."""
from dataclasses import dataclass, field
from pathlib import Path

from crossview_ros.data import io
import cv2
import numpy as np


@dataclass(frozen=True)
class Layout:
    """What opening the written folder must give."""

    kind: type                     # of a sample
    counts: dict                   # split -> samples
    breakable: str                 # a file that `needing` samples of the first split need
    needing: int = 1
    rig: tuple | None = None       # fx [px], baseline [m]; None: without calibration
    unknown: bool = True           # the truth has no value in textured_pairs.UNKNOWN
    times: tuple | None = None     # parts of the name of samples forward and backward in time
    options: dict = field(default_factory=dict)   # of the opener
    truth: dict = field(default_factory=dict)     # attribute -> its value in the first sample


def save(path, content, write=None, grey=False):
    """Write text, an image or, with a writer, anything; folders are made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.write_text(content)
    elif write is not None:
        write(path, content)
    elif grey:
        cv2.imwrite(str(path), content)
    elif path.suffix in ('.jpg', '.jpeg'):
        cv2.imwrite(str(path), content[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 98])
    else:
        io.write_image(path, np.ascontiguousarray(content))
