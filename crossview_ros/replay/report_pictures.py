# SPDX-License-Identifier: Apache-2.0
"""Turn depth, confidence and error arrays into coloured PNG tiles and their colour bars."""
from collections.abc import Iterable
from dataclasses import dataclass
import io

from crossview_ros.replay.report_data import Panel
import numpy as np

MAX_TILE_WIDTH = 640      # [px]
MAX_ERROR = 0.3           # relative depth error at the end of the colour bar
NO_DATA = (217, 221, 226)   # light grey: invalid, or the truth is unknown
MISSED = (92, 100, 110)   # dark grey: the truth is known, the answer is missing
TOO_FAR = (38, 32, 60)
TOO_NEAR = (120, 10, 10)
_BAR_STOPS = 24


@dataclass(frozen=True)
class ColourBar:
    """A colour scale as CSS colours from low to high, and ticks at positions 0..1."""

    stops: list[str]
    ticks: list[tuple[float, str]]


@dataclass(frozen=True)
class DepthScale:
    """Logarithmic colour scale of depth that all panels of a report share."""

    near: float   # [m]
    far: float    # [m]

    @classmethod
    def of(cls, panels: Iterable[Panel]) -> 'DepthScale':
        """Span from the 2nd to the 98th percentile of the truth, or else of the depth."""
        arrays = [panel.depth if panel.truth is None else panel.truth for panel in panels]
        values = np.concatenate([a[np.isfinite(a) & (a > 0)] for a in arrays] or [np.empty(0)])
        if not values.size:
            return cls(1.0, 10.0)
        near, far = (float(value) for value in np.percentile(values, (2, 98)))
        return cls(near, max(far, 1.2 * near))

    def position(self, depth: np.ndarray) -> np.ndarray:
        """Map depth [m] to 0 (near) .. 1 (far), clipped; NaN stays."""
        with np.errstate(invalid='ignore', divide='ignore'):
            return np.clip(np.log(depth / self.near) / np.log(self.far / self.near), 0.0, 1.0)


def depth_tile(depth: np.ndarray, scale: DepthScale) -> np.ndarray:
    """Colour a depth map [m]: red is near, blue is far, grey is invalid."""
    picture = coloured('turbo_r', scale.position(depth))
    picture[np.isnan(depth)] = NO_DATA
    picture[np.isposinf(depth)] = TOO_FAR
    picture[np.isneginf(depth)] = TOO_NEAR
    return picture


def confidence_tile(confidence: np.ndarray) -> np.ndarray:
    """Colour a confidence map in [0, 1]: dark is doubtful, yellow is sure."""
    return coloured('viridis', confidence)


def error_tile(depth: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Colour |depth - truth| / truth: pale is right, dark red is 30 % off or more."""
    known = np.isfinite(truth) & (truth > 0)
    found = np.isfinite(depth)
    safe = known & found
    error = np.full(truth.shape, np.nan)
    error[safe] = np.abs(depth[safe] - truth[safe]) / truth[safe]
    picture = coloured('YlOrRd', error / MAX_ERROR)
    picture[known & ~found] = MISSED
    return picture


def depth_bar(scale: DepthScale) -> ColourBar:
    """Return the colour bar of `depth_tile`, in metres."""
    for steps in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 7), np.arange(1.0, 10.0, 0.5)):
        values = [step * 10.0 ** power for power in range(-2, 3) for step in steps]
        inside = [value for value in values if scale.near <= value <= scale.far]
        if len(inside) >= 3:
            break
    inside = inside[::-(-len(inside) // 6) or 1]
    ticks = [(float(scale.position(np.array(value))), f'{value:g}') for value in inside]
    return ColourBar(colour_stops('turbo_r'), ticks)


def confidence_bar() -> ColourBar:
    """Return the colour bar of `confidence_tile`."""
    return ColourBar(colour_stops('viridis'), [(v, f'{v:g}') for v in (0.0, 0.5, 1.0)])


def error_bar() -> ColourBar:
    """Return the colour bar of `error_tile`, in percent."""
    ticks = [(v / MAX_ERROR, f'{100 * v:.0f}') for v in (0.0, 0.1, 0.2, 0.3)]
    return ColourBar(colour_stops('YlOrRd'), ticks)


def shrink_image(image: np.ndarray) -> np.ndarray:
    """Average (H, W, 3) uint8 down by a whole factor to at most `MAX_TILE_WIDTH` columns."""
    factor = _factor(image)
    rows, cols = (size // factor for size in image.shape[:2])
    blocks = image[:rows * factor, :cols * factor].reshape(rows, factor, cols, factor, -1)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def shrink_map(values: np.ndarray) -> np.ndarray:
    """Take every n-th pixel of (H, W, ...), the grid of `shrink_image`: no mixing of values."""
    factor = _factor(values)
    rows, cols = (size // factor for size in values.shape[:2])
    return values[factor // 2::factor, factor // 2::factor][:rows, :cols]


def png_bytes(picture: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as PNG."""
    from matplotlib.image import imsave
    buffer = io.BytesIO()
    imsave(buffer, np.ascontiguousarray(picture), format='png', metadata={'Software': None})
    return buffer.getvalue()


def coloured(name: str, values: np.ndarray) -> np.ndarray:
    """Colour values in [0, 1] with a colour map of matplotlib; what is not finite is grey."""
    from matplotlib import colormaps
    invalid = ~np.isfinite(values)
    picture = colormaps[name](np.where(invalid, 0.0, np.clip(values, 0.0, 1.0)), bytes=True)
    picture = picture[..., :3].copy()
    picture[invalid] = NO_DATA
    return picture


def colour_stops(name: str) -> list[str]:
    """Return a colour map of matplotlib as CSS colours from 0 to 1."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    return [to_hex(colour) for colour in colormaps[name](np.linspace(0.0, 1.0, _BAR_STOPS))]


def _factor(array: np.ndarray) -> int:
    return max(1, -(-array.shape[1] // MAX_TILE_WIDTH))
