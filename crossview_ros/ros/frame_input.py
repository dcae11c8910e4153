# SPDX-License-Identifier: Apache-2.0
"""
Turn a matched set of messages into the arrays and the calibration that Perception takes.

Knows nothing of ROS: messages are read by attribute.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from crossview_ros.errors import MessageError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.messages.camera_info import calibration_key, read_camera, read_stereo_rig
from crossview_ros.messages.image import read_compressed_image, read_image
from crossview_ros.messages.rectifier import read_rectifier
from crossview_ros.ros.streams import (
    IMAGE, INFO, LEFT_IMAGE, LEFT_INFO, RIGHT_IMAGE, RIGHT_INFO)
from crossview_ros.ros.synchronizer import MatchedSet
import numpy as np


@dataclass(frozen=True)
class FrameInput:
    """One frame ready for Perception, with the header of its (left) image."""

    left: np.ndarray           # (H, W, 3) uint8 RGB, rectified
    right: np.ndarray | None   # as left; None with one camera
    rig: StereoRig | PinholeCamera   # the latter with one camera
    stamp_ns: int
    frame_id: str
    visible: np.ndarray | None = None   # (H, W) bool of left; None: it shows something everywhere

    @property
    def camera(self) -> PinholeCamera:
        """Return the calibration of the (left) image."""
        return self.rig.left if isinstance(self.rig, StereoRig) else self.rig


class InputReader(Protocol):
    """Reads matched sets; called from the worker thread, properties from any."""

    notes: list[str]   # what is odd about the calibration in force

    @property
    def rig(self) -> StereoRig | PinholeCamera | None:
        """Return the calibration in force; None while there is none that can be used."""

    def read(self, matched: MatchedSet) -> FrameInput:
        """
        Read images and calibration.

        :raises MessageError: If an image is broken, or not of the size that CameraInfo says.
        :raises CalibrationError: If the calibration cannot be used.
        """


class _Reader:
    """Reads images, and keeps the calibration until a CameraInfo changes."""

    # image stream -> stream of its CameraInfo, the leading one first
    pairs: dict[str, str] = {}

    def __init__(self, topics: dict[str, str], rectify: bool, compressed: bool) -> None:
        self._topics, self._rectify = topics, rectify
        self._decode = read_compressed_image if compressed else read_image
        self._rig: Any = None
        self._key: tuple | None = None
        self._rectifiers: list[Rectifier] = []   # in the order of pairs; made by the first frame
        self.notes: list[str] = []

    @property
    def rig(self) -> Any:
        """Return the calibration in force; None while there is none that can be used."""
        return self._rig if self._rectifiers or not self._rectify else None

    def read(self, matched: MatchedSet) -> FrameInput:
        """Read images and calibration; as `InputReader.read`."""
        messages = matched.messages
        self._update(messages)
        images = [self._image(stream, messages) for stream in self.pairs]
        if self._rectify:
            images = self._rectified(images, messages)
        right = images[1] if len(images) > 1 else None
        return FrameInput(images[0], right, self._rig, matched.stamp_ns,
                          _frame_id(messages[next(iter(self.pairs))]),
                          self._rectifiers[0].visible if self._rectify else None)

    def _image(self, stream: str, messages: dict[str, Any]) -> np.ndarray:
        image = self._decode(messages[stream], self._topics[stream])
        camera = self._rig.left if isinstance(self._rig, StereoRig) else self._rig
        if image.shape[:2] != camera.size_hw:
            raise MessageError(
                f'{self._topics[stream]}: image is {image.shape[1]}x{image.shape[0]} px, its '
                f'camera_info says {camera.width}x{camera.height}')
        return image

    def _rectified(self, images: list[np.ndarray],
                   messages: dict[str, Any]) -> list[np.ndarray]:
        if not self._rectifiers:   # not before images of that size have come: the maps are large
            self._rectifiers = [read_rectifier(messages[info], self._topics[info])
                                for info in self.pairs.values()]
        return [rectifier(image) for rectifier, image in zip(self._rectifiers, images)]

    def _update(self, messages: dict[str, Any]) -> None:
        """Read the calibration again if it has changed."""
        key = tuple(calibration_key(messages[info]) for info in self.pairs.values())
        if self._rig is not None and key == self._key:
            return
        self._rig, self._rectifiers = None, []
        notes = [note for image, info in self.pairs.items()
                 for note in self._pair_notes(image, info, messages)]
        rig = self._read_rig(messages, notes)
        self._rig, self._key, self.notes = rig, key, notes

    def _read_rig(self, messages: dict[str, Any], notes: list[str]) -> Any:
        raise NotImplementedError

    def _pair_notes(self, image: str, info: str, messages: dict[str, Any]) -> list[str]:
        notes = []
        frames = _frame_id(messages[image]), _frame_id(messages[info])
        if frames[0] != frames[1]:
            notes.append(f"{self._topics[image]} is in frame '{frames[0]}', its camera_info in "
                         f"'{frames[1]}'")
        name = self._topics[image].removesuffix('/compressed').rpartition('/')[2]
        if not self._rectify and name == 'image_raw' and np.any(messages[info].d):
            notes.append(f'{self._topics[image]} looks raw and its camera_info has distortion, '
                         'but rectify is false: feed rectified images or set rectify')
        return notes


class StereoReader(_Reader):
    """Read the four messages of a rectified pair, or of a raw one that is then rectified."""

    pairs = {LEFT_IMAGE: LEFT_INFO, RIGHT_IMAGE: RIGHT_INFO}

    def __init__(self, topics: dict[str, str],
                 find_baseline: Callable[[str, str], float | None], rectify: bool = False,
                 compressed: bool = False) -> None:
        """
        Remember where things come from.

        :param topics: Stream -> topic, for texts.
        :param find_baseline: (left frame, right frame) -> distance of the cameras [m] or None;
            asked where CameraInfo gives 0.
        :param rectify: Images are raw: rectify them with their CameraInfo.
        :param compressed: Images are sensor_msgs/CompressedImage.
        """
        super().__init__(topics, rectify, compressed)
        self._find_baseline = find_baseline

    def _read_rig(self, messages: dict[str, Any], notes: list[str]) -> StereoRig:
        left, right = messages[LEFT_INFO], messages[RIGHT_INFO]
        baseline = None
        if right.p[3] == 0:
            baseline = self._find_baseline(_frame_id(left), _frame_id(right))
        if baseline is not None:
            notes.append(f'{self._topics[RIGHT_INFO]} gives no baseline (P[3] = 0); '
                         f'{baseline:.4f} m are taken instead')
        return read_stereo_rig(left, right, baseline_fallback=baseline)


class SequentialReader(_Reader):
    """Read the image of one camera and its CameraInfo."""

    pairs = {IMAGE: INFO}

    def __init__(self, topics: dict[str, str], rectify: bool = False,
                 compressed: bool = False) -> None:
        """Remember where things come from; parameters as `StereoReader`."""
        super().__init__(topics, rectify, compressed)

    def _read_rig(self, messages: dict[str, Any], notes: list[str]) -> PinholeCamera:
        info = messages[INFO]
        has_p = bool(np.any(info.p))   # a single camera is often calibrated without P
        if not has_p:
            notes.append(f'{self._topics[INFO]} has no P; K is taken')
        return read_camera(info, rectified=has_p or self._rectify, name=self._topics[INFO])


def _frame_id(message: Any) -> str:
    return message.header.frame_id
