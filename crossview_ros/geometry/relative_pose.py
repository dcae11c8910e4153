# SPDX-License-Identifier: Apache-2.0
"""Relative camera pose from optical flow and depth: PnP with RANSAC, refined, with covariance."""
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.pose_refinement import (
    project_uv, refine_pose, SeenPoints, whitened)
from crossview_ros.geometry.se3 import invert, make_transform
import cv2
import numpy as np

BLOCKS = (3, 4)        # rows and columns; errors within one of them may be alike
MAX_TOLERANCE = 4.0    # times the threshold: no point is so doubtful that anything agrees
OUTLIER = 3.0          # standard deviations that any worse point counts as in comparing poses
INERTIA = 1.25         # how much better another motion must fit than that of the frames before


class PoseStatus(str, Enum):
    """What became of an attempt to find the pose."""

    OK = 'ok'
    TOO_FEW_POINTS = 'too few points'
    TOO_FEW_INLIERS = 'too few inliers'
    DEGENERATE = 'degenerate'


@dataclass(frozen=True)
class RelativePoseOptions:
    """Thresholds of the estimate."""

    max_points: int = 2000            # correspondences used: the surest of each cell of a grid
    min_points: int = 60
    min_inliers: int = 40
    min_inlier_ratio: float = 0.2
    threshold_px: float = 2.0         # reprojection error at 640 columns, scaled by the width
    min_threshold_px: float = 1.0
    ransac_points: int = 500          # of them, evenly spread, are tried in RANSAC
    ransac_iterations: int = 200
    refinements: int = 10             # Gauss-Newton steps at most, for each choice of inliers


@dataclass(frozen=True)
class RelativePose:
    """A relative pose, or the reason why there is none: ``T_prev_cur`` is None unless OK."""

    status: PoseStatus
    T_prev_cur: np.ndarray | None = None      # (4, 4): p_prev = T_prev_cur @ p_cur
    # (6, 6) x y z rx ry rz: T_true = T_prev_cur @ exp(xi), xi in the axes of the current camera
    covariance: np.ndarray | None = None
    num_points: int = 0
    num_inliers: int = 0


def estimate_relative_pose(flow: np.ndarray, depth: np.ndarray, camera: PinholeCamera,
                           sigma_px: np.ndarray | None = None,
                           depth_sigma: np.ndarray | None = None,
                           options: RelativePoseOptions = RelativePoseOptions(),
                           guess: np.ndarray | None = None,
                           others: Sequence[np.ndarray] = ()) -> RelativePose:
    """
    Find how the camera moved between two images of a mostly rigid scene.

    :param flow: (H, W, 2) float32 [px], previous -> current on the previous grid; NaN unknown.
    :param depth: (H, W) float32 [m] of the previous image; not finite or <= 0 is unknown.
    :param sigma_px: (H, W) expected flow error per axis [px]; None: all 1 px.
    :param depth_sigma: (H, W) expected depth error as a share of the depth; None: exact.
    :param guess: (4, 4) T_prev_cur that the motion so far suggests. What follows from it is
        answered unless RANSAC finds a pose that fits clearly better: something large that moves
        by itself may fit a little better than the world.
    :param others: Other T_prev_cur to start from; what follows from them must fit the best.
    :return: Pose and covariance, or a status that says why there is none. Never a made-up pose.
        The covariance follows the residuals as they are, and how much neighbours err together.

    Source: PnP with RANSAC as in OpenCV's solvePnPRansac; refinement by Gauss-Newton on the
    reprojection error with the weights of a t-distribution (Hartley and Zisserman, appendix A6).
    """
    points = _correspondences(flow, depth, sigma_px, depth_sigma, camera, options.max_points)
    if len(points.uv) < options.min_points:
        return RelativePose(PoseStatus.TOO_FEW_POINTS, num_points=len(points.uv))
    threshold = max(options.min_threshold_px, options.threshold_px * camera.width / 640)
    found = _ransac(points, camera, threshold, options)
    fits = [_fit(start, points, camera, threshold, options)
            for start in (None if guess is None else invert(guess), found, *map(invert, others))
            if start is not None]
    if not fits:
        return RelativePose(PoseStatus.TOO_FEW_INLIERS, num_points=len(points.uv))
    best = min(fits, key=lambda fit: fit.cost)
    fit = fits[0] if fits[0].cost < INERTIA * best.cost else best
    return _answer(fit, points)


@dataclass(frozen=True)
class _Fit:
    """What became of one start."""

    status: PoseStatus
    T_cur_prev: np.ndarray
    covariance: np.ndarray | None
    num_inliers: int
    cost: float   # sum of squared errors in standard deviations, each limited


def _fit(T_cur_prev: np.ndarray, points: SeenPoints, camera: PinholeCamera, threshold: float,
         options: RelativePoseOptions) -> _Fit:
    """Find the pose near a start that the points agree on."""
    enough = max(options.min_inliers, options.min_inlier_ratio * len(points.uv))
    status, covariance = PoseStatus.OK, None
    inliers = _agree(T_cur_prev, points, camera, threshold)
    for _ in range(2):   # the second time with the inliers of the better pose
        if inliers.sum() < enough:
            break
        T_cur_prev, covariance = refine_pose(T_cur_prev, points.only(inliers), camera,
                                             options.refinements)
        if covariance is None:
            status = PoseStatus.DEGENERATE
            break
        inliers = _agree(T_cur_prev, points, camera, threshold)
    num_inliers = int(inliers.sum())   # of the pose that is answered, which may have run away
    if status is PoseStatus.OK and num_inliers < enough:
        status = PoseStatus.TOO_FEW_INLIERS
    length = np.linalg.norm(whitened(T_cur_prev, points, camera)[0], axis=1)
    cost = np.inf if status is not PoseStatus.OK else \
        float((np.minimum(length, OUTLIER) ** 2).sum())
    return _Fit(status, T_cur_prev, covariance, num_inliers, cost)


