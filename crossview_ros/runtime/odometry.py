# SPDX-License-Identifier: Apache-2.0
"""Visual odometry: the camera's path from optical flow and the depth of earlier frames."""
from dataclasses import dataclass

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.relative_pose import (
    estimate_relative_pose, PoseStatus, RelativePoseOptions)
from crossview_ros.geometry.se3 import adjoint, exp_se3, invert, log_se3, make_transform
from crossview_ros.runtime.results import TrackingStatus
import numpy as np

# While tracking is lost the camera is taken to move on as before, with so much doubt.
GAP_SPEED_SIGMA = 1.0   # [m/s]
GAP_TURN_SIGMA = 0.5    # [rad/s]
# The camera has left a keyframe when the flow's median is such a share of the image's width.
KEYFRAME_SHARE = 0.012
# It rests at a keyframe while that is less than this, and the motion that was found not more than
# chance would give: 99 % of chi-square with 6 degrees of freedom.
REST_SHARE = 0.0025
REST_CHI2 = 16.8
# Neighbouring frames show the same things, of which the network errs alike: variance of a motion
# over what its residuals tell, and share of every flow by which all steps err together. Fitted on
# rendered tracks that no training saw and whose calibration is exact (42 of the seeds 100 to 129
# and 200 to 249 of benchmarks/odometry_consistency.py).
COVARIANCE_FACTOR = 2.5
SHARED_ERROR = 0.0007
# Share by which focal length and baseline of a real rig, and with them all motions, may be wrong;
# it shows in no residual.
CALIBRATION_ERROR = 0.007


@dataclass(frozen=True)
class SeenDepth:
    """Depth of one left image, as the next frame needs it."""

    depth: np.ndarray                # (H, W) float32 [m]; not finite is unknown
    depth_sigma: np.ndarray | None   # (H, W) float32, expected error as a share of the depth
    camera: PinholeCamera
    stamp_ns: int
    # expected error of the scale of the whole view, as a share: that of one view's estimate is
    # wrong by the same factor in all pixels, and in the next frame again
    scale_sigma: float = 0.0

    @property
    def typical_depth(self) -> float:
        """Return the median depth [m] of every fourth row and column; NaN without any."""
        depth = self.depth[::4, ::4]
        known = depth[np.isfinite(depth) & (depth > 0)]
        return float(np.median(known)) if known.size else np.nan


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
    gap_s: float = 0.0   # guessed across before this frame


@dataclass(frozen=True)
class _Pose:
    """Where the camera was at a frame, and the errors of that."""

    stamp_ns: int
    T_odom_camera: np.ndarray
    independent: np.ndarray   # (6, 6) covariance by what differs from keyframe to keyframe
    shared: np.ndarray        # (6, 6) [m, rad] standard deviation by what all have in common
    step: np.ndarray          # (6, 6) covariance of the motion that led here

    def moved(self, T: np.ndarray, covariance: np.ndarray, shared: np.ndarray,
              stamp_ns: int) -> '_Pose':
        """
        Compose pose and errors with a step, to first order.

        Independent errors add up as variances, shared ones as they are.

        Source: Barfoot, State Estimation for Robotics, section 7.3.3, for right perturbations.
        """
        turn = adjoint(invert(T))
        return _Pose(stamp_ns, _rigid(self.T_odom_camera @ T),
                     turn @ self.independent @ turn.T + covariance,
                     turn @ self.shared + shared, covariance)

    @property
    def covariance(self) -> np.ndarray:
        """Return that of T_odom_camera (6, 6)."""
        return self.independent + self.shared @ self.shared.T


