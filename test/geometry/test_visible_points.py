# SPDX-License-Identifier: Apache-2.0
"""Points that a LiDAR sees past an edge, and the camera beside it does not."""
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import visible_points
import numpy as np

CAMERA = PinholeCamera(200, 100, 400.0, 400.0, 100.0, 50.0)


def grid(columns, rows, depth):
    """Return pixels and one depth for all of them."""
    uv = np.stack([axis.ravel() for axis in np.meshgrid(columns, rows)], axis=1).astype(float)
    return uv, np.full(len(uv), depth)


def seen(*surfaces):
    """Return per surface which of its points are seen."""
    uv = np.concatenate([surface[0] for surface in surfaces])
    depth = np.concatenate([surface[1] for surface in surfaces])
    ends = np.cumsum([len(surface[1]) for surface in surfaces])[:-1]
    return np.split(visible_points(uv, depth, CAMERA), ends)


def test_points_behind_a_nearer_surface_are_hidden():
    near, far = seen(grid(range(40, 160, 2), range(10, 90, 4), 5.0),
                     grid(range(50, 150, 7), range(21, 79, 9), 20.0))
    assert near.all() and not far.any()


def test_points_beside_a_nearer_surface_are_seen():
    near, far = seen(grid(range(20, 100, 2), range(10, 90, 4), 5.0),
                     grid(range(102, 180, 2), range(10, 90, 4), 20.0))
    assert near.all() and far.all()


def test_points_above_a_nearer_surface_are_seen():
    near, far = seen(grid(range(20, 180, 2), range(50, 90, 4), 5.0),
                     grid(range(20, 180, 2), range(10, 49, 4), 20.0))
    assert near.all() and far.all()


def test_a_slope_hides_nothing():
    uv, _ = grid(range(10, 190, 2), range(55, 95, 3), 0.0)
    assert visible_points(uv, 600 / (uv[:, 1] - 45), CAMERA).all()
