# SPDX-License-Identifier: Apache-2.0
"""Resize, mirror, normalise and pad an image, and say where its pixels went (simipu.md 1.3)."""
from dataclasses import dataclass
from typing import Literal

from crossview_ros.errors import DatasetError
import cv2
import numpy as np


@dataclass(frozen=True)
class ImageViewConfig:
    """
    How images vary and what the network gets.

    The default is what the released SimIPU weights expect: BGR, 0 to 255, mean subtracted.
    """

    long_side_px: tuple[int, int] = (640, 2400)   # both ends included
    short_side_px: tuple[int, int] = (192, 720)
    channels: Literal['bgr', 'rgb'] = 'bgr'
    mean: tuple[float, float, float] = (103.53, 116.28, 123.675)   # in the order of ``channels``
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    multiple_px: int = 32                         # sides are padded to multiples of this

    def __post_init__(self):
        """Refuse empty ranges."""
        for low, high in (self.long_side_px, self.short_side_px):
            if not 0 < low <= high:
                raise ValueError(f'sides must be a range of positive pixels, got {low} to {high}')
        if self.multiple_px < 1 or min(self.std) <= 0:
            raise ValueError('multiple_px and std must be positive')


# What CroCo's encoder expects (croco.md 1.3), as an image branch of SimIPU.
CROCO_IMAGES = ImageViewConfig(channels='rgb', mean=(123.675, 116.28, 103.53),
                               std=(58.395, 57.12, 57.375))


@dataclass(frozen=True)
class ImageView:
    """A normalised image and how its pixels follow from those of the original one."""

    image: np.ndarray       # (3, H, W) float32, padded with zeros at the right and the bottom
    transform: np.ndarray   # (2, 3) float64: (u, v, 1) of the original [px] to (u, v) here
    size_hw: tuple[int, int]   # [px] without the padding


def draw_box(config: ImageViewConfig, rng: np.random.Generator) -> tuple[int, int]:
    """Draw the long and the short side [px] into which an image shall fit."""
    return (int(rng.integers(*config.long_side_px, endpoint=True)),
            int(rng.integers(*config.short_side_px, endpoint=True)))


def size_in_box(size_hw: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size (height, width) [px] of the same shape that fits into a box."""
    ratio = min(max(box) / max(size_hw), min(box) / min(size_hw))
    return tuple(int(side * ratio + 0.5) for side in size_hw)


def resize_and_flip(image: np.ndarray, size_hw: tuple[int, int],
                    flip: bool) -> tuple[np.ndarray, np.ndarray]:
    """
    Resize an image and mirror it left to right.

    :param image: (H, W, 3) uint8.
    :return: The image (uint8), and the (2, 3) float64 matrix of its pixels. Scaling is by the
        ratio of the sides, and mirroring maps u to width - u, as in simipu.md 5.1.
    :raises DatasetError: If a side vanishes.
    """
    if min(size_hw) < 1:
        raise DatasetError(f'an image of {image.shape[:2]} px cannot become {size_hw} (H, W)')
    height, width = size_hw
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    transform = np.array([[width / image.shape[1], 0.0, 0.0],
                          [0.0, height / image.shape[0], 0.0]])
    if flip:
        resized = np.ascontiguousarray(resized[:, ::-1])
        transform[0] = -transform[0, 0], 0.0, width
    return resized, transform


def image_view(image: np.ndarray, box: tuple[int, int], flip: bool,
               config: ImageViewConfig) -> ImageView:
    """
    Make the network's image.

    :param image: (H, W, 3) uint8 RGB.
    :param box: Long and short side [px], as of `draw_box`.
    :raises DatasetError: For another type or shape.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DatasetError(f'expected a (H, W, 3) uint8 image, got {image.dtype} {image.shape}')
    size_hw = size_in_box(image.shape[:2], box)
    resized, transform = resize_and_flip(image, size_hw, flip)
    values = resized[..., ::-1] if config.channels == 'bgr' else resized
    values = (values - np.float32(config.mean)) / np.float32(config.std)
    padded = np.zeros((3, *(-(-side // config.multiple_px) * config.multiple_px
                            for side in size_hw)), np.float32)
    padded[:, :size_hw[0], :size_hw[1]] = values.transpose(2, 0, 1)
    return ImageView(padded, transform, size_hw)
