# SPDX-License-Identifier: Apache-2.0
"""Relative camera pose from optical flow and depth: PnP with RANSAC, refined, with covariance."""
from dataclasses import dataclass
from enum import Enum

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import exp_se3, invert, make_transform
import cv2
import numpy as np


class PoseStatus(str, Enum):
    """What became of an attempt to find the pose."""

    OK = 'ok'
    TOO_FEW_POINTS = 'too few points'
    TOO_FEW_INLIERS = 'too few inliers'
    DEGENERATE = 'degenerate'


@dataclass(frozen=True)
class RelativePoseOptions:
    """Thresholds of the estimate."""

    max_points: int = 2000            # correspondences used, spread over the image
    min_points: int = 60
    min_inliers: int = 40
    min_inlier_ratio: float = 0.25
    threshold_px: float = 2.0         # RANSAC reprojection error at 640 columns, scaled by width
    ransac_iterations: int = 200
    refinements: int = 10


@dataclass(frozen=True)
class RelativePose:
    """A relative pose, or the reason why there is none: ``T_prev_cur`` is None unless OK."""

    status: PoseStatus
    T_prev_cur: np.ndarray | None = None      # (4, 4): p_prev = T_prev_cur @ p_cur
    covariance: np.ndarray | None = None      # (6, 6) x y z rx ry rz in the current frame
    num_points: int = 0
    num_inliers: int = 0


def estimate_relative_pose(flow: np.ndarray, depth: np.ndarray, camera: PinholeCamera,
                           sigma_px: np.ndarray | None = None,
                           options: RelativePoseOptions = RelativePoseOptions()) -> RelativePose:
    """
    Find how the camera moved between two images of a mostly rigid scene.

    :param flow: (H, W, 2) float32 [px], previous -> current on the previous grid; NaN unknown.
    :param depth: (H, W) float32 [m] of the previous image; not finite or <= 0 is unknown.
    :param sigma_px: (H, W) expected flow error [px], to weight the points; None: all equal.
    :return: Pose and covariance (from the normal equations, times the robust variance of the
        residuals), or a status that says why there is none. Never a made-up pose.

    Source: PnP with RANSAC as in OpenCV's solvePnPRansac; refinement by Gauss-Newton on the
    reprojection error with Huber weights (Hartley and Zisserman, appendix A6).
    """
    uv, points, sigma = _correspondences(flow, depth, camera, sigma_px, options.max_points)
    if len(uv) < options.min_points:
        return RelativePose(PoseStatus.TOO_FEW_POINTS, num_points=len(uv))
    threshold = max(1.0, options.threshold_px * camera.width / 640)
    T_cur_prev, inliers = _ransac(points, uv, camera, threshold, options.ransac_iterations)
    if T_cur_prev is None or len(inliers) < max(options.min_inliers,
                                                options.min_inlier_ratio * len(uv)):
        return RelativePose(PoseStatus.TOO_FEW_INLIERS, num_points=len(uv),
                            num_inliers=0 if inliers is None else len(inliers))
    T_cur_prev, covariance = _refine(T_cur_prev, points[inliers], uv[inliers], sigma[inliers],
                                     camera, options.refinements)
    if covariance is None:
        return RelativePose(PoseStatus.DEGENERATE, num_points=len(uv), num_inliers=len(inliers))
    # left perturbation of T_cur_prev = right perturbation of its inverse, up to the sign
    return RelativePose(PoseStatus.OK, invert(T_cur_prev), covariance, len(uv), len(inliers))


