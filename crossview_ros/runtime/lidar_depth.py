# SPDX-License-Identifier: Apache-2.0
"""Dense depth of one camera from the sparse points of a LiDAR and, if there is one, a network."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.depth_scale import DepthScale, fit_depth_scale
from crossview_ros.geometry.local_planes import (
    COLUMN_STRETCH, fit_inverse_depth, InverseDepthField, nearest_points)
from crossview_ros.geometry.projection import project_points, visible_points
import numpy as np

MIN_DEPTH_M = 0.3        # nearer points are the vehicle, or no points at all
# A point is taken where so many of its neighbours lie as deep as it does.
NUM_NEIGHBOURS, NUM_ALIKE, ALIKE_SHARE = 8, 2, 0.15
REACH_RAD = 0.14         # beyond it from any point, points alone give no depth
# Expected error of the answer, shares of the depth, fitted on held-out rings of real clouds:
POINT_SIGMA = 0.01       # at a point
SPREAD_SIGMA = 1.5       # per unit of the spread of the points about the surface
DRIFT_SIGMA = 1.0        # per radian from the nearest point
SCALE_MAX_AGE_NS = 1_000_000_000   # a scale found so long ago serves without a cloud
METRES = DepthScale(1.0, 1.0, 1.0)   # of a prior whose scale nothing tells
SHAPE_SIGMA = 0.5        # a prior farther from the points has no shape to follow


@dataclass(frozen=True)
class LidarDepth:
    """Depth of an image, as points and prior tell it together."""

    depth: np.ndarray   # (H, W) float32 [m] along the optical axis; NaN where nothing is known
    sigma: np.ndarray | None   # (H, W) float32, expected error as a share of the depth
    num_points: int     # points that it rests on
    scale: DepthScale | None   # fitted to the prior; None without one, or where none fits


def lidar_depth(prior: np.ndarray | None, prior_sigma: np.ndarray | None, image: np.ndarray,
                camera: PinholeCamera, cloud: np.ndarray,
                last_scale: DepthScale = METRES) -> LidarDepth | None:
    """
    Correct a dense depth image by points, or make one of points alone.

    The prior is scaled to the points, then planes of what it leaves are drawn between them: at
    points the answer follows them, between them the shape of the prior as far as the points
    agree with it, far from all points the scaled prior.

    :param prior: (H, W) float32 [m] of a network, of any scale; +Inf is infinitely far, NaN
        unknown. None: points alone.
    :param prior_sigma: (H, W) float32, its expected error as a share of the depth, or None.
    :param image: (H, W, 3) uint8 RGB, rectified.
    :param cloud: (N, 3) [m] in the camera's optical frame; rows may be NaN.
    :param last_scale: Of the prior, where too few points fit one.
    :return: None where no point lies in view.
    """
    uv, depth = _points_of(cloud, camera)
    if not len(depth):
        return None
    if prior is None:
        field = fit_inverse_depth(uv, 1 / depth, image)
        sigma = _sigma(field, camera)
        beyond = field.distance_px > REACH_RAD * camera.fx
        answer = 1 / field.inverse_depth
        answer[beyond], sigma[beyond] = np.nan, np.nan
        return LidarDepth(answer, sigma, len(depth), None)
    scale = fit_depth_scale(_at(prior, uv), depth)
    guide, guide_sigma = _scaled(prior, prior_sigma, last_scale if scale is None else scale)
    has_shape = scale is not None and scale.sigma <= SHAPE_SIGMA
    field = fit_inverse_depth(uv, 1 / depth, image, guide if has_shape else None)
    sigma = _sigma(field, camera)
    distance = field.distance_px / camera.fx
    # at an edge neither knows the side: what lies between points is not for the prior to say
    drift = DRIFT_SIGMA * distance / np.maximum(1 - (distance / REACH_RAD) ** 2, 1e-6)
    share = guide_sigma ** 2 / (guide_sigma ** 2 + drift ** 2)   # inverse variances
    inverse_depth = guide + share * (field.inverse_depth - guide)
    with np.errstate(divide='ignore'):
        return LidarDepth(1 / inverse_depth, np.hypot(share * sigma, (1 - share) * guide_sigma),
                          len(depth), scale)


class LidarGuide:
    """
    Depth of a stream of images, with clouds beside some of them; for one thread.

    Keeps the scale of the prior: a short time without a cloud does not change what a network
    calls a metre.
    """

    def __init__(self) -> None:
        """Know no scale."""
        self.reset()

    def reset(self) -> None:
        """Forget the scale."""
        self._scale = METRES
        self._stamp_ns = 0

    def answer(self, prior: np.ndarray | None, prior_sigma: np.ndarray | None,
               image: np.ndarray, camera: PinholeCamera, cloud: np.ndarray | None,
               stamp_ns: int) -> LidarDepth | None:
        """
        Answer one image; parameters as `lidar_depth`.

        :param cloud: None where none belongs to the image.
        :param stamp_ns: Time of the image [ns].
        :return: None where there is neither a prior nor a point in view.
        """
        recent = 0 <= stamp_ns - self._stamp_ns <= SCALE_MAX_AGE_NS
        scale = self._scale if recent else METRES
        found = None if cloud is None else \
            lidar_depth(prior, prior_sigma, image, camera, cloud, scale)
        if found is not None:
            if found.scale is not None:
                self._scale, self._stamp_ns = found.scale, stamp_ns
            return found
        if prior is None:
            return None
        if scale is METRES:
            return LidarDepth(prior, prior_sigma, 0, None)
        inverse_depth, sigma = _scaled(prior, prior_sigma, scale)
        with np.errstate(divide='ignore'):
            return LidarDepth(1 / inverse_depth, sigma, 0, scale)


def _points_of(cloud: np.ndarray, camera: PinholeCamera) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels (N, 2) and depth (N,) of the points that the camera sees."""
    uv, depth, in_view = project_points(cloud[cloud[:, 2] >= MIN_DEPTH_M], camera)
    uv, depth = uv[in_view], depth[in_view]
    if not len(depth):
        return uv, depth
    kept = visible_points(uv, depth, camera)
    uv, depth = uv[kept], depth[kept]
    kept = _with_neighbours(uv, depth)
    return uv[kept], depth[kept]


