# SPDX-License-Identifier: Apache-2.0
"""Relative camera pose from optical flow and depth: PnP with RANSAC, refined, with covariance."""
from dataclasses import dataclass
from enum import Enum

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import exp_se3, invert, make_transform
import cv2
import numpy as np

MAX_CONDITION = 1e12   # of the normal matrix: beyond it some motion is not seen at all
CHI_MEDIAN = 1.1774    # median length of a standard normal error in two dimensions
MAX_TOLERANCE = 4.0    # times the threshold: no point is so doubtful that anything agrees
HUBER = 2.5            # whitened errors beyond so many scales count linearly
MIN_SCALE = 1e-3       # of whitened errors: no data is exact, and no covariance is zero
CONVERGED = 1e-3       # standard deviations of the pose: smaller steps change nothing


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
    # errors of neighbouring pixels are alike up to this distance: so many fewer observations
    correlation_px: float = 1.0


@dataclass(frozen=True)
class RelativePose:
    """A relative pose, or the reason why there is none: ``T_prev_cur`` is None unless OK."""

    status: PoseStatus
    T_prev_cur: np.ndarray | None = None      # (4, 4): p_prev = T_prev_cur @ p_cur
    # (6, 6) x y z rx ry rz: T_true = T_prev_cur @ exp(xi), xi in the axes of the current camera
    covariance: np.ndarray | None = None
    num_points: int = 0
    num_inliers: int = 0


@dataclass(frozen=True)
class _Points:
    """Correspondences: points of the previous camera and where they went."""

    xyz: np.ndarray           # (N, 3) [m] previous camera
    uv: np.ndarray            # (N, 2) [px] current image
    sigma_px: np.ndarray      # (N,) of uv, per axis
    depth_sigma: np.ndarray   # (N,) of the depth, as a share of it
    stride_px: int            # distance of neighbours in the grid

    def only(self, mask: np.ndarray) -> '_Points':
        """Keep some."""
        return _Points(self.xyz[mask], self.uv[mask], self.sigma_px[mask],
                       self.depth_sigma[mask], self.stride_px)


def estimate_relative_pose(flow: np.ndarray, depth: np.ndarray, camera: PinholeCamera,
                           sigma_px: np.ndarray | None = None,
                           depth_sigma: np.ndarray | None = None,
                           options: RelativePoseOptions = RelativePoseOptions()) -> RelativePose:
    """
    Find how the camera moved between two images of a mostly rigid scene.

    :param flow: (H, W, 2) float32 [px], previous -> current on the previous grid; NaN unknown.
    :param depth: (H, W) float32 [m] of the previous image; not finite or <= 0 is unknown.
    :param sigma_px: (H, W) expected flow error per axis [px]; None: all 1 px.
    :param depth_sigma: (H, W) expected depth error as a share of the depth; None: exact.
    :return: Pose and covariance, or a status that says why there is none. Never a made-up pose.
        The covariance follows the residuals as they are, should they be other than expected,
        and grows with the number of pixels that err together.

    Source: PnP with RANSAC as in OpenCV's solvePnPRansac; refinement by Gauss-Newton on the
    reprojection error with Huber weights (Hartley and Zisserman, appendix A6).
    """
    points = _correspondences(flow, depth, sigma_px, depth_sigma, camera, options.max_points)
    if len(points.uv) < options.min_points:
        return RelativePose(PoseStatus.TOO_FEW_POINTS, num_points=len(points.uv))
    return _fit(points, camera, options)


