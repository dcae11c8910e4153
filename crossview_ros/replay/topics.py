# SPDX-License-Identifier: Apache-2.0
"""Find the cameras of a bag by what CameraInfo says, not by what topics are called."""
from dataclasses import dataclass
import difflib
from typing import Any

from crossview_ros.errors import MessageError
from crossview_ros.replay.bag import Bag, TopicInfo

IMAGE_TYPES = ('sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage')
INFO_TYPE = 'sensor_msgs/msg/CameraInfo'
CLOUD_TYPE = 'sensor_msgs/msg/PointCloud2'
_SIDES = (('left', 'right'), ('infra1', 'infra2'), ('cam0', 'cam1'), ('_l', '_r'))
# preferred first: rectified, colour, uncompressed
_IMAGE_NAMES = ('image_rect_color', 'image_rect', 'image_rect_raw', 'image_color', 'image',
                'image_raw')


@dataclass(frozen=True)
class CameraTopics:
    """A camera of a bag: its best image topic and its calibration."""

    image: str
    info: str
    count: int          # images
    compressed: bool
    camera_info: Any    # the first CameraInfo message

    @property
    def baseline_term(self) -> float:
        """Return P[3] = -fx * baseline [px m]; zero for a left or single camera."""
        return float(self.camera_info.p[3])

    @property
    def distorted(self) -> bool:
        """Tell whether the images still carry lens distortion."""
        return 'rect' not in self.image and any(abs(value) > 1e-9 for value in self.camera_info.d)


@dataclass(frozen=True)
class InputTopics:
    """The topics that an evaluation reads: a stereo pair, or one camera."""

    left: CameraTopics
    right: CameraTopics | None = None   # None: one camera
    cloud: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of the image and calibration topics, the left ones first."""
        return [name for camera in self.cameras for name in (camera.image, camera.info)]

    @property
    def cameras(self) -> list[CameraTopics]:
        """Cameras that are read: the left one, and the right one if there is one."""
        return [self.left] if self.right is None else [self.left, self.right]

    @property
    def mode(self) -> str:
        """Return 'stereo' or 'sequential', as the node's parameter."""
        return 'sequential' if self.right is None else 'stereo'

    @property
    def described(self) -> str:
        """Say in one line what is read."""
        cloud = '' if self.cloud is None else f', cloud {self.cloud}'
        if self.right is None:
            return f'one camera, {self.left.image}{cloud}'
        return f'stereo pair {self.left.image} (left) and {self.right.image} (right){cloud}'


def find_input_topics(bag: Bag, left: str | None = None, right: str | None = None,
                      cloud: str | None = None) -> InputTopics:
    """
    Choose left and right image topics, or one camera, their CameraInfo, and a cloud.

    The right camera is the one whose CameraInfo has a baseline (P[3] != 0); the left one shares
    its focal length and image size. Of several pairs the one with most images is taken. Without
    a pair it is one camera: the one with most images, of equals a front one, of those the one
    with the shortest name.

    :param left: Left image topic, instead of the choice; without ``right`` it is one camera.
    :param right: Right image topic; needs ``left`` too.
    :param cloud: PointCloud2 topic; by default the only one of the bag, if there is one.
    :raises MessageError: If there is no camera, or a named topic is missing; says what there is.
    """
    cloud = _cloud_topic(bag, cloud)
    if left is None and right is not None:
        raise MessageError(f"right image topic '{right}' without a left one; name the left too")
    if left is not None:
        return InputTopics(camera_of(bag, left), right and camera_of(bag, right), cloud)
    pairs = stereo_pairs(bag)
    if pairs:
        return InputTopics(*pairs[0], cloud)
    cameras = cameras_of(bag)
    if not cameras:
        raise MessageError(_no_camera_text(bag))
    return InputTopics(min(cameras, key=_rank_alone), None, cloud)


def stereo_pairs(bag: Bag) -> list[tuple[CameraTopics, CameraTopics]]:
    """Return the stereo pairs of a bag, the one with most images first."""
    cameras = cameras_of(bag)
    pairs = []
    for right in cameras:
        if abs(right.baseline_term) > 1e-6:
            partners = [left for left in cameras if _may_be_left_of(left, right)]
            if partners:
                pairs.append((max(partners, key=lambda left: _likeness(left, right)), right))
    return sorted(pairs or _pairs_by_name(cameras), key=lambda pair: -pair[0].count)


