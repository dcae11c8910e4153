# SPDX-License-Identifier: Apache-2.0
"""Points into pixels, and depth images into points."""
from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
import cv2
import numpy as np

# A point is hidden where nearer ones lie on two opposite sides, so near in the image [rad]:
HIDING_COLUMNS = 0.0045
HIDING_ROWS = 0.02
# and nearer by this share of the depth and this much [m]
HIDING_SHARE, HIDING_GAP_M = 0.15, 0.3


def project_points(points: np.ndarray,
                   camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Project points of the camera frame into the image.

    :param points: (N, 3) [m], optical axes (z forward); rows may be NaN.
    :return: uv (N, 2) float64 [px], NaN unless z > 0; depth (N,) float64 [m] = z; in_view (N,)
        bool: the point lies in front of the camera and inside of a pixel of the image.
    """
    x, y, depth = np.asarray(points, np.float64).reshape(-1, 3).T
    in_front = np.isfinite(x) & np.isfinite(y) & np.isfinite(depth) & (depth > 0)
    z = np.where(in_front, depth, np.nan)
    with np.errstate(over='ignore'):   # a point almost in the camera's plane: out of view
        u = camera.fx * x / z + camera.cx
        v = camera.fy * y / z + camera.cy
    in_view = ((u >= -0.5) & (u < camera.width - 0.5) & (v >= -0.5) & (v < camera.height - 0.5))
    return np.stack((u, v), axis=1), depth, in_view


def points_to_depth_image(points: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Draw points of the camera frame into an otherwise empty depth image; the nearest wins.

    :param points: (N, 3) [m], optical axes; rows may be NaN.
    :return: (H, W) float32 [m]; NaN where no point falls.
    """
    uv, depth, in_view = project_points(points, camera)
    # floor(x + 0.5), not rint: halves go up everywhere, as in_view assumes
    column, row = np.floor(uv[in_view] + 0.5).astype(np.int64).T
    image = np.full(camera.height * camera.width, np.inf, np.float32)
    np.minimum.at(image, row * camera.width + column, depth[in_view].astype(np.float32))
    image[np.isinf(image)] = np.nan
    return image.reshape(camera.size_hw)


def visible_points(uv: np.ndarray, depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Tell which points the camera sees: a LiDAR beside it also measures what lies behind others.

    Nearer points around a point hide it; on one side only, they are an edge that it lies beside.

    :param uv: (N, 2) [px], all inside of the image.
    :param depth: (N,) [m], > 0.
    :return: (N,) bool.
    """
    column, row = np.floor(np.asarray(uv) + 0.5).astype(np.int64).T
    nearest = np.full(camera.size_hw, np.inf, np.float32)
    np.minimum.at(nearest, (row, column), depth.astype(np.float32))
    limit = (depth - HIDING_GAP_M) / (1 + HIDING_SHARE)
    wide = max(1, round(HIDING_COLUMNS * camera.fx))
    high = max(1, round(HIDING_ROWS * camera.fy))

    def hidden_from(size_hw: tuple[int, int], anchor: tuple[int, int]) -> np.ndarray:
        around = cv2.erode(nearest, np.ones(size_hw, np.uint8), anchor=anchor,
                           borderType=cv2.BORDER_CONSTANT, borderValue=np.inf)
        return around[row, column] < limit

    box = high + 1, 2 * wide + 1
    above, below = hidden_from(box, (wide, high)), hidden_from(box, (wide, 0))
    box = 5, 2 * wide + 1
    left, right = hidden_from(box, (2 * wide, 2)), hidden_from(box, (0, 2))
    return ~((above & below) | (left & right))


def back_project(depth: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """
    Turn a depth image into points of the camera frame.

    :param depth: (H, W) [m] along the optical axis; not finite marks no depth.
    :return: (H, W, 3) float32 [m]; NaN in all three where there is no depth.
    :raises CalibrationError: If the camera is of another size than the image.
    """
    depth = np.asarray(depth, np.float32)
    if depth.shape != camera.size_hw:
        raise CalibrationError(f'depth image is {depth.shape} but the camera is '
                               f'{camera.size_hw} (height, width)')
    points = np.empty((*depth.shape, 3), np.float32)
    points[..., 2] = np.where(np.isfinite(depth), depth, np.float32(np.nan))
    x = (np.arange(camera.width) - camera.cx) / camera.fx
    y = (np.arange(camera.height) - camera.cy) / camera.fy
    np.multiply(points[..., 2], x.astype(np.float32), out=points[..., 0])
    np.multiply(points[..., 2], y.astype(np.float32)[:, None], out=points[..., 1])
    return points
