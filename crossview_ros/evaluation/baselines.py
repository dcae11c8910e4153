# SPDX-License-Identifier: Apache-2.0
"""Classical and trivial methods to stand beside a model in a table; never used by the product."""
from collections.abc import Callable
import math

from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.metrics.disparity import best_constant_disparity
import cv2
import numpy as np

SEARCH_SHARE = 6   # disparities up to a sixth of the image's width are searched
BLOCK = 3          # [px] side of SGBM's block


def sgbm(sample: StereoSample) -> np.ndarray:
    """
    Match with OpenCV's StereoSGBM, all eight directions, on colour; holes stay.

    Both images get a border on the left, as wide as the search, without which OpenCV answers
    nothing there.

    :return: (H, W) float32 [px]; NaN where SGBM refuses an answer.

    Source: Hirschmüller, Stereo Processing by Semiglobal Matching, PAMI 2008; penalties as
    OpenCV's documentation recommends, 8 and 32 times channels times block area.
    """
    search = 16 * math.ceil(sample.left.shape[1] / SEARCH_SHARE / 16)   # a multiple of 16
    matcher = cv2.StereoSGBM_create(
        minDisparity=0, numDisparities=search, blockSize=BLOCK, P1=8 * 3 * BLOCK ** 2,
        P2=32 * 3 * BLOCK ** 2, disp12MaxDiff=1, uniquenessRatio=10, speckleWindowSize=100,
        speckleRange=2, mode=cv2.STEREO_SGBM_MODE_HH)
    left, right = (cv2.copyMakeBorder(image, 0, 0, search, 0, cv2.BORDER_REPLICATE)
                   for image in (sample.left, sample.right))
    disparity = matcher.compute(left, right)[:, search:].astype(np.float32) / 16
    return np.where(disparity > 0, disparity, np.float32(np.nan))


def sgbm_filled(sample: StereoSample) -> np.ndarray:
    """
    Fill the holes of `sgbm` along the row with the smaller of the two valid neighbours.

    What a hole shows is most often the background beside it.

    :return: (H, W) float32 [px]; NaN only in rows without any answer.
    """
    disparity = sgbm(sample)
    before, after = (_carried(disparity[:, ::step])[:, ::step] for step in (1, -1))
    return np.where(np.isnan(disparity), np.fmin(before, after), disparity)


def _carried(rows: np.ndarray) -> np.ndarray:
    """Give each NaN (H, W) the last number to its left, if there is one."""
    last = np.where(np.isnan(rows), 0, np.arange(rows.shape[1]))
    return np.take_along_axis(rows, np.maximum.accumulate(last, axis=1), axis=1)


def constant_disparity(sample: StereoSample) -> np.ndarray:
    """Return (H, W) float32: the one disparity [px] with the least error, read off the truth."""
    return np.full(sample.disparity.shape, best_constant_disparity(sample.disparity), np.float32)


def dis_flow(sample: FlowSample) -> np.ndarray:
    """
    Estimate flow with OpenCV's DISOpticalFlow, preset medium.

    :return: (H, W, 2) float32 [px], everywhere finite.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    """
    gray1, gray2 = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                    for image in (sample.image1, sample.image2))
    return cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(gray1, gray2, None)


def zero_flow(sample: FlowSample) -> np.ndarray:
    """Return (H, W, 2) float32 zeros: nothing moves."""
    return np.zeros_like(sample.flow)


Baseline = Callable[[StereoSample], np.ndarray] | Callable[[FlowSample], np.ndarray]

# kind of sample -> name -> method
BASELINES: dict[str, dict[str, Baseline]] = {
    'stereo': {'sgbm': sgbm, 'sgbm-filled': sgbm_filled, 'constant': constant_disparity},
    'flow': {'dis': dis_flow, 'zero': zero_flow},
}
