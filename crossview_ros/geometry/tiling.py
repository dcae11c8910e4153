# SPDX-License-Identifier: Apache-2.0
"""
Cover an image with windows of one size, and blend what they give (croco.md 4).

NumPy and OpenCV only.
"""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
import math
import re

from crossview_ros.errors import CheckpointError
import cv2
import numpy as np

START = 1e-16          # of the sum of weights
NUMBER = r'(\d+(?:\.\d+)?)'
MAX_EXPONENT = 60.0    # of a weight: beyond it float32 sums would overflow


@dataclass(frozen=True)
class TilingSpec:
    """How the windows of one task cover an image that is larger (croco.md 4)."""

    window_hw: tuple[int, int]             # [px] size that the network was trained with
    overlap: float = 0.7                   # least share that neighbours have in common
    weight: str = 'conf_expsigmoid_15_3'   # of a pixel of a window, from its raw log_scale

    def __post_init__(self) -> None:
        """Refuse what cannot cover an image."""
        object.__setattr__(self, 'window_hw', tuple(self.window_hw))
        if len(self.window_hw) != 2 or min(self.window_hw) < 1:
            raise CheckpointError('tiling: window_hw must be (height, width) in px, each at '
                                  f'least 1, got {self.window_hw}')
        if not 0 <= self.overlap < 1:
            raise CheckpointError(f'tiling: overlap must be in [0, 1), got {self.overlap}')
        parse_weight(self.weight)


@dataclass(frozen=True)
class TileLayout:
    """Where the windows lie in an image, which is enlarged if a window does not fit in."""

    scaled_hw: tuple[int, int]                # of the image, enlarged where needed [px]
    window_hw: tuple[int, int]                # [px]
    corners: tuple[tuple[int, int], ...]      # row, column of each window's top left pixel [px]

    @classmethod
    def create(cls, image_hw: tuple[int, int], spec: TilingSpec,
               overlap: float | None = None) -> 'TileLayout':
        """
        Lay windows over an image, row by row.

        :param image_hw: Size of the image [px].
        :param overlap: Least share that neighbours have in common, [0, 1), instead of the
            ``spec``'s.
        """
        scaled_hw = scaled_size(image_hw, spec.window_hw)
        rows, cols = (window_offsets(length, window, spec.overlap if overlap is None else overlap)
                      for length, window in zip(scaled_hw, spec.window_hw))
        return cls(scaled_hw, spec.window_hw, tuple((row, col) for row in rows for col in cols))

    def chunks(self, size: int) -> Iterator[tuple[tuple[int, int], ...]]:
        """Go through the corners, so many at a time."""
        for start in range(0, len(self.corners), size):
            yield self.corners[start:start + size]

    def cut(self, image: np.ndarray, corners: tuple[tuple[int, int], ...]) -> np.ndarray:
        """
        Cut windows out.

        :param image: (1, C, H, W) of ``scaled_hw``.
        :return: (len(corners), C, h, w), contiguous.
        """
        rows, cols = self.window_hw
        return np.concatenate([image[..., y:y + rows, x:x + cols] for y, x in corners])


def blend(layout: TileLayout, weight: str,
          tiles: Iterable[tuple[tuple[int, int], np.ndarray, np.ndarray]]) \
        -> tuple[np.ndarray, np.ndarray]:
    """
    Average what a network gave for each window.

    :param weight: As `TilingSpec.weight`.
    :param tiles: Of each window the corner, value (C, h, w) and raw log_scale (1, h, w); float32.
    :return: Value (1, C, H, W) and raw log_scale (1, 1, H, W) at scaled size; float32.
    """
    rows, cols = layout.window_hw
    total = np.full(layout.scaled_hw, START, np.float32)
    sums = None
    for (y, x), value, log_scale in tiles:
        planes = np.concatenate((value, log_scale))
        if sums is None:
            sums = np.zeros((len(planes), *layout.scaled_hw), np.float32)
        tile_weight = pixel_weight(log_scale[0], weight)
        total[y:y + rows, x:x + cols] += tile_weight
        sums[:, y:y + rows, x:x + cols] += tile_weight * planes
    means = (sums / total)[None]
    return means[:, :-1], means[:, -1:]


def scaled_size(image_hw: tuple[int, int], window_hw: tuple[int, int]) -> tuple[int, int]:
    """
    Return the size [px] to which an image is enlarged so that the window fits in.

    Source: croco.md 4, with the factor max(w / W, h / H) and Python's rounding.
    """
    factor = max(1.0, *(window / side for window, side in zip(window_hw, image_hw)))
    rows, cols = (round(side * factor) for side in image_hw)
    return rows, cols


def window_offsets(length: int, window: int, overlap: float) -> list[int]:
    """
    Spread windows evenly along an axis, from its first to its last pixel.

    :param length: Of the axis [px], at least ``window``.
    :return: Ascending offsets [px].
    """
    # literally so, in float64: (1 - 0.9) is a little less than 0.1 and may ask for one more
    num = 1 + int(math.ceil((length - window) / ((1 - overlap) * window)))
    return np.rint(np.linspace(0, length - window, num)).astype(int).tolist()


def pixel_weight(log_scale: np.ndarray, weight: str) -> np.ndarray:
    """
    Return how much pixels of a window count.

    :param log_scale: (h, w) float32, raw.
    :param weight: As `TilingSpec.weight`.
    :return: (h, w) float32 > 0.
    """
    beta, s = parse_weight(weight)
    # 2 (sigmoid(c / s) - 0.5) = tanh(c / 2 s)
    exponent = log_scale if s is None else np.tanh(log_scale / np.float32(2 * s))
    return np.exp(np.clip(-np.float32(beta) * exponent, -MAX_EXPONENT, MAX_EXPONENT))


def parse_weight(weight: str) -> tuple[float, float | None]:
    """
    Return beta and s of how a window's pixels weigh by their raw log_scale c (croco.md 4).

    :param weight: ``conf_expsigmoid_<beta>_<s>``: exp(-2 beta (sigmoid(c / s) - 0.5)), or
        ``conf_expbeta<beta>``: exp(-beta c), without s.
    :raises CheckpointError: If it is neither.
    """
    found = re.fullmatch(f'conf_expsigmoid_{NUMBER}_{NUMBER}|conf_expbeta{NUMBER}', weight)
    beta, s, plain_beta = found.groups() if found else (None, None, None)
    if plain_beta is not None:
        return float(plain_beta), None
    if beta is None or float(s) == 0:
        raise CheckpointError("tiling: weight must be 'conf_expsigmoid_<beta>_<s>' with s > 0 or "
                              f"'conf_expbeta<beta>', got '{weight}'")
    return float(beta), float(s)


def enlarge(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """
    Resize bicubically, pixel areas aligned, borders repeated.

    :param image: (1, C, H, W) float32.
    :param size_hw: Size of the result [px].
    """
    if image.shape[2:] == size_hw:
        return image
    planes = np.ascontiguousarray(image[0].transpose(1, 2, 0))
    planes = cv2.resize(planes, size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(planes.reshape(*size_hw, -1).transpose(2, 0, 1))[None]
