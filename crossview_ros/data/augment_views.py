# SPDX-License-Identifier: Apache-2.0
"""Augmentation of pairs for cross-view completion (croco.md 7) and of images with depth."""
from dataclasses import dataclass, replace

from crossview_ros.data.augment_stereo import check_settings, Range, resize_image
from crossview_ros.data.colour import CHANGES, to_float, to_uint8
from crossview_ros.data.samples import DepthSample, PairSample
import cv2
import numpy as np

JITTER = ('brightness', 'contrast', 'saturation')


@dataclass(frozen=True)
class ViewAugmentation:
    """A crop and changes of colour; the ranges are those of croco.md 7."""

    crop_hw: tuple[int, int] = (224, 224)      # [px]
    brightness: Range = (0.6, 1.4)
    contrast: Range = (0.6, 1.4)
    saturation: Range = (0.6, 1.4)
    flip_x_probability: float = 0.5            # left to right, of images with depth

    def __post_init__(self):
        """Refuse probabilities and ranges that make no sense."""
        check_settings(self)


def augment_pair(sample: PairSample, config: ViewAugmentation,
                 rng: np.random.Generator) -> PairSample:
    """Crop and colour each view on its own; smaller views are enlarged to the crop first."""
    views = []
    for image in (sample.target, sample.reference):
        image = at_least(image, config.crop_hw)
        x, y = _corner(image, config, rng)
        rows, cols = config.crop_hw
        views.append(_coloured(image[y:y + rows, x:x + cols], config, rng))
    return replace(sample, target=views[0], reference=views[1])


def augment_depth(sample: DepthSample, config: ViewAugmentation,
                  rng: np.random.Generator) -> DepthSample:
    """
    Crop, flip left to right and colour an image with its depth, in this order.

    The image is not scaled, unless it is smaller than the crop: its metres would stay as they
    are, but those of another camera would look alike. A flipped sample has no pose.
    """
    sample = depth_at_least(sample, config.crop_hw)
    x, y = _corner(sample.image, config, rng)
    sample = sample.cropped(x, y, config.crop_hw[1], config.crop_hw[0])
    if rng.random() < config.flip_x_probability:
        sample = mirrored(sample)
    return replace(sample, image=_coloured(sample.image, config, rng))


def mirrored(sample: DepthSample) -> DepthSample:
    """Flip an image with its depth left to right; it has no pose then."""
    camera = replace(sample.camera, cx=sample.camera.width - 1 - sample.camera.cx)
    return replace(sample, image=sample.image[:, ::-1], camera=camera, T_world_camera=None,
                   depth=np.ascontiguousarray(sample.depth[:, ::-1]))


def depth_at_least(sample: DepthSample, size_hw: tuple[int, int]) -> DepthSample:
    """Enlarge an image that a crop does not fit in; its depth is that of the nearest pixel."""
    image = at_least(sample.image, size_hw)
    rows, cols = image.shape[:2]
    if image is sample.image:
        return sample
    depth = cv2.resize(sample.depth, (cols, rows), interpolation=cv2.INTER_NEAREST)
    return replace(sample, image=image, depth=depth, camera=sample.camera.scaled(cols, rows))


def at_least(image: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Enlarge an image that is lower or narrower than a size, keeping its proportions."""
    factor = max(want / side for want, side in zip(size_hw, image.shape))
    return resize_image(image, factor, factor) if factor > 1 else image


def _corner(image: np.ndarray, config: ViewAugmentation,
            rng: np.random.Generator) -> tuple[int, int]:
    rows, cols = (side - crop for side, crop in zip(image.shape, config.crop_hw))
    return int(rng.integers(cols + 1)), int(rng.integers(rows + 1))


def _coloured(image: np.ndarray, config: ViewAugmentation,
              rng: np.random.Generator) -> np.ndarray:
    image = to_float(image)
    for i in rng.permutation(len(JITTER)):
        image = CHANGES[JITTER[i]](image, rng.uniform(*getattr(config, JITTER[i])))
    return to_uint8(image)
