# SPDX-License-Identifier: Apache-2.0
"""
Augmentation of optical flow for fine-tuning: croco.md 8.2.

The random crop may take the last row and column, which the reference never does (croco.md 11).
Scattered sparse flow does lose row and column 0, exactly as the specification says: it costs
nothing and keeps the numbers of the reference.
"""
from dataclasses import dataclass, replace

from crossview_ros.data.augment_stereo import check_settings, MARGIN_PX, Range, resize_image
from crossview_ros.data.colour import CHANGES, to_float, to_uint8
from crossview_ros.data.samples import FlowSample
import cv2
import numpy as np

JITTER = ('brightness', 'contrast', 'saturation', 'hue')


@dataclass(frozen=True)
class FlowAugmentation:
    """Probabilities and ranges of croco.md 8.2."""

    crop_hw: tuple[int, int] = (320, 384)      # [px]
    scale_probability: float = 0.8
    log2_scale: Range = (-0.2, 0.5)            # of both axes
    stretch_probability: float = 0.8           # of a factor of each axis' own, if scaled
    log2_stretch: Range = (-0.2, 0.2)
    flip_x_probability: float = 0.5            # left to right
    flip_y_probability: float = 0.1            # top to bottom
    own_colour_probability: float = 0.2        # each image on its own instead of both alike
    brightness: Range = (0.6, 1.4)
    contrast: Range = (0.6, 1.4)
    saturation: Range = (0.6, 1.4)
    hue: Range = (-0.5 / 3.14, 0.5 / 3.14)     # of the whole circle

    def __post_init__(self):
        """Refuse probabilities and ranges that make no sense."""
        check_settings(self)


def augment_flow(sample: FlowSample, config: FlowAugmentation,
                 rng: np.random.Generator) -> FlowSample:
    """
    Scale, flip, crop and colour two images and their flow at random, in this order.

    :return: A sample of `crop_hw`; flow [px] of the cropped images, NaN unknown.
    """
    sample = resized(sample, *scale_factors(sample.image1.shape[:2], config, rng))
    for axis, probability in ((1, config.flip_x_probability), (0, config.flip_y_probability)):
        if rng.random() < probability:
            sample = flipped(sample, axis)
    rows, cols = config.crop_hw
    x, y = (int(rng.integers(side - crop + 1)) for side, crop in
            ((sample.image1.shape[1], cols), (sample.image1.shape[0], rows)))
    sample = sample.cropped(x, y, cols, rows)
    image1, image2 = coloured(to_float(sample.image1), to_float(sample.image2), config, rng)
    return replace(sample, image1=to_uint8(image1), image2=to_uint8(image2),
                   flow=np.ascontiguousarray(sample.flow))


def scale_factors(size_hw: tuple[int, int], config: FlowAugmentation,
                  rng: np.random.Generator) -> tuple[float, float]:
    """Draw the factors of the x and y axes; the crop fits with its margin if they are drawn."""
    lowest = max((crop + MARGIN_PX) / side for crop, side in zip(config.crop_hw, size_hw))
    if rng.random() >= config.scale_probability:
        fits = all(crop <= side for crop, side in zip(config.crop_hw, size_hw))
        return (1.0, 1.0) if fits else (lowest, lowest)
    factor = 2 ** rng.uniform(*config.log2_scale)
    stretch = np.ones(2)
    if rng.random() < config.stretch_probability:
        stretch = 2 ** rng.uniform(*config.log2_stretch, 2)
    return tuple(max(float(factor * own), lowest) for own in stretch)


def resized(sample: FlowSample, sx: float, sy: float) -> FlowSample:
    """
    Resize both images and the flow.

    :return: A sample with truth on the grid of its images.
    """
    if (sx, sy) == (1, 1) and sample.truth_scale == 1:
        return sample
    return replace(sample, image1=resize_image(sample.image1, sx, sy),
                   image2=resize_image(sample.image2, sx, sy),
                   flow=resize_flow(sample.flow, sx, sy, sample.truth_scale), truth_scale=1)


def resize_flow(flow: np.ndarray, sx: float, sy: float, truth_scale: int = 1) -> np.ndarray:
    """
    Resize a flow by (sx, sy) / truth_scale and multiply its values by (sx, sy).

    Flow known everywhere is interpolated. Otherwise each known value moves to its rounded place,
    if that is inside and in neither row nor column 0; later ones in row-major order win.

    :param flow: (H, W, 2) float32 [px]; not finite: unknown.
    :return: (round(H sy / truth_scale), round(W sx / truth_scale), 2) float32 [px], NaN unknown.

    Source: croco.md 8.2; halves are rounded to even.
    """
    fx, fy = sx / truth_scale, sy / truth_scale
    factors = np.array((sx, sy), np.float32)
    known = np.isfinite(flow).all(-1)
    if known.all():
        return cv2.resize(flow, None, fx=fx, fy=fy, interpolation=cv2.INTER_LINEAR) * factors
    rows, cols = (int(np.rint(side * f)) for side, f in zip(flow.shape[:2], (fy, fx)))
    row, col = np.nonzero(known)
    y, x = np.rint(row * fy).astype(int), np.rint(col * fx).astype(int)
    inside = (x > 0) & (x < cols) & (y > 0) & (y < rows)
    out = np.full((rows, cols, 2), np.nan, np.float32)
    # of equal indices NumPy's assignment keeps the last
    out[y[inside], x[inside]] = flow[row[inside], col[inside]] * factors
    return out


def flipped(sample: FlowSample, axis: int) -> FlowSample:
    """Turn left to right (axis 1) or top to bottom (axis 0); that component changes its sign."""
    sign = np.array((-1, 1) if axis == 1 else (1, -1), np.float32)
    return replace(sample, image1=np.flip(sample.image1, axis),
                   image2=np.flip(sample.image2, axis), flow=np.flip(sample.flow, axis) * sign)


def coloured(image1: np.ndarray, image2: np.ndarray, config: FlowAugmentation,
             rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """
    Jitter the colours of both images alike, as of one image, or sometimes of each on its own.

    :param image1: (H, W, 3) float32 in [0, 1], and image2.
    """
    if rng.random() < config.own_colour_probability:
        return _jittered(image1, config, rng), _jittered(image2, config, rng)
    both = _jittered(np.concatenate((image1, image2)), config, rng)
    return both[:len(image1)], both[len(image1):]


def _jittered(image: np.ndarray, config: FlowAugmentation,
              rng: np.random.Generator) -> np.ndarray:
    for i in rng.permutation(len(JITTER)):
        image = CHANGES[JITTER[i]](image, rng.uniform(*getattr(config, JITTER[i])))
    return image