def _correspondences(flow: np.ndarray, depth: np.ndarray, camera: PinholeCamera,
                     sigma_px: np.ndarray | None, max_points: int):
    """Return target pixels (N, 2), previous points (N, 3) [m] and sigma (N,), evenly spread."""
    rows, cols = depth.shape
    stride = max(1, int(np.sqrt(rows * cols / (2 * max_points))))
    v, u = np.mgrid[stride // 2:rows:stride, stride // 2:cols:stride].reshape(2, -1)
    z = depth[v, u].astype(np.float64)
    target = np.stack((u, v), 1) + flow[v, u].astype(np.float64)
    known = np.isfinite(z) & (z > 0) & np.isfinite(target).all(1)
    known &= ((target >= 0) & (target <= (cols - 1, rows - 1))).all(1)
    sigma = np.ones(len(u)) if sigma_px is None else sigma_px[v, u].astype(np.float64)
    known &= np.isfinite(sigma) & (sigma > 0)
    keep = np.flatnonzero(known)
    if len(keep) > max_points:   # the surest ones
        keep = np.sort(keep[np.argsort(sigma[keep], kind='stable')[:max_points]])
    x = (u[keep] - camera.cx) / camera.fx * z[keep]
    y = (v[keep] - camera.cy) / camera.fy * z[keep]
    return target[keep], np.stack((x, y, z[keep]), 1), sigma[keep]


def _ransac(points: np.ndarray, uv: np.ndarray, camera: PinholeCamera, threshold: float,
            iterations: int) -> tuple[np.ndarray | None, np.ndarray | None]:
    cv2.setRNGSeed(0)   # the same input gives the same pose
    found, rotation, translation, inliers = cv2.solvePnPRansac(
        points, uv, camera.matrix, None, iterationsCount=iterations,
        reprojectionError=threshold, confidence=0.999, flags=cv2.SOLVEPNP_EPNP)
    if not found or inliers is None:
        return None, None
    return make_transform(cv2.Rodrigues(rotation)[0], translation.ravel()), inliers.ravel()


def _refine(T_cur_prev: np.ndarray, points: np.ndarray, uv: np.ndarray, sigma: np.ndarray,
            camera: PinholeCamera, iterations: int) -> tuple[np.ndarray, np.ndarray | None]:
    for _ in range(iterations):
        residual, jacobian, weight, scale = _linearise(T_cur_prev, points, uv, sigma, camera)
        normal = np.einsum('nij,n,nik->jk', jacobian, weight, jacobian)
        gradient = np.einsum('nij,n,ni->j', jacobian, weight, residual)
        if np.linalg.cond(normal) > 1e12:
            return T_cur_prev, None
        change = -np.linalg.solve(normal, gradient)
        T_cur_prev = exp_se3(change) @ T_cur_prev
        if np.abs(change).max() < 1e-9:
            break
    _, jacobian, weight, scale = _linearise(T_cur_prev, points, uv, sigma, camera)
    normal = np.einsum('nij,n,nik->jk', jacobian, weight, jacobian)
    if np.linalg.cond(normal) > 1e12:
        return T_cur_prev, None
    covariance = np.linalg.inv(normal) * scale ** 2
    return T_cur_prev, 0.5 * (covariance + covariance.T)


def _linearise(T_cur_prev: np.ndarray, points: np.ndarray, uv: np.ndarray, sigma: np.ndarray,
               camera: PinholeCamera):
    """
    Linearise the reprojection error about a pose, for a left perturbation.

    :return: Residual (N, 2) [px], Jacobian (N, 2, 6), weights (N,) = Huber / sigma^2, and the
        robust scale of residual / sigma (1.4826 times the median absolute one, per axis).
    """
    p = points @ T_cur_prev[:3, :3].T + T_cur_prev[:3, 3]
    x, y, z = p[:, 0], p[:, 1], np.maximum(p[:, 2], 1e-3)
    residual = np.stack((camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy), 1) - uv
    zero = np.zeros_like(z)
    projection = np.stack((np.stack((camera.fx / z, zero, -camera.fx * x / z ** 2), 1),
                           np.stack((zero, camera.fy / z, -camera.fy * y / z ** 2), 1)), 1)
    # d(exp(xi) p)/d(xi) = [I, -[p]x]
    skew = np.zeros((len(p), 3, 3))
    skew[:, 0, 1], skew[:, 0, 2], skew[:, 1, 2] = -p[:, 2], p[:, 1], -p[:, 0]
    skew -= skew.transpose(0, 2, 1)
    jacobian = np.concatenate((projection, -projection @ skew), 2)
    normalised = np.abs(residual) / sigma[:, None]
    scale = max(1.4826 * float(np.median(normalised)), 1e-3)
    length = np.linalg.norm(residual, axis=1) / sigma
    huber = np.minimum(1.0, 1.345 * scale / np.maximum(length, 1e-12))
    return residual, jacobian, huber / sigma ** 2, scale
