# SPDX-License-Identifier: Apache-2.0
"""Rectify the raw images of a bag with the CameraInfo beside them."""
from typing import Any

from crossview_ros.geometry.rectification import Rectifier
import numpy as np


class RectifiedImages:
    """Rectify images; the maps of a camera are kept until its CameraInfo changes. One thread."""

    def __init__(self) -> None:
        """Know no camera yet."""
        self._rectifiers: dict[str, tuple[tuple, Rectifier]] = {}

    def of(self, topic: str, image: np.ndarray, info: Any) -> np.ndarray:
        """
        Rectify an image.

        :param topic: Names the camera.
        :param image: (H, W, 3) uint8 of the size that CameraInfo says.
        :param info: Its sensor_msgs/CameraInfo: K, D, R, P and the model of the distortion.
        :raises CalibrationError: If the camera is not calibrated or the model is unknown.
        """
        key = (str(info.distortion_model), int(info.height), int(info.width),
               *(float(value) for field in (info.k, info.d, info.r, info.p) for value in field))
        kept = self._rectifiers.get(topic)
        if kept is None or kept[0] != key:
            rectifier = Rectifier(
                np.reshape(info.k, (3, 3)), np.asarray(info.d), np.reshape(info.r, (3, 3)),
                np.reshape(info.p, (3, 4)), str(info.distortion_model),
                (int(info.height), int(info.width)))
            kept = self._rectifiers[topic] = key, rectifier
        return kept[1](image)