def _fit(points: _Points, camera: PinholeCamera, options: RelativePoseOptions) -> RelativePose:
    """Find the pose that the points agree on."""
    num_points = len(points.uv)
    threshold = max(options.min_threshold_px, options.threshold_px * camera.width / 640)
    T_cur_prev = _ransac(points, camera, threshold, options)
    if T_cur_prev is None:
        return RelativePose(PoseStatus.TOO_FEW_INLIERS, num_points=num_points)
    enough = max(options.min_inliers, options.min_inlier_ratio * num_points)
    inliers = _agree(T_cur_prev, points, camera, threshold)
    for _ in range(2):   # the second time with the inliers of the better pose
        if inliers.sum() < enough:
            break
        T_cur_prev, covariance = _refine(T_cur_prev, points.only(inliers), camera,
                                         options.refinements)
        if covariance is None:
            return RelativePose(PoseStatus.DEGENERATE, num_points=num_points,
                                num_inliers=int(inliers.sum()))
        inliers = _agree(T_cur_prev, points, camera, threshold)
    num_inliers = int(inliers.sum())   # of the pose that is answered, which may have run away
    if num_inliers < enough:
        return RelativePose(PoseStatus.TOO_FEW_INLIERS, num_points=num_points,
                            num_inliers=num_inliers)
    covariance *= max(1.0, options.correlation_px / points.stride_px) ** 2
    # T_cur_prev has the error exp(xi) on its left; its inverse has exp(-xi) on its right
    return RelativePose(PoseStatus.OK, invert(T_cur_prev), covariance, num_points, num_inliers)


def _correspondences(flow: np.ndarray, depth: np.ndarray, sigma_px: np.ndarray | None,
                     depth_sigma: np.ndarray | None, camera: PinholeCamera,
                     max_points: int) -> _Points:
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
    return _Points(np.column_stack((ray * z[:, None], z)), pixel + flow.reshape(-1, 2)[at],
                   np.asarray(sigma, np.float64).reshape(-1)[at],
                   np.asarray(share, np.float64).reshape(-1)[at], stride)


