# SPDX-License-Identifier: Apache-2.0
"""Augmentation of images with depth as in the published SimIPU experiments (simipu.md 11)."""
from dataclasses import dataclass, replace

from crossview_ros.data.augment_stereo import check_settings, Range
from crossview_ros.data.augment_views import depth_at_least, mirrored
from crossview_ros.data.samples import DepthSample
from crossview_ros.geometry.windows import bottom_window
import cv2
import numpy as np


@dataclass(frozen=True)
class MonocularAugmentation:
    """Crops, a small rotation, a flip and changes of colour; the defaults are those of KITTI."""

    crop_hw: tuple[int, int] = (352, 704)         # [px], random; a run's data.crop_hw
    bottom_hw: tuple[int, int] | None = None      # [px] kept of each image: bottom rows, middle
    #                                               columns; of validation too. KITTI: 352 x 1216
    border: tuple[int, int, int, int] | None = None   # [px] rows from, to, columns from, to that
    #                                               training keeps. NYU: 45, 472, 43, 608
    rotation_probability: float = 0.5
    rotation_deg: Range = (-2.5, 2.5)             # about the middle
    flip_x_probability: float = 0.5               # left to right
    colour_probability: float = 0.5               # of all three changes together
    gamma: Range = (0.9, 1.1)                     # of colours in [0, 255], as the reference
    brightness: Range = (0.9, 1.1)
    channel: Range = (0.9, 1.1)                   # factor of each channel

    def __post_init__(self):
        """Refuse probabilities and ranges that make no sense."""
        check_settings(self)


def augment_monocular(sample: DepthSample, config: MonocularAugmentation,
                      rng: np.random.Generator) -> DepthSample:
    """
    Crop to what is fixed, rotate, flip, crop at random and change colours, in this order.

    Nothing is known outside of a rotated image: black, depth NaN. The sample has no pose.
    """
    sample = replace(fixed_view(sample, config), T_world_camera=None)
    if config.border is not None:
        top, bottom, left, right = config.border
        sample = sample.cropped(left, top, right - left, bottom - top)
    if rng.random() < config.rotation_probability:
        sample = rotated(sample, rng.uniform(*config.rotation_deg))
    if rng.random() < config.flip_x_probability:
        sample = mirrored(sample)
    sample = depth_at_least(sample, config.crop_hw)
    x, y = (int(rng.integers(side - crop + 1)) for side, crop in
            zip(sample.image.shape[1::-1], config.crop_hw[::-1]))
    sample = sample.cropped(x, y, config.crop_hw[1], config.crop_hw[0])
    if rng.random() < config.colour_probability:
        sample = replace(sample, image=coloured(sample.image, config, rng))
    return sample


def fixed_view(sample: DepthSample, config: MonocularAugmentation) -> DepthSample:
    """Return what both training and validation see of a sample."""
    if config.bottom_hw is None:
        return sample
    sample = depth_at_least(sample, config.bottom_hw)
    return sample.cropped(*bottom_window(sample.image.shape[:2], config.bottom_hw))


def rotated(sample: DepthSample, angle_deg: float) -> DepthSample:
    """Turn image (bilinear) and depth (nearest) about the middle; the camera stays as it is."""
    rows, cols = sample.depth.shape
    turn = cv2.getRotationMatrix2D(((cols - 1) / 2, (rows - 1) / 2), angle_deg, 1.0)
    image = cv2.warpAffine(np.ascontiguousarray(sample.image), turn, (cols, rows))
    depth = cv2.warpAffine(sample.depth, turn, (cols, rows), flags=cv2.INTER_NEAREST,
                           borderValue=float('nan'))
    return replace(sample, image=image, depth=depth)


def coloured(image: np.ndarray, config: MonocularAugmentation,
             rng: np.random.Generator) -> np.ndarray:
    """
    Change gamma, brightness and channels.

    The gamma is that of values in [0, 255]: at 1.1 a grey of 128 becomes 208, and all above 154
    white. So do the published models see it.
    """
    factors = rng.uniform(*config.brightness) * rng.uniform(*config.channel, 3)
    changed = image.astype(np.float32) ** rng.uniform(*config.gamma) * factors
    return np.rint(np.clip(changed, 0, 255)).astype(np.uint8)
