# SPDX-License-Identifier: Apache-2.0
"""Turn matched messages into the arrays and the calibration that Perception takes."""
from dataclasses import dataclass
from typing import Any

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.se3 import transform_points
from crossview_ros.messages.camera_info import read_stereo_rig
from crossview_ros.messages.image import read_compressed_image, read_image
from crossview_ros.messages.point_cloud2 import read_points
from crossview_ros.replay.pairing import StereoFrame
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import StereoTopics
import numpy as np


@dataclass(frozen=True)
class StereoInput:
    """One stereo pair ready for Perception."""

    left: np.ndarray             # (H, W, 3) uint8 RGB
    right: np.ndarray            # (H, W, 3) uint8 RGB
    rig: StereoRig
    cloud: np.ndarray | None     # (N, 3) float32 [m], left optical frame


class InputReader:
    """
    Read frames of one bag; the calibration is kept until CameraInfo changes.

    Not for use from two threads.
    """

    def __init__(self, topics: StereoTopics, transforms: StaticTransforms) -> None:
        """Remember where things are; ``transforms`` serve the baseline and the cloud."""
        self.topics = topics
        self.transforms = transforms
        self.notes: list[str] = []
        self._rig: StereoRig | None = None
        self._rig_key: tuple | None = None

    def read(self, frame: StereoFrame) -> StereoInput:
        """
        Read images, calibration and cloud of a frame.

        :raises MessageError: If an image is broken or does not fit its CameraInfo.
        :raises CalibrationError: If the two CameraInfo do not make a stereo rig.
        """
        rig = self._read_rig(frame)
        left = self._read_image(self.topics.left, frame.left)
        right = self._read_image(self.topics.right, frame.right)
        for name, image in ((self.topics.left.image, left), (self.topics.right.image, right)):
            if image.shape[:2] != rig.left.size_hw:
                raise MessageError(f'{name}: image is {image.shape[1]}x{image.shape[0]}, its '
                                   f'camera_info says {rig.left.width}x{rig.left.height} px')
        return StereoInput(left, right, rig, self._read_cloud(frame))

    def _read_image(self, camera: Any, message: Any) -> np.ndarray:
        return read_compressed_image(message) if camera.compressed \
            else read_image(message, camera.image)

    def _read_rig(self, frame: StereoFrame) -> StereoRig:
        key = tuple(value for info in (frame.left_info, frame.right_info)
                    for value in (info.width, info.height, *info.p))
        if self._rig is None or key != self._rig_key:
            self._rig = read_stereo_rig(frame.left_info, frame.right_info,
                                        baseline_fallback=self._baseline_of_tf(frame))
            self._rig_key = key
        return self._rig

    def _baseline_of_tf(self, frame: StereoFrame) -> float | None:
        if frame.right_info.p[3] != 0:
            return None
        try:
            T_left_right = self.transforms.lookup(_frame_id(frame.left), _frame_id(frame.right))
        except CalibrationError:
            return None   # the error of read_stereo_rig says more
        self._note(f'The right camera_info has no baseline; {T_left_right[0, 3]:.4f} m were '
                   'taken from /tf_static.')
        return float(T_left_right[0, 3])

    def _read_cloud(self, frame: StereoFrame) -> np.ndarray | None:
        if frame.cloud is None:
            return None
        try:
            T_left_cloud = self.transforms.lookup(_frame_id(frame.left), _frame_id(frame.cloud))
            points = read_points(frame.cloud)
        except (CalibrationError, MessageError) as error:
            self._note(f'The cloud is not used: {error}')
            return None
        return transform_points(T_left_cloud, points).astype(np.float32)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _frame_id(message: Any) -> str:
    return message.header.frame_id
