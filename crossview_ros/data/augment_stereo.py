# SPDX-License-Identifier: Apache-2.0
"""
Augmentation of stereo pairs for fine-tuning: croco.md 8.1.

Where the reference behaves as it seems not to intend (croco.md 11), this does not follow it:
the right image's own saturation factor has the same range as the shared one; the centre of the
rotation is drawn within the image's width and height; images lower than the crop are stretched
as narrow ones are; truth at twice the image's size (Spring) is brought to the image's grid.
"""
from collections.abc import Callable
from dataclasses import dataclass, replace

from crossview_ros.data.colour import CHANGES, to_float, to_uint8
from crossview_ros.data.samples import StereoSample
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import cv2
import numpy as np

MARGIN_PX = 8          # an image is at least this much larger than the crop after scaling
LARGE_SIDE_PX = 800    # images whose shorter side reaches it are scaled less
Range = tuple[float, float]


@dataclass(frozen=True)
class StereoAugmentation:
    """Probabilities and ranges of croco.md 8.1."""

    crop_hw: tuple[int, int] = (352, 704)          # [px]
    scale_probability: float = 0.5
    log2_scale: Range = (0.0, 1.0)                 # of the x axis
    log2_scale_large: Range = (-0.2, 0.4)          # where the shorter side is at least 800 px
    flip_probability: float = 0.5                  # top to bottom
    misalign_probability: float = 0.5              # of the right image against the left
    rotation_deg: Range = (-0.1, 0.1)
    shift_px: Range = (-2.0, 2.0)                  # vertical
    single_colour_probability: float = 0.5         # one kind of change instead of all
    colour_probability: float = 0.5                # of each chosen kind
    own_colour_probability: float = 0.5            # of a factor of the right image's own
    contrast: Range = (0.8, 1.2)
    gamma: Range = (0.7, 1.5)
    brightness: Range = (0.5, 2.0)
    hue: Range = (-0.1, 0.1)                       # of the whole circle
    saturation: Range = (0.8, 1.2)

    def __post_init__(self):
        """Refuse probabilities and ranges that make no sense."""
        check_settings(self)


def check_settings(config: object) -> None:
    """
    Check every probability, range and crop of an augmentation's settings.

    :raises ConfigError: If one is impossible.
    """
    for name, value in vars(config).items():
        if name.endswith('probability') and not 0 <= value <= 1:
            raise ConfigError(f'{name} must be in [0, 1], got {value}')
        if name.endswith('_hw') and value is not None and min(value) < 1:
            raise ConfigError(f'{name} must be positive [px], got {value}')
        if not name.endswith('_hw') and isinstance(value, tuple) and not value[0] <= value[1]:
            raise ConfigError(f'{name} must be (low, high), got {value}')


def augment_stereo(sample: StereoSample, config: StereoAugmentation,
                   rng: np.random.Generator) -> StereoSample:
    """
    Scale, crop, flip, misalign and colour a pair at random, in this order.

    The rig follows scale, crop and flip, not the small misalignment of the right image.

    :return: A sample of `crop_hw`; disparity [px] of the cropped images.
    """
    sample = _scaled(sample, config, rng)
    rows, cols = config.crop_hw
    x, y = (int(rng.integers(side - crop + 1)) for side, crop in
            ((sample.left.shape[1], cols), (sample.left.shape[0], rows)))
    sample = sample.cropped(x, y, cols, rows)
    if rng.random() < config.flip_probability:
        sample = flipped(sample)
    right = sample.right
    if rng.random() < config.misalign_probability:
        right = misaligned(right, config, rng)
    left, right = coloured(to_float(sample.left), to_float(right), config, rng)
    return replace(sample, left=to_uint8(left), right=to_uint8(right),
                   disparity=np.ascontiguousarray(sample.disparity))


