# SPDX-License-Identifier: Apache-2.0
"""Optical flow of what stands still, from the depth of a view and the camera's motion."""
from crossview_ros.geometry.flow import static_flow
from crossview_ros.geometry.se3 import invert
from crossview_ros.runtime.odometry import SeenDepth
import numpy as np

# The network's flow and that of a static scene may differ by so many of its own Laplace scales
# (and by one scale of the other's) before the pixel counts as moving by itself.
MAX_SCALES = 2.0
MAX_SCALES_OUTSIDE = 6.0   # where a static point leaves the image: nothing to match is left
POSE_SCALE_PX = 0.1   # what the error of the pose adds to the scale of the static flow


def explain_by_motion(flow: np.ndarray, log_scale: np.ndarray | None, previous: SeenDepth,
                      T_prev_cur: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Replace the flow of static pixels by what depth and camera motion say of them.

    A pixel is static if the network's flow agrees within its own doubt. Where it is surest that
    the two differ, something moves, and the network's flow stays. Pixels that the second image
    does not show follow the camera: the network can only guess there, and mostly knows it.

    :param flow: (H, W, 2) float32 [px], previous -> this, of the network.
    :param log_scale: (H, W) float32, log of the Laplace scale [log px] of its end-point error.
    :param previous: Depth of the previous view, on whose grid the flow is.
    :param T_prev_cur: (4, 4), the camera's motion [m].
    :return: Flow and log scale; both as they came where either has no scale.
    """
    if log_scale is None or previous.depth_sigma is None:
        return flow, log_scale
    static, by_turning = static_flow(previous.depth, previous.camera, invert(T_prev_cur))
    # depth acts on the part of the flow that translation makes, in proportion
    static_scale = np.linalg.norm(static - by_turning, axis=2) * previous.depth_sigma \
        / np.float32(np.sqrt(2)) + np.float32(POSE_SCALE_PX)
    scale = np.exp(log_scale)
    apart = np.linalg.norm(flow - static, axis=2)
    with np.errstate(invalid='ignore'):   # NaN, where there is no depth: not explained
        max_scales = np.where(_inside(static), MAX_SCALES, np.float32(MAX_SCALES_OUTSIDE))
        explained = apart <= max_scales * scale + static_scale
    better = explained & (static_scale < scale)
    # depth of one view agrees with any flow where it is in doubt: it must know better
    replaced = better if previous.scale_sigma else explained
    flow = np.where(replaced[..., None], static, flow)
    return flow, np.where(better, np.log(static_scale, where=better,
                                         out=np.zeros_like(scale)), log_scale)


def _inside(flow: np.ndarray) -> np.ndarray:
    """Return where the flow ends within the image: (H, W) bool; false for NaN."""
    rows, cols = flow.shape[:2]
    u = np.arange(cols) + flow[..., 0]
    v = np.arange(rows)[:, None] + flow[..., 1]
    return (u >= 0) & (u <= cols - 1) & (v >= 0) & (v <= rows - 1)