def _least_of_cells(values: np.ndarray, side: int) -> np.ndarray:
    """Return the flat index of the least value of each whole cell of side x side pixels."""
    rows, cols = (size // side for size in values.shape)
    cells = values[:rows * side, :cols * side].reshape(rows, side, cols, side) \
        .transpose(0, 2, 1, 3).reshape(rows, cols, -1)
    within = cells.argmin(-1)
    row, col = np.mgrid[:rows, :cols]
    return ((row * side + within // side) * values.shape[1] + col * side
            + within % side).reshape(-1)


def _ransac(points: _Points, camera: PinholeCamera, threshold: float,
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


def _agree(T_cur_prev: np.ndarray, points: _Points, camera: PinholeCamera,
           threshold: float) -> np.ndarray:
    """
    Tell (N,) which points are where the pose says, within the threshold or what is expected.

    A fixed threshold would cut off the tails of doubtful points and with them their pull.
    """
    t = T_cur_prev[:3, 3]
    p = points.xyz @ T_cur_prev[:3, :3].T + t
    residual, projection = _project(p, points.uv, camera)
    by_depth = np.linalg.norm(projection @ t, axis=1) * points.depth_sigma
    expected = 3.5 * np.hypot(points.sigma_px, by_depth)
    limit = np.clip(expected, threshold, MAX_TOLERANCE * threshold)
    return (p[:, 2] > 1e-3) & (np.linalg.norm(residual, axis=1) < limit)


def _refine(T_cur_prev: np.ndarray, points: _Points, camera: PinholeCamera,
            iterations: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the pose nearest to all points and its covariance; None where it is not fixed."""
    for _ in range(iterations):
        residual, jacobian = _whitened(T_cur_prev, points, camera)
        weight, scale = _huber(residual)
        normal = _product(jacobian, weight)
        if not _is_regular(normal):
            return T_cur_prev, None
        gradient = jacobian.reshape(-1, 6).T @ (weight[:, None] * residual).reshape(-1)
        change = -np.linalg.solve(normal, gradient)
        T_cur_prev = exp_se3(change) @ T_cur_prev
        if change @ normal @ change < (CONVERGED * scale) ** 2:
            break
    return T_cur_prev, _covariance(*_whitened(T_cur_prev, points, camera))


def _covariance(residual: np.ndarray, jacobian: np.ndarray) -> np.ndarray | None:
    """
    Return the covariance (6, 6) of the pose that minimises the Huber loss; None if not fixed.

    The mean square of the loss's slope over its curvature twice: errors that are larger than
    expected, or have long tails, widen it.

    Source: Huber, Robust Statistics, section 7.6, covariance of M-estimates in regression.
    """
    weight, _ = _huber(residual)
    # in the tail the loss is straight along the residual, and curved across it
    curvature = np.where(weight < 1, weight / 2, 1.0)
    information = _product(jacobian, curvature)
    if not _is_regular(information):
        return None
    # two coordinates of each point, to which 6 numbers were fitted
    slope = ((weight[:, None] * residual) ** 2).sum() / (2 * len(weight) - 6)
    covariance = np.linalg.inv(information) * max(slope, MIN_SCALE ** 2) / curvature.mean()
    return 0.5 * (covariance + covariance.T)


def _product(jacobian: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sum (6, 6) of w J^T J."""
    rows = jacobian.reshape(-1, 6)
    return rows.T @ (np.repeat(weight, 2)[:, None] * rows)


def _is_regular(normal: np.ndarray) -> bool:
    return bool(np.isfinite(normal).all() and np.linalg.cond(normal) < MAX_CONDITION)


def _huber(residual: np.ndarray) -> tuple[np.ndarray, float]:
    """Return weights (N,) of whitened residuals (N, 2), and their robust scale."""
    length = np.sqrt((residual ** 2).sum(1))
    scale = max(float(np.median(length)) / CHI_MEDIAN, MIN_SCALE)
    return np.minimum(1.0, HUBER * scale / np.maximum(length, 1e-12)), scale


def _whitened(T_cur_prev: np.ndarray, points: _Points,
              camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """
    Linearise the reprojection error about a pose, for a left perturbation.

    Each depth is unknown, too: it is set to its most likely value for this pose, and eliminated
    (Schur complement). With depths as measured, their noise would bias the translation.

    :return: Residual (N, 2) and jacobian (N, 2, 6), in standard deviations as expected.
    """
    t = T_cur_prev[:3, 3]
    rotated = points.xyz @ T_cur_prev[:3, :3].T
    variance, share = points.sigma_px ** 2, points.depth_sigma ** 2
    residual, projection = _project(rotated + t, points.uv, camera)
    along = -projection @ t                       # (N, 2) [px] by 1 of a share of the depth
    change = -(along * residual).sum(1) * share / (variance + share * (along ** 2).sum(1))
    p = rotated * (1 + change)[:, None] + t
    residual, projection = _project(p, points.uv, camera)
    along = -projection @ t
    residual = residual - along * change[:, None]  # as at the measured depth, to first order
    # d(exp(xi) p)/d(xi) = [I, -[p]x]
    jacobian = np.concatenate((projection, np.cross(p[:, None], projection)), 2)
    # the covariance is variance I + share along along^T: shrink the part along it, divide by sigma
    square = (along ** 2).sum(1)
    shrink = 1 - np.sqrt(variance / (variance + share * square))
    direction = along / np.sqrt(np.maximum(square, 1e-300))[:, None]
    residual = residual - direction * (shrink * (direction * residual).sum(1))[:, None]
    across = np.einsum('ni,nij->nj', direction, jacobian)
    jacobian = jacobian - direction[:, :, None] * (shrink[:, None] * across)[:, None]
    return residual / points.sigma_px[:, None], jacobian / points.sigma_px[:, None, None]


def _project(p: np.ndarray, uv: np.ndarray,
             camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual (N, 2) [px] of points in the camera, and d(uv)/dp (N, 2, 3)."""
    x, y, z = p[:, 0], p[:, 1], np.maximum(p[:, 2], 1e-3)
    residual = np.stack((camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy), 1) - uv
    projection = np.zeros((len(p), 2, 3))
    projection[:, 0, 0], projection[:, 0, 2] = camera.fx / z, -camera.fx * x / z ** 2
    projection[:, 1, 1], projection[:, 1, 2] = camera.fy / z, -camera.fy * y / z ** 2
    return residual, projection
