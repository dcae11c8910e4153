# SPDX-License-Identifier: Apache-2.0
"""Depth in sequential mode as an answer: with limits, confidence, and doubt for the odometry."""
from dataclasses import dataclass, replace
import math

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.stereo import apply_depth_limits
from crossview_ros.runtime.lidar_depth import LidarDepth, LidarGuide
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.monocular import monocular_depth, MonocularDepth, SHAPE_SHARE
from crossview_ros.runtime.odometry import SeenDepth
from crossview_ros.runtime.options import PerceptionOptions
from crossview_ros.runtime.result_fields import without_hidden
from crossview_ros.runtime.results import StageTimer
from crossview_ros.runtime.task_choice import DEPTH_HEADS
import numpy as np

ERROR_SHARE = 0.1   # confidence is P(|error| < this share of the depth)


@dataclass(frozen=True)
class OneCameraDepth:
    """Dense depth of one image; each (H, W) float32."""

    depth: np.ndarray               # [m]; NaN invalid, +Inf beyond the range, -Inf too near
    confidence: np.ndarray | None   # [0, 1], not masked; None if nothing tells the doubt
    sigma: np.ndarray | None        # expected error as a share of the depth
    shape_share: float = 1.0        # of sigma, what differs from pixel to pixel; the rest is scale

    def where(self, visible: np.ndarray | None) -> 'OneCameraDepth':
        """Return it without what the image does not show; as `without_hidden`."""
        fields = {'depth': self.depth, 'confidence': self.confidence}
        return replace(self, **without_hidden(fields, visible, *fields))

    def seen(self, camera: PinholeCamera, stamp_ns: int) -> SeenDepth:
        """Return what the odometry keeps for the next frame."""
        if self.sigma is None or self.shape_share == 1:
            return SeenDepth(self.depth, self.sigma, camera, stamp_ns)
        scale_share = math.sqrt(1 - self.shape_share ** 2)
        return SeenDepth(self.depth, np.float32(self.shape_share) * self.sigma, camera, stamp_ns,
                         scale_share * float(np.median(self.sigma)))


class OneCamera:
    """
    Depth of a stream of single images, by a network, by points or by both; for one thread.

    Keeps the scale that points gave the network's depth.
    """

    def __init__(self, manifest: ModelManifest, heads: tuple[str, ...]) -> None:
        """
        Know no scale.

        :param heads: That run; depth is answered if one of them gives depth.
        """
        self._wanted = any(head in DEPTH_HEADS for head in heads)
        self._output = manifest.outputs['depth'] if 'depth' in heads else None
        self._lidar_guide = LidarGuide()

    def reset(self) -> None:
        """Forget the scale."""
        self._lidar_guide.reset()

    def answer(self, predicted: tuple[np.ndarray, np.ndarray | None] | None, image: np.ndarray,
               camera: PinholeCamera, cloud: np.ndarray | None, stamp_ns: int,
               options: PerceptionOptions, timer: StageTimer) -> OneCameraDepth | None:
        """
        Return the depth of an image; None where nothing tells it.

        :param predicted: Canonical depth and log_scale of the depth head, if there is one.
        :param cloud: (N, 3) float32 [m] in the optical frame, or None.
        """
        prior = None if predicted is None else \
            monocular_depth(*predicted, camera, self._output.focal_px)
        found = None
        if self._wanted and options.lidar_guidance:
            with timer.stage('lidar'):
                values = (None, None) if prior is None else (prior.depth, prior.shape_sigma)
                found = self._lidar_guide.answer(*values, image, camera, cloud, stamp_ns)
        if found is None or not found.num_points and found.scale is None:
            may_be_alone = prior is not None and (self._output.metric or options.unscaled_depth)
            return depth_of_network(prior, options) if may_be_alone else None
        return one_camera_depth(found, options)


def depth_of_network(prior: MonocularDepth, options: PerceptionOptions) -> OneCameraDepth:
    """Return what a network says alone; most of its doubt is about the scale of the whole."""
    alone = one_camera_depth(LidarDepth(prior.depth, prior.sigma, 0, None), options)
    return replace(alone, shape_share=SHAPE_SHARE)


def one_camera_depth(found: LidarDepth, options: PerceptionOptions) -> OneCameraDepth:
    """
    Apply the limits of the options, and turn doubt into confidence.

    :param found: Depth and sigma of points, of a network, or of both.
    :param options: Depth limits [m] and the confidence below which depth is NaN.
    """
    confidence = None if found.sigma is None else share_confidence(found.sigma)
    depth = found.depth
    if confidence is not None and options.min_confidence > 0:
        depth = np.where(confidence < options.min_confidence, np.float32(np.nan), depth)
    depth = apply_depth_limits(depth, options.min_depth, options.max_depth)
    return OneCameraDepth(depth, confidence, found.sigma)


def share_confidence(sigma: np.ndarray) -> np.ndarray:
    """
    Return P(|error| < 10 % of the depth) of a Laplace distribution.

    :param sigma: (H, W) float32, its standard deviation sqrt(2) b, as a share of the depth.
    :return: (H, W) float32 in [0, 1]; 0 where sigma is NaN.
    """
    with np.errstate(divide='ignore'):
        confidence = 1 - np.exp(np.float32(-ERROR_SHARE * 2 ** 0.5) / np.float32(sigma))
    return np.fmax(confidence, np.float32(0))   # of NaN and 0: 0
