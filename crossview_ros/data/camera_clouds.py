# SPDX-License-Identifier: Apache-2.0
"""An image with the LiDAR cloud of the same moment, from whatever kind of sample has both."""
from dataclasses import dataclass, replace
from typing import Any

from crossview_ros.data.samples import FrameSample, ImagePointSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import invert, make_transform, transform_points
import numpy as np

# a body frame (x forward, y left, z up) at the place of an optical one
T_OPTICAL_BODY = make_transform(((0, -1, 0), (0, 0, -1), (1, 0, 0)), (0, 0, 0))
DEPTH_RANGE_M = 0.001, 100.0   # of the camera's frustum (simipu.md 1.1)


@dataclass(frozen=True)
class CameraCloud:
    """An image and the points in its view; for stereo the right image, for tests the depth."""

    image: np.ndarray            # (H, W, 3) uint8 RGB, of the left camera
    points: np.ndarray           # (N, 4) float32: x, y, z [m] forward, left, up; reflectance
    lidar_to_image: np.ndarray   # (3, 4) float64, into homogeneous pixels
    right: np.ndarray | None = None   # (H, W, 3) uint8 RGB
    depth: np.ndarray | None = None   # (H, W) float32 [m] of ``image``
    name: str = ''


def of_sample(sample: Any) -> CameraCloud:
    """
    Take image and cloud out of a sample on disk.

    The cloud stands in the frame of its LiDAR where the sample knows it, turned so that x looks
    ahead; else in the camera's, likewise. A reflectance that is not known is 0.

    :param sample: `ImagePointSample` or `FrameSample`.
    :raises DatasetError: If it is of another kind, or has no points in view.
    """
    if isinstance(sample, ImagePointSample):
        image, right, camera = sample.image, None, sample.camera
    elif isinstance(sample, FrameSample) and sample.points is not None:
        image, right, camera = sample.left, sample.right, sample.rig.left
    else:
        raise DatasetError(f"expected a sample of an image and LiDAR points, got '{sample.name}',"
                           f' a {type(sample).__name__} without points')
    T_camera_body = T_OPTICAL_BODY.copy()
    if sample.T_camera_lidar is not None:
        T_camera_body[:3, 3] = sample.T_camera_lidar[:3, 3]
    xyz = transform_points(invert(T_camera_body), sample.points)
    reflectance = np.zeros(len(xyz)) if sample.reflectance is None else sample.reflectance
    cloud = CameraCloud(image, np.column_stack((xyz, reflectance)).astype(np.float32),
                        camera.matrix @ T_camera_body[:3], right, name=sample.name)
    return cropped_to_view(cloud)


def of_record(record: dict[str, np.ndarray]) -> CameraCloud:
    """Take one out of a rendered record; ``left``, ``right`` (3, H, W) uint8."""
    rows, cols = record['left'].shape[1:]
    focal = float(record['focal'])
    camera = PinholeCamera(cols, rows, focal, focal, (cols - 1) / 2, (rows - 1) / 2)
    left, right = (np.ascontiguousarray(record[name].transpose(1, 2, 0))
                   for name in ('left', 'right'))
    points = record['points']
    return CameraCloud(left, points[np.isfinite(points).all(1)],
                       camera.matrix @ record['T_camera_lidar'][:3].astype(np.float64), right,
                       record['depth'].astype(np.float32))


def cropped_to_view(cloud: CameraCloud) -> CameraCloud:
    """
    Keep the points in the frustum of the whole image (simipu.md 1.1).

    :raises DatasetError: If there are none.
    """
    points = cloud.points[np.isfinite(cloud.points).all(1)]
    pixels, depth = project(cloud, points)
    rows, cols = cloud.image.shape[:2]
    inside = ((pixels >= -0.5) & (pixels < (cols - 0.5, rows - 0.5))).all(1) & \
        (depth > DEPTH_RANGE_M[0]) & (depth < DEPTH_RANGE_M[1])
    if not inside.any():
        raise DatasetError(f"'{cloud.name}': none of its {len(cloud.points)} points lies in the "
                           'image; is the transform of the LiDAR right?')
    return replace(cloud, points=points[inside])


def project(cloud: CameraCloud, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 2) (u, v) and depth (N,) [m] of points (N, 3 or more)."""
    u, v, depth = cloud.lidar_to_image[:, :3] @ points[:, :3].T + cloud.lidar_to_image[:, 3:]
    with np.errstate(divide='ignore', invalid='ignore'):
        return np.stack((u / depth, v / depth), 1), depth
