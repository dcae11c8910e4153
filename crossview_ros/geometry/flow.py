# SPDX-License-Identifier: Apache-2.0
"""Flow of static scenes; warping by flow or disparity; flow against its reverse."""
from crossview_ros.errors import CalibrationError, DatasetError
from crossview_ros.geometry.camera import PinholeCamera
import numpy as np


def static_flow(depth: np.ndarray, camera: PinholeCamera,
                T_2_1: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Return where the camera's motion moves the pixels of a scene in which nothing moves.

    A pixel x goes to K R K^-1 x + K t / Z in homogeneous coordinates.

    :param depth: (H, W) float32 [m] of view 1; +Inf is infinitely far; NaN, -Inf: not known.
    :param camera: Of both views.
    :param T_2_1: (4, 4) p_2 = T_2_1 @ p_1 [m].
    :return: Flow (H, W, 2) float32 [px], view 1 -> 2, and the part of it that rotation alone
        makes; NaN where the depth is not known or the point lies behind view 2.
    :raises CalibrationError: If the camera is of another size than the depth.

    Source: Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 9.2 (eq. 9.7).
    """
    if depth.shape != camera.size_hw:
        raise CalibrationError(f'depth image is {depth.shape} but the camera is '
                               f'{camera.size_hw} (height, width)')
    turned = (camera.matrix @ T_2_1[:3, :3] @ np.linalg.inv(camera.matrix)).astype(np.float32)
    moved = (camera.matrix @ T_2_1[:3, 3]).astype(np.float32)
    u = np.arange(camera.width, dtype=np.float32)
    v = np.arange(camera.height, dtype=np.float32)[:, None]
    with np.errstate(divide='ignore'):
        inverse_depth = np.where(depth > 0, 1 / depth, np.float32(np.nan))   # [1/m]
    far = [row[0] * u + (row[1] * v + row[2]) for row in turned]
    near = [plane + step * inverse_depth for plane, step in zip(far, moved)]
    return _offsets(near, u, v), _offsets(far, u, v)


def warp_image(image: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """
    Sample an image where the flow points: out(x) = image(x + flow(x)), bilinear.

    :param image: (H, W) or (H, W, C), any number type.
    :param flow: (h, w, 2) float32 (dx, dy) [px]; NaN unknown. Its size decides the output's.
    :return: (h, w) or (h, w, C) float32; NaN where the flow is NaN or points out of the image.
    :raises DatasetError: If the shapes are not as above.
    """
    flow = np.asarray(flow)
    if flow.ndim != 3 or flow.shape[2] != 2:
        raise DatasetError(f'flow must be (height, width, 2), got {flow.shape}')
    rows, cols = flow.shape[:2]
    return _sample(image, np.arange(cols) + flow[..., 0].astype(np.float64),
                   np.arange(rows)[:, None] + flow[..., 1].astype(np.float64))


def warp_by_disparity(image: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """
    Rebuild the left view from the right image: out(x, y) = image(x - disparity(x, y), y).

    :param image: (H, W) or (H, W, C), right view.
    :param disparity: (H, W) float32 [px] of the left view; NaN unknown.
    :return: (H, W) or (H, W, C) float32; NaN where unknown or out of the image.
    :raises DatasetError: If the sizes differ.
    """
    disparity = np.asarray(disparity)
    if disparity.shape != np.shape(image)[:2]:
        raise DatasetError(f'disparity is {disparity.shape} but the image is '
                           f'{np.shape(image)[:2]} (height, width)')
    rows, cols = disparity.shape
    x = np.arange(cols) - disparity.astype(np.float64)
    return _sample(image, x, np.broadcast_to(np.arange(rows)[:, None], x.shape))


def forward_backward_error(forward: np.ndarray, backward: np.ndarray) -> np.ndarray:
    """
    Return how far a pixel ends from its start after the way there and back.

    :param forward: (H, W, 2) float32 [px], image 1 -> 2.
    :param backward: (H, W, 2) float32 [px], image 2 -> 1.
    :return: (H, W) float32 [px]: |f(x) + b(x + f(x))|; NaN where a flow is unknown or leaves.

    Source: Sundaram et al., Dense Point Trajectories, ECCV 2010, section 2.1.
    """
    error = np.asarray(forward, np.float32) + warp_image(backward, forward)
    return np.linalg.norm(error, axis=-1)


def _offsets(homogeneous: list[np.ndarray], u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y, w = homogeneous
    with np.errstate(invalid='ignore', divide='ignore'):
        w = np.where(w > 0, w, np.float32(np.nan))   # behind the camera
        return np.stack((x / w - u, y / w - v), axis=2)


def _sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate at pixels (x, y) in float64, which OpenCV's remap rounds to 1/32 px."""
    image = np.asarray(image)
    rows, cols = image.shape[:2]
    with np.errstate(invalid='ignore'):
        inside = (x >= 0) & (x <= cols - 1) & (y >= 0) & (y <= rows - 1)   # false for NaN
    x, y = np.where(inside, x, 0.0), np.where(inside, y, 0.0)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.minimum(left + 1, cols - 1), np.minimum(top + 1, rows - 1)
    wide = (..., None) if image.ndim == 3 else ...
    fx = (x - left).astype(np.float32)[wide]
    fy = (y - top).astype(np.float32)[wide]
    upper = _mix(image[top, left], image[top, right], fx)
    lower = _mix(image[bottom, left], image[bottom, right], fx)
    out = _mix(upper, lower, fy)
    out[~inside] = np.nan
    return out


def _mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Interpolate; where the weight is 0 or 1 a NaN of the unused value does not spread."""
    mixed = first.astype(np.float32) * (1 - weight) + second.astype(np.float32) * weight
    return np.where(weight == 0, first.astype(np.float32), mixed)
