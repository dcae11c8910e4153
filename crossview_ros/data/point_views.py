# SPDX-License-Identifier: Apache-2.0
"""Two views of a point cloud: the cloud itself, and one turned, scaled and mirrored."""
from dataclasses import dataclass
import math

from crossview_ros.errors import DatasetError
import numpy as np


@dataclass(frozen=True)
class PointViewConfig:
    """What is kept of a cloud, and how its second view varies (simipu.md 1.3)."""

    min_xyz: tuple[float, float, float] = (0.0, -40.0, -3.0)   # [m], lidar frame, exclusive
    max_xyz: tuple[float, float, float] = (70.4, 40.0, 1.0)    # [m], exclusive
    num_points: int = 16384
    max_angle_rad: float = math.pi / 2        # about the vertical axis, both ways
    scale: tuple[float, float] = (0.75, 1.25)
    shift_sigma_m: float = 0.0
    center: tuple[float, float, float] = (35.2, 0.0, -1.0)     # [m] of the rotation

    def __post_init__(self):
        """Refuse empty ranges."""
        if any(low >= high for low, high in zip(self.min_xyz, self.max_xyz)):
            raise ValueError(f'min_xyz {self.min_xyz} must lie below max_xyz {self.max_xyz}')
        if self.num_points < 1 or not 0 < self.scale[0] <= self.scale[1]:
            raise ValueError('num_points and scale must be positive and scale a range, got '
                             f'{self.num_points} and {self.scale}')


@dataclass(frozen=True)
class PointTransform:
    """Rotation about a centre, then scaling and a shift about the origin, then y to -y."""

    angle_rad: float = 0.0                                   # clockwise, seen from above
    scale: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)      # [m]
    flip: bool = False
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)     # [m]

    def view_from_lidar(self) -> np.ndarray:
        """Return the (4, 4) float64 matrix that acts on columns (x, y, z, 1)."""
        cos, sin = math.cos(self.angle_rad), math.sin(self.angle_rad)
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        center = np.asarray(self.center)
        matrix = np.eye(4)
        matrix[:3, :3] = self.scale * turn
        matrix[:3, 3] = self.scale * (center - turn @ center) + np.asarray(self.shift)
        if self.flip:
            matrix[1] *= -1
        return matrix

    def lidar_from_view(self) -> np.ndarray:
        """Return the inverse of `view_from_lidar`."""
        return np.linalg.inv(self.view_from_lidar())


def draw_transform(config: PointViewConfig, flip: bool,
                   rng: np.random.Generator) -> PointTransform:
    """Draw how the second view varies; ``flip`` is the image's, so that both agree."""
    angle_rad = rng.uniform(-config.max_angle_rad, config.max_angle_rad)
    shift = config.shift_sigma_m * rng.standard_normal(3)
    return PointTransform(angle_rad, rng.uniform(*config.scale), tuple(shift), flip,
                          config.center)


def move_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """
    Map a cloud by a (4, 4) matrix.

    :param points: (N, 3 or more): x, y, z [m]; further columns stay.
    :return: The same shape and type.
    """
    moved = points.copy()
    moved[:, :3] = points[:, :3] @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


def crop_cloud(points: np.ndarray, config: PointViewConfig) -> np.ndarray:
    """
    Keep the points within the range of the config.

    :param points: (N, 3 or more) [m]; rows with a value that is not finite are dropped.
    :raises DatasetError: If nothing is left.
    """
    xyz = points[:, :3]
    inside = np.isfinite(points).all(1)
    with np.errstate(invalid='ignore'):
        inside &= ((xyz > config.min_xyz) & (xyz < config.max_xyz)).all(1)
    if not inside.any():
        raise DatasetError(f'none of the {len(points)} points lies between {config.min_xyz} and '
                           f'{config.max_xyz} m; is the cloud in the lidar frame?')
    return points[inside]


def draw_subset(points: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw ``count`` points in random order; with repetition where there are too few."""
    return points[rng.choice(len(points), count, replace=len(points) < count)]


def two_views(points: np.ndarray, transform: PointTransform, config: PointViewConfig,
              rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """
    Make both views of a cloud: the same points, each view in an order of its own.

    The orders matter: farthest point sampling starts at the first point, so that the views keep
    different points.

    :param points: (N, 3 or more) float32: x, y, z [m] and features.
    :return: (num_points, 3 or more) float32 each; only the second one is transformed.
    :raises DatasetError: As `crop_cloud`.
    """
    chosen = draw_subset(crop_cloud(points, config), config.num_points, rng)
    moved = move_points(chosen, transform.view_from_lidar())
    return rng.permutation(chosen), rng.permutation(moved)
