# SPDX-License-Identifier: Apache-2.0
"""Compare the estimated path of the camera with the true one, or say how far it wandered."""
from dataclasses import dataclass, field

from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import invert
from crossview_ros.metrics import Metric
from crossview_ros.metrics.path_errors import (
    relative_errors, rotation_angle_deg, segment_errors, SEGMENTS_M)
from crossview_ros.metrics.pose import path_length, trajectory_metrics
import numpy as np

STILL_PATH_M = 0.05     # a true path shorter than this is standing still,
STILL_TURN_DEG = 1.0    # if the camera does not turn by more than this either


@dataclass(frozen=True)
class TrackedFrame:
    """What is known of the camera at one frame; None where it is not."""

    index: int
    stamp_ns: int
    estimate: np.ndarray | None   # T_odom_camera (4, 4)
    truth: np.ndarray | None      # T_world_camera (4, 4)
    lost: bool = False


@dataclass
class Track:
    """The frames of a run in order; not for use from two threads."""

    frames: list[TrackedFrame] = field(default_factory=list)

    @property
    def num_estimated(self) -> int:
        """Count the frames with a pose."""
        return sum(frame.estimate is not None for frame in self.frames)

    @property
    def num_lost(self) -> int:
        """Count the frames whose motion was not found."""
        return sum(frame.lost for frame in self.frames)

    def estimate(self) -> np.ndarray:
        """Return the estimated poses (N, 4, 4) of the frames that have one."""
        return _stack([frame.estimate for frame in self.frames if frame.estimate is not None])

    def T_world_odom(self) -> np.ndarray:
        """
        Return the (4, 4) that puts the estimate on the truth at the first frame with both.

        Without such a frame it is the identity: the odometry's own frame is as good as any.
        """
        for frame in self.frames:
            if frame.estimate is not None and frame.truth is not None:
                return frame.truth @ invert(frame.estimate)
        return np.eye(4)

    def compared(self) -> tuple[list[TrackedFrame], np.ndarray, np.ndarray]:
        """Return the frames with both poses, the estimate in the frame of the truth, the truth."""
        both = [frame for frame in self.frames
                if frame.estimate is not None and frame.truth is not None]
        estimate = self.T_world_odom() @ _stack([frame.estimate for frame in both])
        return both, estimate, _stack([frame.truth for frame in both])

    @property
    def stands_still(self) -> bool:
        """Tell whether the truth says that the camera did not move."""
        _, _, truth = self.compared()
        return len(truth) > 1 and path_length(truth) < STILL_PATH_M \
            and float(_turn_from_start(truth).max()) < STILL_TURN_DEG


def odometry_figures(track: Track) -> dict[str, Metric]:
    """
    Return the figures of a path.

    Without truth it is how far the camera went. Where the truth stands still, a share of the
    path means nothing: then the motion itself is the error.
    """
    estimate = track.estimate()
    if len(estimate) < 2:
        return {}
    from_start = np.linalg.norm(estimate[:, :3, 3] - estimate[0, :3, 3], axis=1)
    figures = {'odometry.path': Metric(path_length(estimate), 'm'),
               'odometry.away': Metric(float(from_start.max()), 'm'),
               'odometry.turn': Metric(float(_turn_from_start(estimate).max()), 'deg')}
    frames, estimate, truth = track.compared()
    if len(truth) < 2:
        return figures
    scores = trajectory_metrics(estimate, truth)
    figures['odometry.true_path'] = scores['length']
    figures.update(_step_figures(frames, estimate, truth))
    if track.stands_still:
        return figures
    figures['odometry.drift_percent'] = scores['drift']
    if scores['length'].value > SEGMENTS_M[0]:
        errors = segment_errors(estimate, truth)
        figures['odometry.t_err'] = Metric(float(errors[:, 1].mean()), '%')
        figures['odometry.r_err'] = Metric(float(errors[:, 2].mean()), 'deg/m')
    try:
        figures['odometry.ape'] = trajectory_metrics(estimate, truth, 'se3')['ape']
    except DatasetError:
        pass   # on a straight line no rotation about it can be fitted
    return figures


def errors_along_path(track: Track) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """
    Return how the error grows, for the frames with both poses.

    :return: True distance travelled (N,) [m], position error (N,) [m] and rotation error (N,)
        [deg], after the first poses are put on each other.
    """
    _, estimate, truth = track.compared()
    if not len(truth):
        return np.empty(0), np.empty(0), np.empty(0)
    steps = np.linalg.norm(np.diff(truth[:, :3, 3], axis=0), axis=1)
    travelled = np.concatenate(([0.0], np.cumsum(steps)))
    return (travelled, np.linalg.norm(estimate[:, :3, 3] - truth[:, :3, 3], axis=1),
            rotation_angle_deg(invert(truth) @ estimate))


def _step_figures(frames: list[TrackedFrame], estimate: np.ndarray,
                  truth: np.ndarray) -> dict[str, Metric]:
    """Return the error of the steps that were seen; a gap is no step."""
    successive = np.diff([frame.index for frame in frames]) == 1
    if not successive.any():
        return {}
    start = np.flatnonzero(successive)
    return {name: Metric(float(np.sqrt(np.mean(errors ** 2))), unit)
            for name, unit, errors in zip(('odometry.rpe', 'odometry.rpe_angle'), ('m', 'deg'),
                                          relative_errors(estimate, truth, start, start + 1))}


def _turn_from_start(poses: np.ndarray) -> np.ndarray:
    return rotation_angle_deg(invert(poses[0]) @ poses)


def _stack(poses: list[np.ndarray]) -> np.ndarray:
    return np.array(poses, np.float64).reshape(-1, 4, 4)