class VisualOdometry:
    """
    Keeps the pose, its covariance and the last velocity; for one thread.

    Each frame is compared with a keyframe, and takes its place once the camera has moved far
    enough: errors add up by keyframes and not by frames, so where the camera rests not at all.
    A frame that fits neither the keyframe nor the frame before has no pose. A later one may fit
    the keyframe again; or a pair of frames goes on from the last pose, moved on with the last
    velocity, with the doubt of the whole gap.
    """

    def __init__(self, options: RelativePoseOptions = RelativePoseOptions(),
                 calibration_error: float = CALIBRATION_ERROR,
                 covariance_factor: float = COVARIANCE_FACTOR,
                 shared_error: float = SHARED_ERROR) -> None:
        """
        Begin.

        :param calibration_error: Standard deviation of the errors that all steps have in common
            by the calibration, as a share of each step's motion; ``shared_error`` by the network.
        :param covariance_factor: Of each step's own errors; 1 where those of its points and of
            its neighbours are independent.
        """
        self._options = options
        self._share = float(np.hypot(calibration_error, shared_error))
        self._factor = covariance_factor
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next frame is the origin."""
        self._last: _Pose | None = None       # of the last frame with a pose
        self._keyframe: _Pose | None = None
        self._velocity = np.zeros(6)          # [m/s, rad/s] in the camera's axes

    @property
    def keyframe_ns(self) -> int | None:
        """Return the stamp of the frame that the next one is to be compared with first."""
        return None if self._keyframe is None else self._keyframe.stamp_ns

    def begin(self, stamp_ns: int) -> OdometryStep:
        """Answer a frame that follows none of its kind: the origin, or the far end of a gap."""
        if self._last is not None:
            return OdometryStep(TrackingStatus.LOST,
                                lost_reason='no frame before this one to compare with')
        nothing = np.zeros((6, 6))
        self._last = self._keyframe = _Pose(stamp_ns, np.eye(4), nothing, nothing, nothing)
        return OdometryStep(TrackingStatus.INITIALISING, T_odom_camera=np.eye(4),
                            covariance=nothing)

    def track(self, reference: SeenDepth, flow: np.ndarray, flow_sigma: np.ndarray | None,
              stamp_ns: int, previous_ns: int | None = None,
              learned: np.ndarray | None = None) -> OdometryStep:
        """
        Go one frame on.

        :param reference: Depth of an earlier image: of the keyframe, or of the image before.
        :param flow: (H, W, 2) float32 [px], reference -> this, on the reference's grid.
        :param flow_sigma: (H, W) float32 [px] expected error per axis, or None.
        :param stamp_ns: Of this image, later than the reference's.
        :param previous_ns: Of the image before this one; None: that is the reference.
        :param learned: (4, 4) [m] T_reference_this that a pose head answers, another start.
        """
        previous_ns = reference.stamp_ns if previous_ns is None else previous_ns
        start = self._pose_at(reference.stamp_ns)
        found = estimate_relative_pose(flow, reference.depth, reference.camera, flow_sigma,
                                       reference.depth_sigma, self._options,
                                       self._expected(start, stamp_ns),
                                       () if learned is None else (learned,))
        if found.status is not PoseStatus.OK:
            return OdometryStep(TrackingStatus.LOST, num_inliers=found.num_inliers, lost_reason=(
                f'{found.status.value}: {found.num_inliers} of {found.num_points} points agree'))
        gap_s = 0.0
        if start is None:
            start, gap_s = self._across_gap(reference.stamp_ns)
        moved = median_length(flow) / reference.camera.width
        T = found.T_prev_cur
        if _rests(T, found.covariance, moved):
            T = np.eye(4)
        pose = start.moved(T, self._factor * found.covariance, self._shared(T, reference),
                           stamp_ns)
        T_prev_cur, covariance_rel = self._step(start, pose, previous_ns, reference)
        self._velocity = log_se3(T_prev_cur) / (1e-9 * (stamp_ns - previous_ns))
        if start is not self._keyframe or moved > KEYFRAME_SHARE:
            self._keyframe = pose
        self._last = pose
        return OdometryStep(TrackingStatus.OK, T_prev_cur, covariance_rel,
                            pose.T_odom_camera.copy(), pose.covariance,
                            num_inliers=found.num_inliers, gap_s=gap_s)

    def _pose_at(self, stamp_ns: int) -> _Pose | None:
        for pose in (self._keyframe, self._last):
            if pose is not None and pose.stamp_ns == stamp_ns:
                return pose
        return None

    def _expected(self, start: _Pose | None, stamp_ns: int) -> np.ndarray | None:
        """Return T_reference_cur that the motion so far suggests; None where it is not known."""
        if not self._velocity.any():
            return None
        since = start or self._last   # across a gap: the reference is taken to be on that way
        ahead = exp_se3(self._velocity * 1e-9 * (stamp_ns - self._last.stamp_ns))
        return _rigid(invert(since.T_odom_camera) @ self._last.T_odom_camera) @ ahead

    def _across_gap(self, stamp_ns: int) -> tuple[_Pose, float]:
        """Move on, or back as the stamps do, with the last velocity; return the gap [s], too."""
        if self._last is None:   # reset between the two frames
            self.begin(stamp_ns)
            return self._last, 0.0
        gap_s = 1e-9 * (stamp_ns - self._last.stamp_ns)
        return self._last.moved(exp_se3(self._velocity * gap_s), _unseen(gap_s),
                                np.zeros((6, 6)), stamp_ns), gap_s

    def _step(self, start: _Pose, pose: _Pose, previous_ns: int,
              reference: SeenDepth) -> tuple[np.ndarray, np.ndarray]:
        """Return T_prev_cur and its covariance."""
        before = start if start.stamp_ns == previous_ns else self._last
        T = _rigid(invert(before.T_odom_camera) @ pose.T_odom_camera)
        covariance = pose.step
        if before is not start:   # both were seen from the keyframe, as if by chance
            turn = adjoint(invert(T))
            covariance = covariance + turn @ before.step @ turn.T
        if before.stamp_ns != previous_ns:   # found again: nobody saw the whole way
            share = (pose.stamp_ns - previous_ns) / (pose.stamp_ns - before.stamp_ns)
            T = exp_se3(share * log_se3(T))
            covariance = covariance + _unseen(1e-9 * (pose.stamp_ns - previous_ns))
        return T, covariance + self._shared(T, reference) ** 2

    def _shared(self, T: np.ndarray, reference: SeenDepth) -> np.ndarray:
        """
        Return (6, 6) [m, rad] by how much a motion errs in common with all others.

        A flow that is everywhere too long by a share looks like more motion, and as well like a
        turn instead of a shift: what a shift moves things at the typical depth, a turn can, too.
        """
        motion = log_se3(T)
        length, angle = np.linalg.norm(motion[:3]), np.linalg.norm(motion[3:])
        depth = reference.typical_depth
        turn = self._share * np.hypot(angle, length / depth)
        return np.diag(np.repeat((np.hypot(turn * depth, length * reference.scale_sigma), turn),
                                 3))


def _rigid(T: np.ndarray) -> np.ndarray:
    """
    Return the rigid transform nearest to a product of such.

    Each motion is the start of the next: what a rotation lacks in rounding would multiply.
    """
    u, _, vt = np.linalg.svd(T[:3, :3])
    return make_transform(u @ vt, T[:3, 3])


def _unseen(duration_s: float) -> np.ndarray:
    """Return the covariance (6, 6) of a motion that nobody saw."""
    sigma = abs(duration_s) * np.repeat((GAP_SPEED_SIGMA, GAP_TURN_SIGMA), 3)
    return np.diag(sigma ** 2)


def median_length(flow: np.ndarray) -> float:
    """Return the median length [px] of a flow (H, W, 2), by every fourth row and column."""
    return float(np.nanmedian(np.linalg.norm(flow[::4, ::4], axis=2)))


def _rests(T: np.ndarray, covariance: np.ndarray, moved: float) -> bool:
    """Tell whether a motion is less than anybody can see."""
    motion = log_se3(T)
    return moved < REST_SHARE and motion @ np.linalg.solve(covariance, motion) < REST_CHI2


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
