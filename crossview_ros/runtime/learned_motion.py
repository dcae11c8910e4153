# SPDX-License-Identifier: Apache-2.0
"""What a pose head answers beside a flow, in metres of the camera that saw it."""
from dataclasses import dataclass

from crossview_ros.geometry.se3 import exp_se3, log_se3, make_transform
from crossview_ros.runtime.inference import DensePrediction
from crossview_ros.runtime.manifest import ModelManifest, OutputSpec
from crossview_ros.runtime.odometry import SeenDepth
import numpy as np


@dataclass(frozen=True)
class LearnedMotion:
    """The answer of a pose head for two images of one size."""

    T_1_2: np.ndarray                # (4, 4) as the network gives it
    scale_xy: tuple[float, float]    # image px per network px
    spec: OutputSpec

    def in_metres(self, seen: SeenDepth) -> np.ndarray | None:
        """
        Return T_1_2 (4, 4) [m], rigid.

        :param seen: Of view 1; its median depth tells the scale where the network cannot. None
            comes out where it has no depth.
        """
        depth_m = 1.0 if self.spec.metric else seen.typical_depth
        if not np.isfinite(depth_m):
            return None
        shrink = np.ones(3)
        if self.spec.focal_px is not None:
            focal_xy = np.array((seen.camera.fx, seen.camera.fy)) / self.scale_xy
            shrink[:2] = self.spec.focal_px / focal_xy
        turn = log_se3(self.T_1_2)[3:] * shrink[[1, 0, 2]]   # about x things move along y
        return make_transform(exp_se3(np.concatenate((np.zeros(3), turn)))[:3, :3],
                              self.T_1_2[:3, 3] * shrink * depth_m)


def with_motion(restored: tuple[np.ndarray, np.ndarray | None] | None,
                prediction: DensePrediction | None, manifest: ModelManifest) -> tuple[
                    np.ndarray, np.ndarray | None, LearnedMotion | None] | None:
    """
    Add to a flow at the image's resolution what the pose head of the same pass says.

    :param restored: Flow and its log_scale; None: there is none.
    :param prediction: What it was restored from.
    """
    if restored is None:
        return None
    if prediction.T_1_2 is None or 'pose' not in manifest.outputs:
        return (*restored, None)
    return (*restored, LearnedMotion(prediction.T_1_2, prediction.adapter.scale_xy,
                                     manifest.outputs['pose']))
