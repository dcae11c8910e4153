# SPDX-License-Identifier: Apache-2.0
"""From a sensor_msgs/CameraInfo to what rectifies the raw images that come with it."""
from typing import Any

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.messages.camera_info import read_camera
import numpy as np


def read_rectifier(info: Any, name: str = 'camera_info') -> Rectifier:
    """
    Make the maps of a camera; ROI and binning hold for the raw and the rectified image alike.

    :param info: sensor_msgs/CameraInfo: K, D, R, P, the model of the distortion, ROI and binning.
    :param name: Named in errors.
    :return: For images of the size that `read_camera` gives.
    :raises CalibrationError: If the camera is not calibrated, the model is unknown, or the
        numbers are impossible.
    """
    raw = read_camera(info, rectified=False, name=name)
    rectified = read_camera(info, name=name)
    try:
        return Rectifier(raw.matrix, info.d, np.reshape(info.r, (3, 3)), rectified.matrix,
                         str(info.distortion_model), raw.size_hw)
    except CalibrationError as error:
        raise CalibrationError(f'{name}: {error}') from error