def _answer(fit: _Fit, points: SeenPoints) -> RelativePose:
    counts = {'num_points': len(points.uv), 'num_inliers': fit.num_inliers}
    if fit.status is not PoseStatus.OK:
        return RelativePose(fit.status, **counts)
    # T_cur_prev has the error exp(xi) on its left; its inverse has exp(-xi) on its right
    return RelativePose(PoseStatus.OK, invert(fit.T_cur_prev), fit.covariance, **counts)


def _correspondences(flow: np.ndarray, depth: np.ndarray, sigma_px: np.ndarray | None,
                     depth_sigma: np.ndarray | None, camera: PinholeCamera,
                     max_points: int) -> SeenPoints:
    """Take the surest known pixel of each cell of a regular grid."""
    rows, cols = depth.shape
    sigma = np.ones_like(depth) if sigma_px is None else sigma_px
    share = np.zeros_like(depth) if depth_sigma is None else depth_sigma
    with np.errstate(invalid='ignore'):   # comparisons with NaN are false, as they should be
        # no test of the target lying in the image: noise would decide about points at the border
        # and the rest would seem to move inwards; the network's doubt tells what it cannot see
        known = np.isfinite(depth) & (depth > 0) \
            & np.isfinite(flow[..., 0]) & np.isfinite(flow[..., 1]) \
            & np.isfinite(sigma) & (sigma > 0) & np.isfinite(share) & (share >= 0)
        doubt = np.where(known, sigma * (1 + share), np.inf)
    stride = max(1, int(np.ceil(np.sqrt(rows * cols / max_points))))
    at = _least_of_cells(doubt, stride)
    at = at[np.isfinite(doubt.reshape(-1)[at])]
    pixel = np.stack((at % cols, at // cols), 1).astype(np.float64)
    z = depth.reshape(-1)[at].astype(np.float64)
    ray = (pixel - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    return SeenPoints(np.column_stack((ray * z[:, None], z)), pixel + flow.reshape(-1, 2)[at],
                      np.asarray(sigma, np.float64).reshape(-1)[at],
                      np.asarray(share, np.float64).reshape(-1)[at], _block_of(pixel, depth.shape))


def _block_of(pixel: np.ndarray, size_hw: tuple[int, int]) -> np.ndarray:
    """Return in which of the BLOCKS rows and columns of the image each pixel (N, 2) lies."""
    col, row = (pixel * BLOCKS[::-1] / size_hw[::-1]).astype(int).T
    return row * BLOCKS[1] + col


def _least_of_cells(values: np.ndarray, side: int) -> np.ndarray:
    """Return the flat index of the least value of each whole cell of side x side pixels."""
    rows, cols = (size // side for size in values.shape)
    cells = values[:rows * side, :cols * side].reshape(rows, side, cols, side) \
        .transpose(0, 2, 1, 3).reshape(rows, cols, -1)
    within = cells.argmin(-1)
    row, col = np.mgrid[:rows, :cols]
    return ((row * side + within // side) * values.shape[1] + col * side
            + within % side).reshape(-1)


def _ransac(points: SeenPoints, camera: PinholeCamera, threshold: float,
            options: RelativePoseOptions) -> np.ndarray | None:
    """Return a pose (4, 4) that many points agree with; None where nothing is found."""
    some = np.s_[::max(1, len(points.uv) // options.ransac_points)]
    xyz, uv = points.xyz[some], points.uv[some]
    if np.ptp(uv, axis=0).max() < 2 or np.ptp(xyz, axis=0).max() == 0:
        return None   # all in one place
    cv2.setRNGSeed(0)   # the same input gives the same pose
    try:
        found, rotation, translation, _ = cv2.solvePnPRansac(
            np.ascontiguousarray(xyz), np.ascontiguousarray(uv), camera.matrix, None,
            iterationsCount=options.ransac_iterations, reprojectionError=threshold,
            confidence=0.999, flags=cv2.SOLVEPNP_P3P)
    except cv2.error:   # a degenerate sample that OpenCV cannot take
        return None
    if not found or not (np.isfinite(rotation).all() and np.isfinite(translation).all()):
        return None
    return make_transform(cv2.Rodrigues(rotation)[0], translation.ravel())


def _agree(T_cur_prev: np.ndarray, points: SeenPoints, camera: PinholeCamera,
           threshold: float) -> np.ndarray:
    """
    Tell (N,) which points are where the pose says, within the threshold or what is expected.

    A fixed threshold would cut off the tails of doubtful points and with them their pull.
    """
    t = T_cur_prev[:3, 3]
    p = points.xyz @ T_cur_prev[:3, :3].T + t
    residual, projection = project_uv(p, points.uv, camera)
    by_depth = np.linalg.norm(projection @ t, axis=1) * points.depth_sigma
    expected = 3.5 * np.hypot(points.sigma_px, by_depth)
    limit = np.clip(expected, threshold, MAX_TOLERANCE * threshold)
    return (p[:, 2] > 1e-3) & (np.linalg.norm(residual, axis=1) < limit)
