# SPDX-License-Identifier: Apache-2.0
"""Judge depth by rings of a LiDAR that it did not get: one in n goes in, the others judge."""
import dataclasses
from typing import Any

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.local_planes import nearest_points
from crossview_ros.geometry.projection import points_to_depth_image, project_points
from crossview_ros.messages.point_cloud2 import read_cloud
from crossview_ros.metrics import Metric
from crossview_ros.metrics.lidar import point_errors
import cv2
import numpy as np

KEEP_EVERY = 5
RING_FIELD = 'ring'
BIN_RAD = np.radians(26.8 / 64)   # elevation of a ring of an HDL-64, where the cloud does not say
THICKNESS = 600   # of the width of a picture is the reach of a point in it
BASELINE = 'linear interpolation'


def rings_of(message: Any, topic: str = 'cloud') -> np.ndarray:
    """
    Return the ring of each point: the field of that name, or else a bin of its elevation.

    :param message: sensor_msgs/PointCloud2 in the frame of the sensor (z up).
    :return: (N,) int64 of the points row by row; -1 where the place is not known.
    :raises MessageError: If the cloud is damaged.
    """
    cloud = read_cloud(message, topic).reshape(-1)
    if RING_FIELD in (cloud.dtype.names or ()):
        return cloud[RING_FIELD].astype(np.int64)
    x, y, z = (cloud[name].astype(np.float64) for name in 'xyz')
    with np.errstate(over='ignore', invalid='ignore'):
        elevation = np.arctan2(z, np.hypot(x, y))
    known = np.isfinite(elevation)
    # counted from straight down, so that no ring is below 0
    rings = np.floor((np.where(known, elevation, 0.0) + np.pi / 2) / BIN_RAD).astype(np.int64)
    return np.where(known, rings, -1)


def split_rings(message: Any, keep_every: int, topic: str = 'cloud') -> tuple[Any, Any]:
    """
    Divide a cloud into the rings that are a multiple of a number, and the others.

    :param message: sensor_msgs/PointCloud2 as rosbags reads it.
    :param keep_every: 1 keeps all of them.
    :return: Two clouds with the fields of the message; no point is in both.
    :raises MessageError: If the cloud is damaged.
    """
    rings = rings_of(message, topic)
    kept = rings % keep_every == 0
    return _chosen(message, kept, topic), _chosen(message, ~kept & (rings >= 0), topic)


def kept_rings(message: Any, keep_every: int) -> Any:
    """Return the part of a cloud that goes in; parameters as `split_rings`."""
    return split_rings(message, keep_every)[0]


def holdout_notes(keep_every: int | None) -> list[str]:
    """Say in a report what was held out; nothing where nothing was."""
    if keep_every is None:
        return []
    return [f'Of the LiDAR one ring in {keep_every} went in; depth is judged by the other rings. '
            f'{BASELINE.capitalize()} interpolates the depth of the points that went in, in the '
            'image plane, and takes the nearest outside of their hull.']


def linear_depth(cloud: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Interpolate the depth of points linearly in the image plane; nearest outside of their hull.

    :param cloud: (N, 3) [m] in the camera's optical frame; rows may be NaN.
    :return: (H, W) float32 [m]; NaN if no point lies in view.
    """
    from matplotlib.tri import LinearTriInterpolator, Triangulation
    uv, depth, in_view = project_points(cloud, camera)
    uv, depth = uv[in_view], depth[in_view]
    image = np.full(camera.size_hw, np.nan)
    if not len(uv):
        return image.astype(np.float32)
    v, u = np.mgrid[:camera.height, :camera.width]
    try:   # Delaunay
        image = LinearTriInterpolator(Triangulation(*uv.T), depth)(u, v).filled(np.nan)
    except (RuntimeError, ValueError):   # all on one line, or fewer than three
        pass
    outside = np.isnan(image)
    places = np.stack((u[outside], v[outside]), axis=1)
    image[outside] = depth[nearest_points(uv, places, 1)[0][:, 0]]
    return image.astype(np.float32)


def holdout_figures(depth: np.ndarray, kept: np.ndarray, held_out: np.ndarray,
                    camera: PinholeCamera, min_depth: float,
                    max_depth: float) -> dict[str, Metric]:
    """
    Compare depth, and linear interpolation of what went in, with the points held out.

    :param depth: (H, W) float32 [m]; not finite is missing and counts as 100 %.
    :param kept: (N, 3) [m] points that went in, in the camera's frame.
    :param held_out: (M, 3) [m] the others.
    :return: Figures by name; empty where no such point lies in the image.
    """
    measured = points_to_depth_image(held_out, camera)
    ours = point_errors(depth, measured, min_depth, max_depth)
    if not ours.num_points:
        return {}
    linear = point_errors(linear_depth(kept, camera), measured, min_depth, max_depth)
    return {'holdout.mae': Metric(ours.mae_m, 'm'),
            'holdout.mae_linear': Metric(linear.mae_m, 'm'),
            'holdout.abs_rel': Metric(ours.abs_rel, '-'),
            'holdout.abs_rel_linear': Metric(linear.abs_rel, '-'),
            'holdout.coverage': Metric(ours.coverage, '-'),
            'holdout.coverage_linear': Metric(linear.coverage, '-')}


def thick_points(points: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Draw points large enough to be seen in a picture of the whole image.

    :param points: (N, 3) [m] in the camera's frame.
    :return: (H, W) float32 [m]; NaN between them, the nearest wins.
    """
    image = points_to_depth_image(points, camera)
    side = 2 * round(camera.width / THICKNESS) + 1
    near = cv2.erode(np.where(np.isnan(image), np.float32(np.inf), image),
                     np.ones((side, side), np.uint8),
                     borderType=cv2.BORDER_CONSTANT, borderValue=np.inf)
    near[np.isinf(near)] = np.nan
    return near


def _chosen(message: Any, chosen: np.ndarray, topic: str) -> Any:
    cloud = read_cloud(message, topic).reshape(-1)
    # bytes, so that padding and fields that we do not know go along
    points = np.ascontiguousarray(cloud).view((np.uint8, cloud.dtype.itemsize)) \
        .reshape(-1, cloud.dtype.itemsize)[chosen]
    return dataclasses.replace(message, height=1, width=len(points),
                               row_step=points.size, data=points.reshape(-1))
