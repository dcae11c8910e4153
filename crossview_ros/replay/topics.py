# SPDX-License-Identifier: Apache-2.0
"""Find the stereo pair of a bag by what CameraInfo says, not by what topics are called."""
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
class StereoTopics:
    """The topics that one stereo evaluation reads."""

    left: CameraTopics
    right: CameraTopics
    cloud: str | None = None

    @property
    def names(self) -> list[str]:
        """Names of all topics to read."""
        return [self.left.image, self.left.info, self.right.image, self.right.info] + \
            ([self.cloud] if self.cloud else [])


def find_stereo_topics(bag: Bag, left: str | None = None, right: str | None = None,
                       cloud: str | None = None) -> StereoTopics:
    """
    Choose left and right image topics, their CameraInfo, and a cloud.

    The right camera is the one whose CameraInfo has a baseline (P[3] != 0); the left one shares
    its focal length and image size. Of several pairs the one with most images is taken.

    :param left: Left image topic, instead of the choice; needs ``right`` too.
    :param right: Right image topic.
    :param cloud: PointCloud2 topic; by default the only one of the bag, if there is one.
    :raises MessageError: If there is no pair, or a named topic is missing; says what there is.
    """
    if (left is None) != (right is None):
        raise MessageError('give both the left and the right image topic, or neither')
    if left is not None:
        pair = camera_of(bag, left), camera_of(bag, right)
    else:
        pairs = stereo_pairs(bag)
        if not pairs:
            raise MessageError(_no_pair_text(bag))
        pair = pairs[0]
    return StereoTopics(*pair, cloud=_cloud_topic(bag, cloud))


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


def _no_pair_text(bag: Bag) -> str:
    cameras = [f'{camera.image} (P[3] = {camera.baseline_term:g})' for camera in cameras_of(bag)]
    return (f'{bag.path}: no stereo pair: no two cameras of one size and focal length with a '
            f'baseline in the right CameraInfo (P[3] = -fx * baseline). Cameras: '
            f'{", ".join(cameras) or "none"}. Name the pair with --left and --right.')
