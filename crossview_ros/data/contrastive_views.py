# SPDX-License-Identifier: Apache-2.0
"""Samples and batches of SimIPU: one view of the image, two of the cloud (simipu.md 1.3)."""
from dataclasses import dataclass, field

from crossview_ros.data.image_views import draw_box, image_view, ImageViewConfig
from crossview_ros.data.point_views import draw_transform, PointViewConfig, two_views
from crossview_ros.errors import DatasetError
import numpy as np


@dataclass(frozen=True)
class ContrastiveViewConfig:
    """How image and cloud vary."""

    image: ImageViewConfig = field(default_factory=ImageViewConfig)
    points: PointViewConfig = field(default_factory=PointViewConfig)
    flip_probability: float = 0.5    # of the image and the second view of the cloud together

    def __post_init__(self):
        """Refuse what is no probability."""
        if not 0 <= self.flip_probability <= 1:
            raise ValueError(f'flip_probability must lie in [0, 1], got {self.flip_probability}')


def contrastive_views(image: np.ndarray, points: np.ndarray, lidar_to_image: np.ndarray,
                      config: ContrastiveViewConfig,
                      rng: np.random.Generator) -> dict[str, np.ndarray]:
    """
    Draw the views of one frame.

    :param image: (H, W, 3) uint8 RGB.
    :param points: (N, 4) float32: x, y, z [m] in the lidar frame, reflectance; best cropped to
        what the camera sees.
    :param lidar_to_image: (3, 4) or (4, 4), into homogeneous pixels of the image.
    :return: ``image`` (3, H', W') float32; ``points``, ``view_points`` (P, 4) float32;
        ``lidar_from_view``, ``lidar_to_image`` (3, 4), ``image_transform`` (2, 3) float32;
        ``pad_hw`` (2,) int64.
    :raises DatasetError: If image or points cannot be used.
    """
    if points.dtype != np.float32 or points.ndim != 2 or points.shape[1] < 4:
        raise DatasetError('points must be (N, 4) float32 with a reflectance, got '
                           f'{points.dtype} {points.shape}')
    flip = bool(rng.random() < config.flip_probability)
    shown = image_view(image, draw_box(config.image, rng), flip, config.image)
    transform = draw_transform(config.points, flip, rng)
    original, moved = two_views(points, transform, config.points, rng)
    return {'image': shown.image, 'points': original, 'view_points': moved,
            'lidar_from_view': transform.lidar_from_view()[:3].astype(np.float32),
            'lidar_to_image': np.asarray(lidar_to_image, np.float32)[:3],
            'image_transform': shown.transform.astype(np.float32),
            'pad_hw': np.array(shown.image.shape[1:], np.int64)}


def stack_views(samples: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join samples to a batch; images get zeros at the right and bottom, to the largest sides."""
    height, width = np.max([sample['pad_hw'] for sample in samples], axis=0)
    images = np.zeros((len(samples), 3, height, width), np.float32)
    for image, sample in zip(images, samples):
        rows, cols = sample['pad_hw']
        image[:, :rows, :cols] = sample['image']
    others = [name for name in samples[0] if name != 'image']
    return {'image': images,
            **{name: np.stack([sample[name] for sample in samples]) for name in others}}
