# SPDX-License-Identifier: Apache-2.0
"""
Match whole images near an answer that is roughly right: a network's, made of smaller images.

OpenCV does the matching, on the CPU, at the full resolution of the images.
"""
import cv2
import numpy as np

REACH_PX = 8         # of the search for disparity, to either side of the answer
BLOCK_PX = 3
UNIQUENESS = 5       # [%] by which the best cost must be below the second best
STEP_WINDOW_PX = 5   # of the last step, to a fraction of a pixel
LARGEST_STEP_PX = 0.7
NOISE = 4.0          # [grey levels^2 / px^2] of a window's gradient, below which no step is made
FINEST_SCALE = 1     # of the flow: half the resolution of the images
LEAST_SIDE_PX = 48   # of images that OpenCV can match


def disparity_near(left: np.ndarray, right: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """
    Refine a disparity map.

    The right image is moved by the answer, and what is left of the disparity is searched with
    semi-global matching; a Gauss-Newton step follows, since that prefers whole pixels. Where
    nothing certain is found, the answer stays.

    :param left: (H, W, 3) uint8 of a rectified pair; ``right`` likewise.
    :param answer: (H, W) float32 [px], x_left - x_right, right within 8 px; NaN unknown.
    :return: (H, W) float32 [px]; NaN where the answer is.

    Source: Hirschmüller, Stereo Processing by Semiglobal Matching, PAMI 2008; Lucas and Kanade,
    IJCAI 1981.
    """
    known = np.isfinite(answer)
    if min(answer.shape) < LEAST_SIDE_PX or not known.any():
        return answer
    given = np.where(known, answer, 0).astype(np.float32)
    count, area = 2 * REACH_PX, 3 * BLOCK_PX ** 2
    matcher = cv2.StereoSGBM_create(
        minDisparity=-REACH_PX, numDisparities=count, blockSize=BLOCK_PX, P1=8 * area,
        P2=32 * area, disp12MaxDiff=1, uniquenessRatio=UNIQUENESS,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY)
    # nothing is answered as near to a side as the search reaches: add a border
    pair = (cv2.copyMakeBorder(image, 0, 0, count, count, cv2.BORDER_REPLICATE)
            for image in (left, _moved(right, -given)))
    rest = matcher.compute(*pair)[:, count:-count].astype(np.float32) / 16
    rest[rest < -REACH_PX] = 0   # nothing certain
    # x of the left image is x - rest of the moved one, which shows the right one as moved there
    refined = _stepped(left, right, rest + _moved(given, -rest))
    return np.where(known & np.isfinite(refined), refined, answer)


def flow_near(image1: np.ndarray, image2: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """
    Refine an optical flow.

    :param image1: (H, W) uint8 grey; ``image2`` likewise.
    :param answer: (H, W, 2) float32 [px], image 1 -> image 2; NaN unknown.
    :return: (H, W, 2) float32 [px]; NaN where the answer is.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    """
    known = np.isfinite(answer).all(-1, keepdims=True)
    if min(answer.shape[:2]) < LEAST_SIDE_PX or not known.any():
        return answer
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(FINEST_SCALE)
    refined = search.calc(*map(np.ascontiguousarray, (image1, image2)),
                          np.where(known, answer, 0).astype(np.float32))
    return np.where(known & np.isfinite(refined).all(-1, keepdims=True), refined, answer)


def _stepped(left: np.ndarray, right: np.ndarray, disparity: np.ndarray) -> np.ndarray:
    """Make one step of Lucas-Kanade along the rows, where it is small."""
    left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
                   for image in (left, right))
    moved = _moved(right, -disparity)
    gradient = cv2.filter2D((left + moved) / 2, -1, np.float32([[-0.5, 0, 0.5]]))
    difference = left - moved
    difference -= cv2.blur(difference, (3 * STEP_WINDOW_PX, 3 * STEP_WINDOW_PX))   # of exposure
    size = STEP_WINDOW_PX, STEP_WINDOW_PX
    step = -cv2.blur(gradient * difference, size) / (
        cv2.blur(gradient * gradient, size) + np.float32(NOISE))
    return np.where(np.abs(step) < LARGEST_STEP_PX, disparity + step, disparity)


def _moved(image: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """Return what an image has at x + shift [px] of each pixel."""
    rows, cols = shift.shape
    x, y = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    return cv2.remap(image, x + shift, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
