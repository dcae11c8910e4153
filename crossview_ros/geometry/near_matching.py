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
OVERLAP_PX = 1.0     # of two surfaces, which is no more than the doubt about where they are
FINEST_SCALE = 1     # of the flow: half the resolution of the images
SURE = 0.3           # confidence from which on a flow is taken as it is
AROUND_SHARE = 0.08  # of the width: deviation of the weights of what is around
SHRINK = 8           # of the image in which the mean around is made
LEAST_WEIGHT = 1e-6
LEAST_SIDE_PX = 48   # of images that OpenCV can match


def disparity_near(left: np.ndarray, right: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """
    Refine a disparity map.

    The right image is moved by the answer, and what is left of the disparity is searched with
    semi-global matching; a Gauss-Newton step follows, since that prefers whole pixels. The
    answer stays where nothing certain is found, or something beyond infinity, and where the
    answer itself says that the right image does not show the place.

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
    beyond = (refined < 0) & (given >= 0)
    found = known & np.isfinite(refined) & ~beyond & ~hidden_on_right(given)
    return np.where(found, refined, answer)


def hidden_on_right(disparity: np.ndarray) -> np.ndarray:
    """
    Return which pixels (H, W) bool of a left image the right one does not show.

    They lie outside, or something nearer further right in the row takes their place.

    :param disparity: (H, W) float32 [px].
    """
    there = np.arange(disparity.shape[1], dtype=np.float32) - disparity
    furthest_left = np.minimum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    return (there < 0) | (furthest_left < there - OVERLAP_PX)


def flow_near(image1: np.ndarray, image2: np.ndarray, answer: np.ndarray,
              confidence: np.ndarray | None = None) -> np.ndarray:
    """
    Refine an optical flow by dense inverse search, which begins at the answer.

    Where the answer is unsure, the search begins at what is known around it instead.

    :param image1: (H, W) uint8 grey; ``image2`` likewise.
    :param answer: (H, W, 2) float32 [px], image 1 -> image 2; NaN unknown.
    :param confidence: (H, W) float32 in [0, 1]; None: sure everywhere.
    :return: (H, W, 2) float32 [px]; NaN where the answer is.

    Source: Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016.
    """
    known = np.isfinite(answer).all(-1, keepdims=True)
    if min(answer.shape[:2]) < LEAST_SIDE_PX or not known.any():
        return answer
    start = np.where(known, answer, 0).astype(np.float32)
    if confidence is not None:
        start = carried_over(start, np.where(known[..., 0], confidence, 0).astype(np.float32))
    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    search.setFinestScale(FINEST_SCALE)
    refined = search.calc(*map(np.ascontiguousarray, (image1, image2)), start)
    return np.where(known & np.isfinite(refined).all(-1, keepdims=True), refined, answer)


def carried_over(field: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """
    Replace what is unsure of a flow by the mean around it, in which what is sure counts most.

    :param field: (H, W, 2) float32 [px], finite.
    :param confidence: (H, W) float32 in [0, 1].
    """
    rows, cols = confidence.shape
    size = max(1, cols // SHRINK), max(1, rows // SHRINK)
    weight = confidence ** 2

    def around(values: np.ndarray) -> np.ndarray:
        small = cv2.resize(values, size, interpolation=cv2.INTER_AREA)
        return cv2.GaussianBlur(small, (0, 0), AROUND_SHARE * size[0])

    mean = around(field * weight[..., None]) / (around(weight) + LEAST_WEIGHT)[..., None]
    sure = np.minimum(confidence / SURE, 1)[..., None]
    return sure * field + (1 - sure) * cv2.resize(mean, (cols, rows))


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
    """
    Return what an image has at x + shift [px] of each pixel, beyond its sides what is there.

    In each frame's time: `warp_by_disparity` is exact beyond 1/32 px, and many times slower.
    """
    rows, cols = shift.shape
    x, y = np.meshgrid(np.arange(cols, dtype=np.float32), np.arange(rows, dtype=np.float32))
    return cv2.remap(image, x + shift, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
