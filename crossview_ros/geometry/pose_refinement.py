# SPDX-License-Identifier: Apache-2.0
"""Refine a camera's motion on the reprojection error of uncertain points; its covariance."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import exp_se3
import numpy as np

MAX_CONDITION = 1e12   # of the normal matrix: beyond it some motion is not seen at all
CHI_MEDIAN = 1.1774    # median length of a standard normal error in two dimensions
TAILS = 4.0            # degrees of freedom of Student's distribution: the tails of errors
MIN_SCALE = 1e-3       # of whitened errors: no data is exact, and no covariance is zero
MAX_INVERSE = 4.0      # a point is not nearer than a quarter of what was measured
CONVERGED = 1e-3       # standard deviations of the pose: smaller steps change nothing


@dataclass(frozen=True)
class SeenPoints:
    """Correspondences: points of the previous camera and where they went."""

    xyz: np.ndarray           # (N, 3) [m] previous camera
    uv: np.ndarray            # (N, 2) [px] current image
    sigma_px: np.ndarray      # (N,) of uv, per axis
    depth_sigma: np.ndarray   # (N,) of the depth, as a share of it
    block: np.ndarray         # (N,) int: part of the image that it lies in

    def only(self, mask: np.ndarray) -> 'SeenPoints':
        """Keep some."""
        return SeenPoints(self.xyz[mask], self.uv[mask], self.sigma_px[mask],
                          self.depth_sigma[mask], self.block[mask])


def refine_pose(T_cur_prev: np.ndarray, points: SeenPoints, camera: PinholeCamera,
                iterations: int) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Find the pose nearest to all points by Gauss-Newton with the weights of a t-distribution.

    :param T_cur_prev: (4, 4) start.
    :return: T_cur_prev, and the covariance (6, 6) of xi in T_true = exp(xi) T_cur_prev; None
        where the points do not fix it.
    """
    for _ in range(iterations):
        residual, jacobian = whitened(T_cur_prev, points, camera)
        weight, scale = _weights(residual)
        normal = _product(jacobian, weight)
        if not _is_regular(normal):
            return T_cur_prev, None
        gradient = jacobian.reshape(-1, 6).T @ (weight[:, None] * residual).reshape(-1)
        change = -np.linalg.solve(normal, gradient)
        T_cur_prev = exp_se3(change) @ T_cur_prev
        if change @ normal @ change < (CONVERGED * scale) ** 2:
            break
    return T_cur_prev, _covariance(*whitened(T_cur_prev, points, camera), points.block)


def _covariance(residual: np.ndarray, jacobian: np.ndarray,
                block: np.ndarray) -> np.ndarray | None:
    """
    Return the covariance (6, 6) of the pose that minimises the robust loss; None if not fixed.

    The mean square of the loss's slope over its curvature twice: errors that are larger than
    expected, or have long tails, widen it. Networks also err alike over whole areas: where the
    pulls of the blocks of the image are larger than those of independent points would be, it
    grows by their mean excess.

    Source: Huber, Robust Statistics, section 7.6, covariance of M-estimates in regression; for
    the blocks Liang and Zeger, Biometrika 73 (1986), eq. 7.
    """
    weight, _ = _weights(residual)
    # of a weight 1 / (1 + q): that across the residual, (1 - q) / (1 + q)^2 along it; the mean
    curvature = weight ** 2
    information = _product(jacobian, curvature)
    if not _is_regular(information):
        return None
    # two coordinates of each point, to which 6 numbers were fitted
    slope = ((weight[:, None] * residual) ** 2).sum() / (2 * len(weight) - 6)
    slope = max(slope, MIN_SCALE ** 2) / curvature.mean()
    pulls = np.zeros((block.max() + 1, 6))
    np.add.at(pulls, block, np.einsum('nij,ni->nj', jacobian, weight[:, None] * residual))
    num_blocks = len(np.unique(block))
    spread = pulls.T @ pulls * num_blocks / max(1, num_blocks - 1)   # they sum up to zero
    excess = np.trace(np.linalg.solve(information, spread)) / (6 * slope)
    covariance = np.linalg.inv(information) * slope * max(1.0, excess)
    return 0.5 * (covariance + covariance.T)


