# SPDX-License-Identifier: Apache-2.0
"""
Turn a matched set of messages into the arrays and the calibration that Perception takes.

Knows nothing of ROS: messages are read by attribute.
"""
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crossview_ros.errors import MessageError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.messages.camera_info import read_stereo_rig
from crossview_ros.messages.image import read_image
from crossview_ros.ros.synchronizer import MatchedSet
import numpy as np

LEFT_IMAGE, LEFT_INFO = 'left_image', 'left_info'
RIGHT_IMAGE, RIGHT_INFO = 'right_image', 'right_info'


@dataclass(frozen=True)
class StereoInput:
    """One stereo pair ready for Perception, with the header of its left image."""

    left: np.ndarray    # (H, W, 3) uint8 RGB
    right: np.ndarray   # (H, W, 3) uint8 RGB
    rig: StereoRig
    stamp_ns: int
    frame_id: str


class StereoReader:
    """
    Read matched sets; the calibration is kept until CameraInfo changes.

    Called from the worker thread; `notes` may be read from any.
    """

    def __init__(self, topics: dict[str, str],
                 find_baseline: Callable[[str, str], float | None]) -> None:
        """
        Remember where things come from.

        :param topics: Stream -> topic, for texts.
        :param find_baseline: (left frame, right frame) -> distance of the cameras [m] or None;
            asked where CameraInfo gives 0.
        """
        self._topics = topics
        self._find_baseline = find_baseline
        self._rig: StereoRig | None = None
        self._key: tuple | None = None
        self.notes: list[str] = []   # what is odd about the calibration in force

    @property
    def rig(self) -> StereoRig | None:
        """Return the calibration in force; None while there is none that can be used."""
        return self._rig

    def read(self, matched: MatchedSet) -> StereoInput:
        """
        Read images and calibration.

        :raises MessageError: If an image is broken, or not of the size that CameraInfo says.
        :raises CalibrationError: If the two CameraInfo do not make a stereo rig.
        """
        messages = matched.messages
        rig = self._read_rig(messages)
        left, right = (read_image(messages[stream], self._topics[stream])
                       for stream in (LEFT_IMAGE, RIGHT_IMAGE))
        for stream, image in ((LEFT_IMAGE, left), (RIGHT_IMAGE, right)):
            if image.shape[:2] != rig.left.size_hw:
                raise MessageError(
                    f'{self._topics[stream]}: image is {image.shape[1]}x{image.shape[0]} px, its '
                    f'camera_info says {rig.left.width}x{rig.left.height}')
        return StereoInput(left, right, rig, matched.stamp_ns, _frame_id(messages[LEFT_IMAGE]))

    def _read_rig(self, messages: dict[str, Any]) -> StereoRig:
        left, right = messages[LEFT_INFO], messages[RIGHT_INFO]
        key = _calibration_key(left) + _calibration_key(right)
        if self._rig is None or key != self._key:
            self._rig = None
            notes = _frame_notes(messages, self._topics)
            baseline = self._baseline_fallback(left, right, notes)
            self._rig = read_stereo_rig(left, right, baseline_fallback=baseline)
            self._key, self.notes = key, notes
        return self._rig

    def _baseline_fallback(self, left: Any, right: Any, notes: list[str]) -> float | None:
        if right.p[3] != 0:
            return None
        baseline = self._find_baseline(_frame_id(left), _frame_id(right))
        if baseline is not None:
            notes.append(f'{self._topics[RIGHT_INFO]} gives no baseline (P[3] = 0); '
                         f'{baseline:.4f} m are taken instead')
        return baseline


def _calibration_key(info: Any) -> tuple:
    roi = info.roi
    return (info.width, info.height, *info.k[:1], *info.p, info.binning_x, info.binning_y,
            roi.x_offset, roi.y_offset, roi.width, roi.height, info.header.frame_id)


def _frame_notes(messages: dict[str, Any], topics: dict[str, str]) -> list[str]:
    notes = []
    for image, info in ((LEFT_IMAGE, LEFT_INFO), (RIGHT_IMAGE, RIGHT_INFO)):
        frames = _frame_id(messages[image]), _frame_id(messages[info])
        if frames[0] != frames[1]:
            notes.append(f"{topics[image]} is in frame '{frames[0]}', its camera_info in "
                         f"'{frames[1]}'")
    return notes


def _frame_id(message: Any) -> str:
    return message.header.frame_id
