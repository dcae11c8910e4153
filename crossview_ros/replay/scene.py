# SPDX-License-Identifier: Apache-2.0
"""What a bag knows of the scene beside an image: its cloud, depth, and the camera's pose."""
from dataclasses import dataclass
from typing import Any

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.se3 import compose, invert, make_transform
from crossview_ros.messages.header import stamp_ns
from crossview_ros.messages.image import DEPTH_ENCODINGS, read_depth_image
from crossview_ros.messages.odometry import read_pose
from crossview_ros.messages.point_cloud2 import read_points_and_intensity
from crossview_ros.replay.bag import Bag, TopicInfo
from crossview_ros.replay.pairing import Frame
from crossview_ros.replay.stamped_topic import StampedTopics
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import CameraTopics, IMAGE_TYPES, InputTopics
from crossview_ros.replay.truth import DEPTH_TOPIC, ODOM_TOPIC
import numpy as np

ODOMETRY_TYPE = 'nav_msgs/msg/Odometry'
DEPTH_TOLERANCE_NS = 20_000_000   # depth cameras keep their own stamps
POSE_TOLERANCE_NS = 20_000_000


@dataclass(frozen=True)
class Cloud:
    """The cloud nearest in time to an image."""

    points: np.ndarray           # (N, 3) float32 [m], LiDAR frame
    T_camera_lidar: np.ndarray   # (4, 4), into the optical frame of the image as it is used
    offset_s: float              # its stamp minus that of the image
    intensity: np.ndarray | None = None   # (N,) float32 in the units of the device


@dataclass(frozen=True)
class Scene:
    """What is known beside the left image of a frame; None: nothing near enough in time."""

    cloud: Cloud | None
    depth: np.ndarray | None            # (H, W) float32 [m], NaN unknown
    T_world_camera: np.ndarray | None   # (4, 4), optical frame of the image as it is used


class SceneReader:
    """Reads the cloud, depth and odometry of one bag in the order of stamps; one thread."""

    def __init__(self, bag: Bag, topics: InputTopics, transforms: StaticTransforms,
                 max_cloud_offset_s: float, rectify: bool) -> None:
        """
        Choose the topics.

        :param bag: Open; it is read beside its other readers.
        :param max_cloud_offset_s: Largest distance in time of a cloud from its image [s].
        :param rectify: Images are turned by R of their CameraInfo.
        """
        self.notes: list[str] = []
        self._cloud = topics.cloud
        self._depth = _depth_topic(bag, topics.left)
        self._odometry = _odometry_topic(bag)
        self._transforms, self._rectify = transforms, rectify
        self._cloud_tolerance_ns = round(max_cloud_offset_s * 1e9)
        names = (self._cloud, self._depth, self._odometry)
        self._topics = StampedTopics(bag.path, [name for name in names if name])

    def __enter__(self) -> 'SceneReader':
        """Open the topics."""
        self._topics.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self._topics.__exit__(*error)

    def restart(self) -> None:
        """Forget the place in the bag where stamps jumped back."""
        self._topics.restart()

    def at(self, frame: Frame) -> Scene:
        """Read what lies beside a frame; what cannot be used is noted."""
        return Scene(self._noted(self._cloud_at, self._cloud, frame, self._cloud_tolerance_ns),
                     self._noted(self._depth_at, self._depth, frame, DEPTH_TOLERANCE_NS),
                     self._noted(self._pose_at, self._odometry, frame, POSE_TOLERANCE_NS))

    def _noted(self, read: Any, topic: str | None, frame: Frame, tolerance_ns: int) -> Any:
        message = self._topics.nearest(topic, frame.stamp_ns, tolerance_ns)
        if message is None:
            return None
        try:
            return read(message, frame)
        except (CalibrationError, MessageError) as error:
            text = f'{topic} is not used: {error}'
            if text not in self.notes:
                self.notes.append(text)
            return None

    def _cloud_at(self, message: Any, frame: Frame) -> Cloud:
        T = self._transforms.lookup(frame.left.header.frame_id, message.header.frame_id)
        points, intensity = read_points_and_intensity(message, self._cloud)
        return Cloud(points, compose(self._T_used_optical(frame), T),
                     (stamp_ns(message) - frame.stamp_ns) * 1e-9, intensity)

    def _depth_at(self, message: Any, frame: Frame) -> np.ndarray:
        ours, theirs = frame.left.header.frame_id, message.header.frame_id
        if ours != theirs or self._rectify:
            raise CalibrationError(f"depth in frame '{theirs}' does not lie on the pixels of the "
                                   f"image in frame '{ours}'")
        return read_depth_image(message, self._depth)

    def _pose_at(self, message: Any, frame: Frame) -> np.ndarray:
        T = self._transforms.lookup(message.child_frame_id, frame.left.header.frame_id)
        return compose(read_pose(message.pose.pose), T, invert(self._T_used_optical(frame)))

    def _T_used_optical(self, frame: Frame) -> np.ndarray:
        """Return how rectifying turns the optical frame."""
        if not self._rectify:
            return np.eye(4)
        return make_transform(np.reshape(frame.left_info.r, (3, 3)), np.zeros(3))


def _depth_topic(bag: Bag, camera: CameraTopics) -> str | None:
    """Return the true depth, or a depth image near the camera in the tree of names."""
    topics = [topic for topic in bag.topics if topic.type == IMAGE_TYPES[0] and topic.count]
    if any(topic.name == DEPTH_TOPIC for topic in topics):
        return DEPTH_TOPIC
    root = camera.image.split('/')[1:2]
    near = [topic.name for topic in topics if 'depth' in topic.name
            and topic.name.split('/')[1:2] == root
            and bag.first(topic.name).encoding in DEPTH_ENCODINGS]
    return min(near, key=lambda name: ('registered' not in name, len(name)), default=None)


def _odometry_topic(bag: Bag) -> str | None:
    """Return the true odometry, or the one with most messages."""
    topics = [topic for topic in bag.topics if topic.type == ODOMETRY_TYPE and topic.count]

    def rank(topic: TopicInfo) -> tuple[bool, int]:
        return topic.name != ODOM_TOPIC, -topic.count

    return min(topics, key=rank).name if topics else None