def scale_factors(size_hw: tuple[int, int], config: StereoAugmentation,
                  rng: np.random.Generator) -> tuple[float, float]:
    """Draw the factors of the x and y axes; y changes only where the crop would not fit."""
    rows, cols = size_hw
    crop_rows, crop_cols = config.crop_hw
    factor = 1.0
    if rng.random() < config.scale_probability:
        large = min(size_hw) >= LARGE_SIDE_PX
        factor = 2 ** rng.uniform(*(config.log2_scale_large if large else config.log2_scale))
    return (max(factor, (crop_cols + MARGIN_PX) / cols),
            (crop_rows + MARGIN_PX) / rows if rows < crop_rows else 1.0)


def resized(sample: StereoSample, fx: float, fy: float) -> StereoSample:
    """
    Resize a pair; its disparity is taken from the nearest pixel and multiplied by fx.

    :return: A sample with truth on the grid of its images.
    """
    disparity = sample.disparity
    if (fx, fy) == (1, 1) and sample.truth_scale == 1:
        return sample
    k = sample.truth_scale
    left, right = (resize_image(image, fx, fy) for image in (sample.left, sample.right))
    disparity = cv2.resize(disparity, None, fx=fx / k, fy=fy / k,
                           interpolation=cv2.INTER_NEAREST) * np.float32(fx)
    rig = sample.rig and sample.rig.scaled(left.shape[1], left.shape[0])
    return replace(sample, left=left, right=right, disparity=disparity, rig=rig, truth_scale=1)


def resize_image(image: np.ndarray, fx: float, fy: float) -> np.ndarray:
    """Resize bilinearly, sampling at steps of exactly 1 / factor (croco.md 8.2)."""
    return cv2.resize(image, None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR)


def flipped(sample: StereoSample) -> StereoSample:
    """Turn a pair top to bottom; disparities keep their sign."""
    return replace(sample, left=sample.left[::-1], right=sample.right[::-1],
                   disparity=sample.disparity[::-1], rig=sample.rig and _flipped_rig(sample.rig))


def misaligned(image: np.ndarray, config: StereoAugmentation,
               rng: np.random.Generator) -> np.ndarray:
    """Turn an image a little about a random point, then shift it vertically."""
    rows, cols = image.shape[:2]
    angle_deg, shift = rng.uniform(*config.rotation_deg), rng.uniform(*config.shift_px)
    centre = rng.uniform(0, cols), rng.uniform(0, rows)
    motion = cv2.getRotationMatrix2D(centre, angle_deg, 1.0)
    motion[1, 2] += shift
    return cv2.warpAffine(np.ascontiguousarray(image), motion, (cols, rows),
                          flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def coloured(left: np.ndarray, right: np.ndarray, config: StereoAugmentation,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """
    Change the colours of a pair, sometimes of the right image otherwise than of the left.

    :param left: (H, W, 3) float32 in [0, 1], and right.
    """
    kinds = list(CHANGES)
    if rng.random() < config.single_colour_probability:
        order = [kinds[rng.integers(len(kinds))]]
    else:
        order = [kinds[i] for i in rng.permutation(len(kinds))]
    for kind in order:
        if rng.random() < config.colour_probability:
            left, right = _changed(left, right, CHANGES[kind], getattr(config, kind), config, rng)
    return left, right


def _changed(left: np.ndarray, right: np.ndarray, change: Callable, limits: Range,
             config: StereoAugmentation, rng: np.random.Generator
             ) -> tuple[np.ndarray, np.ndarray]:
    shared = own = rng.uniform(*limits)
    if rng.random() < config.own_colour_probability:
        own = rng.uniform(*limits)
    return change(left, shared), change(right, own)


def _scaled(sample: StereoSample, config: StereoAugmentation,
            rng: np.random.Generator) -> StereoSample:
    return resized(sample, *scale_factors(sample.left.shape[:2], config, rng))


def _flipped_rig(rig: StereoRig) -> StereoRig:
    def flip(camera: PinholeCamera) -> PinholeCamera:
        return replace(camera, cy=camera.height - 1 - camera.cy)
    return replace(rig, left=flip(rig.left), right=flip(rig.right))
