# SPDX-License-Identifier: Apache-2.0
"""Easier scenes to begin a training with: fewer things, smaller disparities, less motion."""
from dataclasses import replace

from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.data.synthetic.view_pairs import PairConfig


def scenes_of(level: float, config: SceneConfig) -> SceneConfig:
    """
    Return what scenes of a difficulty look like.

    The number of things, and how many are thin, move or stand in a sun that casts shadows, grow
    with the level, as do the disparity of the nearest thing and the motion.

    :param level: In [0, 1]; 1 leaves the scenes as they are, 0 leaves one thing of each kind.
    """
    if level == 1:
        return config
    return replace(
        config, num_boxes=_number(level, config.num_boxes),
        num_ellipsoids=_number(level, config.num_ellipsoids),
        num_cylinders=_number(level, config.num_cylinders),
        disparity_share=_range(level, config.disparity_share),
        thin_share=level * config.thin_share, shadow_share=level * config.shadow_share,
        moving_share=level * config.moving_share, flow_share=level * config.flow_share,
        slow_share=1 - level * (1 - config.slow_share))


def pairs_of(level: float, config: PairConfig) -> PairConfig:
    """Return how far two views of a difficulty differ; as `scenes_of`."""
    if level == 1:
        return config
    return replace(config, motion_range=_range(level, config.motion_range),
                   noise_deg=tuple(level * angle for angle in config.noise_deg))


def _number(level: float, count: int) -> int:
    return min(count, max(1, round(level * count)))


def _range(level: float, low_high: tuple[float, float]) -> tuple[float, float]:
    """Bring the upper end nearer to the lower one, in equal steps of its logarithm."""
    low, high = low_high
    return low, low * (high / low) ** level
