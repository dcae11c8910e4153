# SPDX-License-Identifier: Apache-2.0
"""Odometry frame by frame: from the first one with depth to the next reset."""
from collections.abc import Callable
import dataclasses
from dataclasses import dataclass
from typing import Any

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.corner_sharpening import Corners, seen_corners, sharpened
from crossview_ros.runtime.inference import EncodedImage
from crossview_ros.runtime.learned_motion import LearnedMotion
from crossview_ros.runtime.odometry import (
    CALIBRATION_ERROR, flow_sigma, OdometryStep, SeenDepth, VisualOdometry)
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

# flow [px], its log_scale, and what a pose head says of the same views
DenseFlow = tuple[np.ndarray, np.ndarray | None, LearnedMotion | None]


@dataclass(frozen=True)
class SeenView:
    """What later frames need of a left image."""

    left: EncodedImage
    stamp_ns: int
    seen: SeenDepth | None   # for the odometry
    visible: np.ndarray | None = None   # (H, W) bool; None: the image shows something everywhere
    grey: np.ndarray | None = None   # (H, W) uint8, to sharpen the flow from here
    corners: Corners | None = None   # for the odometry

    def with_corners(self, left: np.ndarray, right: np.ndarray | None,
                     rig: StereoRig | PinholeCamera) -> 'SeenView':
        """Look for corners in the images (H, W, 3) uint8 RGB; ``right`` None: one camera."""
        return dataclasses.replace(
            self, corners=seen_corners(left, right, rig, self.seen, self.visible))


class Tracking:
    """Keeps the odometry, its keyframe, and whether it has begun; for one thread."""

    def __init__(self, calibration_error: float = CALIBRATION_ERROR) -> None:
        """Wait for the first depth; the error is a share, as `VisualOdometry` takes it."""
        self._odometry = VisualOdometry(calibration_error=calibration_error)
        self._keyframe: SeenView | None = None
        self._begun = False

    def reset(self) -> None:
        """Forget everything: the next frame with depth is the origin."""
        self._odometry.reset()
        self._keyframe, self._begun = None, False

    def follows(self, seen: SeenDepth | None) -> bool:
        """Tell whether a frame is to be answered: without any depth no motion has a length."""
        self._begun = self._begun or seen is not None
        return self._begun

    def step(self, frame: SeenView, previous: SeenView | None, flow: DenseFlow | None,
             flow_from: Callable[[SeenView], DenseFlow | None]) -> dict[str, Any]:
        """
        Go one frame on.

        :param previous: The frame before, if there is one.
        :param flow: From the frame before to this one, if it can be known.
        :param flow_from: Gives the flow from another view to this frame, if it can be known.
        :return: Fields of the result.
        """
        step = None
        if self._keyframe is not None and previous is not None \
                and self._keyframe is not previous:
            step = self._track(self._keyframe, flow_from(self._keyframe), frame, previous)
        if step is None or step.status is TrackingStatus.LOST:
            step = self._track(previous, flow, frame, previous) or step \
                or self._odometry.begin(frame.stamp_ns)
        if self._odometry.keyframe_ns == frame.stamp_ns:
            self._keyframe = frame
        return {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}

    def _track(self, reference: SeenView | None, flow: DenseFlow | None, frame: SeenView,
               previous: SeenView | None) -> OdometryStep | None:
        """Compare a frame with another one; None where that cannot be done."""
        if flow is None or reference is None or reference.seen is None \
                or not 0 < previous.stamp_ns < frame.stamp_ns:
            return None
        learned = None if flow[2] is None else flow[2].in_metres(reference.seen)
        known = reference.seen, flow[0], flow_sigma(flow[1])
        if reference.corners is not None and frame.corners is not None and flow[1] is not None \
                and reference.seen.depth_sigma is not None:
            known = sharpened(reference.corners, frame.corners.image, *known)
        return self._odometry.track(*known, frame.stamp_ns, previous.stamp_ns, learned)