def _with_neighbours(uv: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Tell which points are no stray returns: (N,) bool."""
    places = (uv * (COLUMN_STRETCH, 1.0)).astype(np.float32)
    index, _ = nearest_points(places, places, NUM_NEIGHBOURS + 1)
    alike = np.abs(depth[index] / depth[:, None] - 1) < ALIKE_SHARE   # itself too
    return alike.sum(axis=1) > min(NUM_ALIKE, len(depth) - 1)


def _at(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    column, row = np.floor(uv + 0.5).astype(np.int64).T
    return image[row, column]


def _scaled(prior: np.ndarray, prior_sigma: np.ndarray | None,
            scale: DepthScale) -> tuple[np.ndarray, np.ndarray]:
    """Return inverse depth [1/m] and sigma (H, W) of the prior, finite everywhere."""
    with np.errstate(divide='ignore', invalid='ignore'):
        inverse_depth = 1 / scale.apply(prior)   # 0 of infinity
    sigma = np.full(prior.shape, scale.sigma, np.float32)
    if prior_sigma is not None:
        np.fmax(sigma, prior_sigma * np.float32(scale.exponent), out=sigma)
    unknown = ~np.isfinite(inverse_depth)
    if unknown.any():
        inverse_depth[unknown], sigma[unknown] = 0, 1e3
    return inverse_depth, sigma


def _sigma(field: InverseDepthField, camera: PinholeCamera) -> np.ndarray:
    """Return the expected error of depth from points (H, W), as a share of the depth."""
    return np.sqrt(POINT_SIGMA ** 2 + (SPREAD_SIGMA * field.spread) ** 2
                   + (DRIFT_SIGMA / camera.fx * field.distance_px) ** 2)
