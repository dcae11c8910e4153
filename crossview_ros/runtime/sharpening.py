# SPDX-License-Identifier: Apache-2.0
"""The network's disparity and flow, sharper: matched once more in the full images."""
from typing import Any

from crossview_ros.geometry.near_matching import disparity_near, flow_near
from crossview_ros.runtime.confidence import laplace_confidence
from crossview_ros.runtime.results import StageTimer
from crossview_ros.runtime.tracking import SeenView
import cv2
import numpy as np


def sharpen(dense: dict[str, Any], views: list[np.ndarray], previous: SeenView | None,
            timer: StageTimer) -> tuple[dict[str, Any], np.ndarray]:
    """
    Return the restored predictions with sharper disparity and flow, and the same doubt.

    This flow is for the eye and for what stands in the way. The odometry takes the network's,
    which of a covered lens agrees with no motion; made smooth, it would agree with some.

    :param dense: Task -> value and log_scale at the resolution of the image.
    :param views: (H, W, 3) uint8 RGB, the left image and where there is one the right.
    :param previous: Its image is where the flow starts.
    :return: Like ``dense``, and the left image, (H, W) uint8, as the next call needs it.
    """
    sharp = dict(dense)
    with timer.stage('sharpen'):
        grey = cv2.cvtColor(views[0], cv2.COLOR_RGB2GRAY)
        if 'stereo' in dense:
            disparity, log_scale = dense['stereo']
            sharp['stereo'] = disparity_near(*views, disparity), log_scale
        if 'flow' in dense and previous.grey is not None:
            flow, log_scale = dense['flow']
            trust = None if log_scale is None else laplace_confidence(log_scale)
            sharp['flow'] = flow_near(previous.grey, grey, flow, trust), log_scale
    return sharp, grey
