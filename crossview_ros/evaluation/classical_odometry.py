# SPDX-License-Identifier: Apache-2.0
"""Frame-to-frame stereo odometry of OpenCV, to stand beside ours; never used by the product."""
from dataclasses import dataclass
from typing import Any

from crossview_ros.data.samples import StereoSample
from crossview_ros.evaluation.baselines import sgbm
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.se3 import invert, make_transform
from crossview_ros.geometry.stereo import disparity_to_depth
import cv2
import numpy as np

NAME = 'ORB + SGBM + PnP'
FEATURES = 2000
FAST_THRESHOLD = 7      # [grey levels] of a corner
# From frame to frame the scale hardly changes, and corners of a shrunk image are placed coarsely:
# with ORB's eight levels the drift was four times as large on a KITTI sequence.
LEVELS = 1
REPROJECTION_PX = 1.0
ITERATIONS = 500
FEWEST_MATCHES = 15    # fewer agree with a motion by chance
MAX_DEPTH_M = 40.0     # beyond it disparity says little


@dataclass(frozen=True)
class _View:
    keypoints: np.ndarray     # (N, 2) [px]
    descriptors: np.ndarray   # (N, 32) uint8
    depth: np.ndarray         # (H, W) [m]


class ClassicalOdometry:
    """
    ORB matches with SGBM's depth, RANSAC PnP and its refinement, from frame to frame.

    A step that cannot be found is lost: the pose stays, and the next step starts from the newer
    frame. Not for use from two threads.

    Source: Rublee et al., ORB, ICCV 2011; Hirschmüller, PAMI 2008; OpenCV solvePnPRansac.
    """

    def __init__(self) -> None:
        """Start without a frame."""
        self._orb = cv2.ORB_create(nfeatures=FEATURES, nlevels=LEVELS,
                                   fastThreshold=FAST_THRESHOLD)
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._before: _View | None = None
        self._T_odom_camera = np.eye(4)

    def process(self, left: np.ndarray, right: np.ndarray, rig: StereoRig) -> np.ndarray | None:
        """
        Take a rectified pair.

        :param left: (H, W, 3) uint8 RGB; right is the same.
        :return: T_odom_camera (4, 4), or None where the motion was not found.
        """
        view = self._view(left, right, rig)
        before, self._before = self._before, view
        if before is None:
            return self._T_odom_camera
        T_before_now = self._motion(before, view, rig.left)
        if T_before_now is None:
            return None
        self._T_odom_camera = self._T_odom_camera @ T_before_now
        return self._T_odom_camera

    def _view(self, left: np.ndarray, right: np.ndarray, rig: StereoRig) -> _View:
        unknown = np.full(left.shape[:2], np.nan, np.float32)   # no truth: it is not looked at
        disparity = sgbm(StereoSample(left, right, unknown))
        found, descriptors = self._orb.detectAndCompute(
            cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), None)
        points = np.array([point.pt for point in found], np.float64).reshape(-1, 2)
        if descriptors is None:
            descriptors = np.empty((0, 32), np.uint8)
        return _View(points, descriptors, disparity_to_depth(disparity, rig))

    def _motion(self, before: _View, now: _View, camera: Any) -> np.ndarray | None:
        """Return T_before_now: PnP of the points of the frame before in this one."""
        if not len(before.descriptors) or not len(now.descriptors):
            return None
        matches = self._matcher.match(before.descriptors, now.descriptors)
        first = before.keypoints[[match.queryIdx for match in matches]]
        second = now.keypoints[[match.trainIdx for match in matches]]
        column, row = np.floor(first + 0.5).astype(int).T
        depth = before.depth[row.clip(max=before.depth.shape[0] - 1),
                             column.clip(max=before.depth.shape[1] - 1)].astype(np.float64)
        known = np.isfinite(depth) & (depth > 0) & (depth < MAX_DEPTH_M)
        if known.sum() < FEWEST_MATCHES:
            return None
        K = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
        rays = np.column_stack((first[known], np.ones(known.sum()))) @ np.linalg.inv(K).T
        return _solve(rays * depth[known, None], second[known], K)


def _solve(points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray | None:
    cv2.setRNGSeed(0)   # the same answer each time
    found, turn, move, inliers = cv2.solvePnPRansac(
        points, pixels, K, None, iterationsCount=ITERATIONS, confidence=0.999,
        reprojectionError=REPROJECTION_PX, flags=cv2.SOLVEPNP_EPNP)
    if not found or inliers is None or len(inliers) < FEWEST_MATCHES:
        return None
    kept = inliers[:, 0]
    turn, move = cv2.solvePnPRefineLM(points[kept], pixels[kept], K, None, turn, move)
    return invert(make_transform(cv2.Rodrigues(turn)[0], move[:, 0]))
