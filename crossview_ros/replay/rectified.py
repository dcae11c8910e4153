# SPDX-License-Identifier: Apache-2.0
"""Rectify the raw images of a bag with the CameraInfo beside them."""
from typing import Any

from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.messages.camera_info import calibration_key
from crossview_ros.messages.rectifier import read_rectifier
import numpy as np


class RectifiedImages:
    """Rectify images; the maps of a camera are kept until its CameraInfo changes. One thread."""

    def __init__(self) -> None:
        """Know no camera yet."""
        self._rectifiers: dict[str, tuple[tuple, Rectifier]] = {}

    def of(self, topic: str, image: np.ndarray, info: Any) -> tuple[np.ndarray, np.ndarray]:
        """
        Rectify an image; also return which of its pixels the raw one shows, (H, W) bool.

        :param topic: Names the camera.
        :param image: (H, W, 3) uint8 of the size that CameraInfo says.
        :param info: Its sensor_msgs/CameraInfo.
        :raises CalibrationError: If the camera is not calibrated or the model is unknown.
        """
        key = calibration_key(info)
        kept = self._rectifiers.get(topic)
        if kept is None or kept[0] != key:
            kept = self._rectifiers[topic] = key, read_rectifier(info, topic)
        return kept[1](image), kept[1].visible
