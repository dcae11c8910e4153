# SPDX-License-Identifier: Apache-2.0
"""Colour optical flow with the wheel of Baker et al., IJCV 2011 (the Middlebury benchmark)."""
from crossview_ros.errors import MessageError
import numpy as np

# Colours between red, yellow, green, cyan, blue, magenta and red again: as many as the eye tells
# apart there.
ARC_LENGTHS = (15, 6, 4, 11, 13, 6)
CORNERS = np.array([(255, 0, 0), (255, 255, 0), (0, 255, 0), (0, 255, 255), (0, 0, 255),
                    (255, 0, 255), (255, 0, 0)], np.float32)


def flow_to_color(flow: np.ndarray, max_px: float | None = None) -> np.ndarray:
    """
    Colour a flow: the hue is the direction, the saturation the length; no motion is white.

    :param flow: (H, W, 2) float32, u to the right and v down [px]; NaN where unknown.
    :param max_px: Length of full saturation; longer ones are darker. None: the longest.
    :return: (H, W, 3) uint8 RGB, black where the flow is not finite.
    :raises MessageError: If the shape is another.
    """
    flow = np.asarray(flow, np.float32)
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise MessageError(f'flow must be (H, W, 2), got {flow.shape}')
    known = np.isfinite(flow).all(axis=2)
    u, v = np.where(known[..., None], flow, np.float32(0)).transpose(2, 0, 1)
    length_px = np.hypot(u, v)
    if max_px is None:
        max_px = float(length_px.max(initial=0.0))
    radius = (length_px / np.float32(max(max_px, 1e-6)))[..., None]
    hue = _hue(u, v)
    color = np.where(radius <= 1, 255 - radius * (255 - hue), 0.75 * hue)
    color[~known] = 0
    return color.astype(np.uint8)


def _hue(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the saturated colours (H, W, 3) float32 of directions."""
    wheel = _wheel()
    position = (np.arctan2(-v, -u) / np.float32(np.pi) + 1) / 2 * len(wheel)
    below = np.floor(position).astype(np.intp)
    part = (position - below)[..., None]
    return (1 - part) * wheel[below % len(wheel)] + part * wheel[(below + 1) % len(wheel)]


def _wheel() -> np.ndarray:
    """Return the colours around the circle, (55, 3) float32."""
    arcs = []
    for start, end, length in zip(CORNERS[:-1], CORNERS[1:], ARC_LENGTHS):
        part = np.arange(length, dtype=np.float32)[:, None] / length
        arcs.append(np.floor((1 - part) * start + part * end))
    return np.concatenate(arcs)
