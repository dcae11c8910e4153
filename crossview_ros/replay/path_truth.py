# SPDX-License-Identifier: Apache-2.0
"""True poses that somebody names: a topic of the bag, a file, or KISS-ICP on the LiDAR."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import CalibrationError, ConfigError, MessageError
from crossview_ros.geometry.se3 import compose, exp_se3, invert, log_se3
from crossview_ros.geometry.trajectory import Trajectory
from crossview_ros.messages.header import stamp_ns
from crossview_ros.messages.odometry import read_pose
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.kiss_icp_truth import kiss_icp_trajectory
from crossview_ros.replay.static_transforms import StaticTransforms
import numpy as np

KISS_ICP = 'kiss-icp'
MAX_GAP_NS = 500_000_000    # true poses farther apart than this are not interpolated
MAX_AGE_NS = 20_000_000     # of a single pose before the first or after the last


@dataclass(frozen=True)
class PathTruth:
    """A true path, asked for by the stamps or the numbers of frames."""

    trajectory: Trajectory   # T_world_body
    T_body_camera: np.ndarray = field(default_factory=lambda: np.eye(4))
    label: str = ''          # what it is, for people
    pseudo: bool = False     # not measured by anything better, but estimated from LiDAR

    def at(self, index: int, stamp: int) -> np.ndarray | None:
        """
        Return T_world_camera (4, 4) of a frame, between two poses on the way of even speed.

        Without times the poses are those of the frames by number.
        """
        poses, stamps_ns = self.trajectory.poses, self.trajectory.stamps_ns
        if stamps_ns is None:
            return poses[index] @ self.T_body_camera if index < len(poses) else None
        after = int(np.searchsorted(stamps_ns, stamp))
        before = after - 1
        if 0 < after < len(poses) and stamps_ns[after] - stamps_ns[before] <= MAX_GAP_NS:
            share = (stamp - stamps_ns[before]) / (stamps_ns[after] - stamps_ns[before])
            step = log_se3(invert(poses[before]) @ poses[after])
            return compose(poses[before], exp_se3(share * step), self.T_body_camera)
        near = [k for k in (before, after) if 0 <= k < len(poses)
                and abs(int(stamps_ns[k]) - stamp) <= MAX_AGE_NS]
        return poses[near[0]] @ self.T_body_camera if near else None


def read_path_truth(bag: Bag, transforms: StaticTransforms, source: str, camera_frame: str,
                    truth_frame: str | None = None, cloud: str | None = None) -> PathTruth:
    """
    Read true poses.

    :param source: A topic of the bag (Odometry, PoseStamped, PoseWithCovarianceStamped,
        TransformStamped), 'kiss-icp', or a TUM, KITTI or EuRoC file.
    :param camera_frame: Frame of the left images.
    :param truth_frame: Frame whose poses these are; None: the child frame of the topic, for a
        file that of the left images.
    :param cloud: PointCloud2 topic for KISS-ICP.
    :raises ConfigError: If there is no such source.
    :raises CalibrationError: If /tf_static does not connect the frame with the camera.
    """
    child, pseudo = camera_frame, False
    if any(topic.name == source for topic in bag.topics):
        trajectory, child = _of_topic(bag, source)
        child, label = child or camera_frame, f'topic {source}'
    elif source == KISS_ICP:
        if cloud is None:
            raise ConfigError(f'--truth {KISS_ICP} needs a LiDAR: the bag has no single cloud '
                              'topic; name one with --cloud')
        trajectory, child = kiss_icp_trajectory(bag, cloud)
        label, pseudo = f'KISS-ICP on {cloud}: pseudo ground truth', True
    elif Path(source).is_file():
        trajectory, label = read_trajectory(source), f'file {source}'
    else:
        raise ConfigError(f"--truth '{source}' is neither a topic of the bag, nor a file, nor "
                          f"'{KISS_ICP}'")
    child = truth_frame or child
    T_body_camera = np.eye(4) if child == camera_frame else transforms.lookup(child, camera_frame)
    return PathTruth(trajectory, T_body_camera, f'{label}, poses of {child}', pseudo)


def _of_topic(bag: Bag, topic: str) -> tuple[Trajectory, str | None]:
    poses, stamps_ns, child = [], [], None
    for _, _, message in bag.messages([topic]):
        stamp = stamp_ns(message)
        if stamps_ns and stamp <= stamps_ns[-1]:
            continue   # a repeated stamp, or the bag starts again: the first pass counts
        try:
            poses.append(read_pose(_pose_of(message, topic)))
        except (CalibrationError, MessageError):
            continue   # the source was lost there
        stamps_ns.append(stamp)
        child = getattr(message, 'child_frame_id', None)
    if not poses:
        raise MessageError(f'{bag.path}: {topic} holds no pose')
    return Trajectory(np.stack(poses), np.array(stamps_ns, np.int64)), child


def _pose_of(message: Any, topic: str) -> Any:
    """Return the geometry_msgs/Pose of a message of any type that carries one."""
    pose = getattr(message, 'pose', None)
    transform = getattr(message, 'transform', None)
    if transform is not None:
        return _TransformAsPose(transform.translation, transform.rotation)
    if pose is None:
        raise ConfigError(f'{topic} holds no poses; expected Odometry, PoseStamped, '
                          'PoseWithCovarianceStamped or TransformStamped')
    return getattr(pose, 'pose', pose)


@dataclass(frozen=True)
class _TransformAsPose:
    position: Any
    orientation: Any