def cameras_of(bag: Bag) -> list[CameraTopics]:
    """Return every camera that has both images and calibration."""
    infos = [topic for topic in bag.topics if topic.type == INFO_TYPE and topic.count]
    cameras = []
    for info in infos:
        images = _images_beside(bag.topics, info.name)
        if images:
            cameras.append(_camera(bag, images[0], info.name))
    return cameras


def camera_of(bag: Bag, image: str) -> CameraTopics:
    """
    Return the camera of an image topic.

    :raises MessageError: If the topic is no image topic or no CameraInfo lies beside it.
    """
    topic = bag.topic(image)
    if topic.type not in IMAGE_TYPES:
        raise MessageError(f"{bag.path}: topic '{image}' is of type {topic.type}, no image")
    for info in bag.topics:
        if info.type == INFO_TYPE and info.count and \
                topic in _images_beside(bag.topics, info.name):
            return _camera(bag, topic, info.name)
    raise MessageError(f"{bag.path}: no camera_info beside '{image}'; expected "
                       f"'{_namespace(image)}/camera_info'")


def _camera(bag: Bag, image: TopicInfo, info: str) -> CameraTopics:
    return CameraTopics(image.name, info, image.count, image.type == IMAGE_TYPES[1],
                        bag.first(info))


def _images_beside(topics: list[TopicInfo], info: str) -> list[TopicInfo]:
    """Return image topics in the namespace of a CameraInfo topic, the best one first."""
    namespace = _namespace(info)
    images = [topic for topic in topics if topic.type in IMAGE_TYPES and topic.count
              and _namespace(topic.name.removesuffix('/compressed')) == namespace
              and not _is_depth(topic.name)]
    return sorted(images, key=_preference)


def _preference(topic: TopicInfo) -> tuple[int, bool, str]:
    name = topic.name.removesuffix('/compressed').rsplit('/', 1)[-1]
    rank = _IMAGE_NAMES.index(name) if name in _IMAGE_NAMES else len(_IMAGE_NAMES)
    return rank, topic.type == IMAGE_TYPES[1], topic.name


def _is_depth(name: str) -> bool:
    return any(word in name for word in ('depth', 'disparity', 'confidence', 'optical_flow'))


def _namespace(topic: str) -> str:
    return topic.rsplit('/', 1)[0]


def _may_be_left_of(left: CameraTopics, right: CameraTopics) -> bool:
    a, b = left.camera_info, right.camera_info
    return left.info != right.info and abs(left.baseline_term) <= 1e-6 \
        and (a.width, a.height) == (b.width, b.height) \
        and abs(a.p[0] - b.p[0]) <= 1e-3 * abs(b.p[0])


def _likeness(left: CameraTopics, right: CameraTopics) -> float:
    return difflib.SequenceMatcher(None, left.image, right.image).ratio()


def _pairs_by_name(cameras: list[CameraTopics]) -> list[tuple[CameraTopics, CameraTopics]]:
    """Pair cameras by name where no CameraInfo has a baseline, as some drivers leave it zero."""
    by_name = {camera.image: camera for camera in cameras}
    pairs = []
    for left in cameras:
        names = [left.image.replace(one, other) for one, other in _SIDES if one in left.image]
        pairs += [(left, by_name[name]) for name in names[:1] if name in by_name]
    return pairs


def _cloud_topic(bag: Bag, cloud: str | None) -> str | None:
    if cloud is not None:
        topic = bag.topic(cloud)
        if topic.type != CLOUD_TYPE:
            raise MessageError(f"{bag.path}: topic '{cloud}' is of type {topic.type}, no cloud")
        return cloud
    clouds = [topic.name for topic in bag.topics if topic.type == CLOUD_TYPE and topic.count]
    return clouds[0] if len(clouds) == 1 else None


def _rank_alone(camera: CameraTopics) -> tuple[int, bool, int, str]:
    return (-camera.count, 'front' not in camera.image.lower(), len(camera.image), camera.image)


def _no_camera_text(bag: Bag) -> str:
    images = [topic.name for topic in bag.topics if topic.type in IMAGE_TYPES and topic.count]
    if not images:
        return (f'{bag.path}: the bag holds no images; its topics: '
                f'{", ".join(topic.name for topic in bag.topics) or "none"}')
    return (f'{bag.path}: no camera_info beside the images {", ".join(images)}; it is expected '
            'in the namespace of its images')
