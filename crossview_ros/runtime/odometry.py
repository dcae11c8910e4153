# SPDX-License-Identifier: Apache-2.0
"""Visual odometry: the camera's path from optical flow and the depth of the frame before."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.relative_pose import (
    estimate_relative_pose, PoseStatus, RelativePoseOptions)
from crossview_ros.geometry.se3 import adjoint, exp_se3, invert, log_se3
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

# While tracking is lost the camera is taken to move on as before, with so much doubt.
GAP_SPEED_SIGMA = 1.0   # [m/s]
GAP_TURN_SIGMA = 0.5    # [rad/s]
# Share of every motion by which all steps may err alike (the depth's scale, the calibration);
# it shows in no residual. Fitted on rendered drives, seen by the network, that no training saw.
SHARED_ERROR = 0.015


@dataclass(frozen=True)
class SeenDepth:
    """Depth of one left image, as the next frame needs it."""

    depth: np.ndarray                # (H, W) float32 [m]; not finite is unknown
    depth_sigma: np.ndarray | None   # (H, W) float32, expected error as a share of the depth
    camera: PinholeCamera
    stamp_ns: int


@dataclass(frozen=True)
class OdometryStep:
    """What a frame told; without a pose unless the status is OK or INITIALISING."""

    status: TrackingStatus
    T_prev_cur: np.ndarray | None = None       # (4, 4) [m]
    covariance_rel: np.ndarray | None = None   # (6, 6) of T_prev_cur, x y z rx ry rz
    T_odom_camera: np.ndarray | None = None    # (4, 4) [m]; the identity where it began
    covariance: np.ndarray | None = None       # (6, 6) of T_odom_camera, in the camera's axes
    lost_reason: str = ''
    num_inliers: int | None = None


class VisualOdometry:
    """
    Keeps the pose, its covariance and the last velocity; for one thread.

    A pair of frames without a pose is a gap: nothing is answered for it. The next good pair goes
    on from the last pose, moved on with the last velocity, with the doubt of the whole gap.
    """

    def __init__(self, options: RelativePoseOptions = RelativePoseOptions(),
                 shared_error: float = SHARED_ERROR) -> None:
        """
        Begin.

        :param shared_error: Standard deviation of the errors that all steps have in common, as a
            share of each step's motion.
        """
        self._options = options
        self._shared_error = shared_error
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the origin."""
        self._T_odom_camera: np.ndarray | None = None
        self._independent = np.zeros((6, 6))   # covariance by what differs from step to step
        self._shared = np.zeros((6, 6))        # error of the pose [m, rad] by 1 of what does not
        self._velocity = np.zeros(6)   # [m/s, rad/s] in the camera's axes
        self._last_ns = 0              # stamp of the last known pose

    def begin(self, stamp_ns: int) -> OdometryStep:
        """Answer a frame that follows none of its kind: the origin, or the far end of a gap."""
        if self._T_odom_camera is not None:
            return OdometryStep(TrackingStatus.LOST,
                                lost_reason='no frame before this one to compare with')
        self._T_odom_camera, self._last_ns = np.eye(4), stamp_ns
        return OdometryStep(TrackingStatus.INITIALISING, T_odom_camera=np.eye(4),
                            covariance=np.zeros((6, 6)))

    def track(self, previous: SeenDepth, flow: np.ndarray, flow_sigma: np.ndarray | None,
              stamp_ns: int) -> OdometryStep:
        """
        Go one frame on.

        :param previous: Depth of the image before.
        :param flow: (H, W, 2) float32 [px], previous -> this, on the previous grid.
        :param flow_sigma: (H, W) float32 [px] expected error per axis, or None.
        :param stamp_ns: Of this image, later than the previous one's.
        """
        step_s = 1e-9 * (stamp_ns - previous.stamp_ns)
        guess = exp_se3(self._velocity * step_s) if self._velocity.any() else None
        found = estimate_relative_pose(flow, previous.depth, previous.camera, flow_sigma,
                                       previous.depth_sigma, self._options, guess)
        if found.status is not PoseStatus.OK:
            return OdometryStep(TrackingStatus.LOST, num_inliers=found.num_inliers, lost_reason=(
                f'{found.status.value}: {found.num_inliers} of {found.num_points} points agree'))
        if self._T_odom_camera is None:   # reset between the two frames
            self.begin(previous.stamp_ns)
        self._bridge_gap(1e-9 * (previous.stamp_ns - self._last_ns))
        motion = log_se3(found.T_prev_cur)
        shared = np.diag(np.repeat((np.linalg.norm(motion[:3]), np.linalg.norm(motion[3:])), 3))
        self._move(found.T_prev_cur, found.covariance, shared)
        self._velocity = motion / step_s
        self._last_ns = stamp_ns
        return OdometryStep(
            TrackingStatus.OK, found.T_prev_cur,
            found.covariance + self._shared_error ** 2 * shared ** 2,
            self._T_odom_camera.copy(), self._covariance(), num_inliers=found.num_inliers)

    def _bridge_gap(self, gap_s: float) -> None:
        """Move on (or back, as the stamps do) with the last velocity while nothing was seen."""
        if gap_s:
            sigma = abs(gap_s) * np.repeat((GAP_SPEED_SIGMA, GAP_TURN_SIGMA), 3)
            self._move(exp_se3(self._velocity * gap_s), np.diag(sigma ** 2), np.zeros((6, 6)))

    def _covariance(self) -> np.ndarray:
        return self._independent + self._shared_error ** 2 * self._shared @ self._shared.T

    def _move(self, T_prev_cur: np.ndarray, covariance: np.ndarray, shared: np.ndarray) -> None:
        """
        Compose pose and errors with a step, to first order.

        Independent errors add up as variances, shared ones as they are.

        Source: Barfoot, State Estimation for Robotics, section 7.3.3, for right perturbations.
        """
        to_current = adjoint(invert(T_prev_cur))
        self._T_odom_camera = self._T_odom_camera @ T_prev_cur
        self._independent = to_current @ self._independent @ to_current.T + covariance
        self._shared = to_current @ self._shared + shared


def seen_depth(depth: np.ndarray, disparity: np.ndarray, log_scale: np.ndarray | None,
               rig: StereoRig, stamp_ns: int) -> SeenDepth:
    """
    Keep a stereo answer for the next frame.

    :param depth: (H, W) float32 [m], ``disparity`` [px]; as `PerceptionResult`.
    :param log_scale: (H, W) float32, log of the Laplace scale b [log px] of the disparity; the
        standard deviation is sqrt(2) b, and dZ / Z = dd / d.
    """
    sigma = None
    if log_scale is not None:
        shift = np.maximum(disparity + np.float32(rig.doffs), np.float32(1e-3))
        sigma = np.float32(np.sqrt(2)) * np.exp(log_scale) / shift
    return SeenDepth(depth, sigma, rig.left, stamp_ns)


def flow_sigma(log_scale: np.ndarray | None) -> np.ndarray | None:
    """
    Return the standard deviation of the flow per axis [px].

    :param log_scale: (H, W), log of the scale b of the length of the error [log px]: a Laplace
        distribution of the length has E|error|^2 = 2 b^2, of which each axis has half.
    """
    return None if log_scale is None else np.exp(log_scale)