def _product(jacobian: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the sum (6, 6) of w J^T J."""
    rows = jacobian.reshape(-1, 6)
    return rows.T @ (np.repeat(weight, 2)[:, None] * rows)


def _is_regular(normal: np.ndarray) -> bool:
    return bool(np.isfinite(normal).all() and np.linalg.cond(normal) < MAX_CONDITION)


def _weights(residual: np.ndarray) -> tuple[np.ndarray, float]:
    """
    Return weights (N,) of whitened residuals (N, 2), and their robust scale.

    They fall with the square of the error, and so far errors pull less the farther they are:
    other than with Huber's there is no edge at which a point starts or ceases to count.

    Source: Lange, Little and Taylor, Robust statistical modeling using the t distribution, 1989.
    """
    square = (residual ** 2).sum(1)
    scale = max(float(np.sqrt(np.median(square))) / CHI_MEDIAN, MIN_SCALE)
    return 1 / (1 + square / (TAILS * scale ** 2)), scale


def whitened(T_cur_prev: np.ndarray, points: SeenPoints,
             camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """
    Linearise the reprojection error about a pose, for a left perturbation.

    The inverse depth of each point is unknown, too: it is set to its most likely value for this
    pose, and eliminated (Schur complement). As measured, its noise would bias the translation.

    :return: Residual (N, 2) and jacobian (N, 2, 6), in standard deviations as expected.
    """
    t = T_cur_prev[:3, 3]
    rotated = points.xyz @ T_cur_prev[:3, :3].T
    variance, share = points.sigma_px ** 2, points.depth_sigma ** 2
    # rotated + inverse t is seen at the same pixel as rotated / inverse + t, and stays finite
    # where the point is far; inverse [-] is 1 at the measured depth
    residual, projection = project_uv(rotated + t, points.uv, camera)
    along = projection @ t                        # (N, 2) [px] by 1 of the inverse depth
    change = -(along * residual).sum(1) * share / (variance + share * (along ** 2).sum(1))
    inverse = np.clip(1 + change, 0.0, MAX_INVERSE)[:, None]
    p = rotated + inverse * t
    residual, projection = project_uv(p, points.uv, camera)
    along = projection @ t
    residual = residual - along * (inverse - 1)   # as at the measured depth, to first order
    # d(exp(xi) p)/d(xi) = [I, -[p]x]
    jacobian = np.concatenate((inverse[..., None] * projection,
                               np.cross(p[:, None], projection)), 2)
    # the covariance is variance I + share along along^T: shrink the part along it, divide by sigma
    square = (along ** 2).sum(1)
    shrink = 1 - np.sqrt(variance / (variance + share * square))
    direction = along / np.sqrt(np.maximum(square, 1e-300))[:, None]
    residual = residual - direction * (shrink * (direction * residual).sum(1))[:, None]
    across = np.einsum('ni,nij->nj', direction, jacobian)
    jacobian = jacobian - direction[:, :, None] * (shrink[:, None] * across)[:, None]
    return residual / points.sigma_px[:, None], jacobian / points.sigma_px[:, None, None]


def project_uv(p: np.ndarray, uv: np.ndarray,
               camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual (N, 2) [px] of points in the camera, and d(uv)/dp (N, 2, 3)."""
    x, y, z = p[:, 0], p[:, 1], np.maximum(p[:, 2], 1e-3)
    residual = np.stack((camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy), 1) - uv
    projection = np.zeros((len(p), 2, 3))
    projection[:, 0, 0], projection[:, 0, 2] = camera.fx / z, -camera.fx * x / z ** 2
    projection[:, 1, 1], projection[:, 1, 2] = camera.fy / z, -camera.fy * y / z ** 2
    return residual, projection
