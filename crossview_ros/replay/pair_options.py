# SPDX-License-Identifier: Apache-2.0
"""What `crossview pairs` is asked for."""
from dataclasses import asdict, dataclass
from typing import Any

from crossview_ros.errors import ConfigError


@dataclass(frozen=True)
class PairOptions:
    """What makes a pair; values that cannot be meant raise ConfigError."""

    left: str | None = None    # image topics; None finds the cameras by their CameraInfo
    right: str | None = None
    cloud: str | None = None   # PointCloud2 topic; None takes the only one of the bag
    rectify: bool = False      # the images are raw: rectify them with their CameraInfo
    size_hw: tuple[int, int] | None = None   # [px]; None leaves the images as they are
    jpeg_quality: int = 95
    min_covisibility: float = 0.5
    max_covisibility: float = 1.0
    min_parallax_deg: float = 1.0
    max_pairs: int | None = None     # of all kinds and bags together
    window: int = 16                 # views that a new one is compared with
    min_sharpness: float = 30.0      # variance of the Laplacian
    min_brightness: float = 20.0     # mean grey value of 255
    min_change: float = 1.5          # [grey values of 255] less is the same view again
    max_cloud_offset_s: float = 0.05
    min_points: int = 100            # of a cloud that its image shows
    slop_s: float = 0.02             # images with unequal stamps pair up to this distance
    shard_mb: float = 256.0          # a shard is closed when it is at least this big

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.min_covisibility <= self.max_covisibility <= 1:
            raise ConfigError('expected 0 <= min_covisibility <= max_covisibility <= 1, got '
                              f'{self.min_covisibility:g} and {self.max_covisibility:g}')
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f'jpeg_quality must be from 1 to 100, got {self.jpeg_quality}')
        if self.size_hw is not None and min(self.size_hw) < 16:
            raise ConfigError(f'size must be at least 16x16 px, got {self.size_hw}')
        for name in ('window', 'shard_mb'):
            if not getattr(self, name) > 0:
                raise ConfigError(f'{name} must be above zero, got {getattr(self, name):g}')

    def as_dict(self) -> dict[str, Any]:
        """Return every option by name, as JSON keeps it."""
        values = asdict(self)
        return {**values, 'size_hw': self.size_hw and list(self.size_hw)}
