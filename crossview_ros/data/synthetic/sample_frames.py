# SPDX-License-Identifier: Apache-2.0
"""A few rendered frames of any size, for checks and measurements that need no bag."""
from crossview_ros.data.synthetic.drive import DriveConfig, render_drive
from crossview_ros.geometry.camera import StereoRig
import numpy as np


def sample_frames(num_frames: int, size_hw: tuple[int, int],
                  seed: int = 1) -> tuple[list[tuple[np.ndarray, np.ndarray]], StereoRig]:
    """
    Render the first frames of a drive.

    :param size_hw: Of the images [px]; the field of view stays the same.
    :return: Left and right images, (H, W, 3) uint8 RGB, and the camera.
    """
    config = DriveConfig(size_hw=size_hw, num_frames=num_frames,
                         focal_px=260.0 * size_hw[1] / 320)
    return [(frame.left, frame.right) for frame in render_drive(config, seed)], config.rig
