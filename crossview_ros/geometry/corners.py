# SPDX-License-Identifier: Apache-2.0
"""Where corners of an image are in another one, to a fraction of a pixel: Lucas-Kanade."""
import cv2
import numpy as np

WINDOW_PX = 11          # side of what is compared
CONTRAST_PX = 31        # side of what brightness and contrast are levelled over
LEAST_CONTRAST = 4.0    # [grey levels] of noise, which is not to be raised
LEAST_EIGENVALUE = 1e-4   # of a corner, as OpenCV counts it: of a plain wall it is less
MAX_RETURN_PX = 0.3     # from the first image to the second and back
STEPS = cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 15, 0.01


def levelled(image: np.ndarray) -> np.ndarray:
    """
    Return an image without its exposure: the same mean and contrast everywhere.

    :param image: (H, W, 3) uint8 RGB.
    :return: (H, W) uint8.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    size = (CONTRAST_PX, CONTRAST_PX)
    mean = cv2.blur(grey, size)
    variance = np.maximum(cv2.sqrBoxFilter(grey, cv2.CV_32F, size) - mean * mean, 0)
    return cv2.convertScaleAbs((grey - mean) * (40 / (np.sqrt(variance) + LEAST_CONTRAST)) + 128)


def away_from_hidden(visible: np.ndarray) -> np.ndarray:
    """Return the pixels (H, W) bool whose whole window is visible (H, W) bool."""
    window = np.ones((WINDOW_PX + 2, WINDOW_PX + 2), np.uint8)   # and its gradient
    return cv2.erode(visible.astype(np.uint8), window) > 0


def find_corners(image: np.ndarray, known: np.ndarray, spacing: int) -> np.ndarray:
    """
    Return the pixels (N, 2) x y of the strongest corner of each cell, where there is one.

    :param image: (H, W) uint8.
    :param known: (H, W) bool, where a corner is of use.
    :param spacing: Side of a cell [px].
    """
    strength = np.where(known, cv2.cornerMinEigenVal(image, 3), -1)
    rows, cols = (side // spacing for side in strength.shape)
    cells = strength[:rows * spacing, :cols * spacing] \
        .reshape(rows, spacing, cols, spacing).transpose(0, 2, 1, 3).reshape(rows, cols, -1)
    within = cells.argmax(2)
    row, col = np.mgrid[:rows, :cols] * spacing
    at = np.stack((col + within % spacing, row + within // spacing), -1)
    return at[cells.max(2) > LEAST_EIGENVALUE]


def follow_corners(image1: np.ndarray, image2: np.ndarray, at: np.ndarray,
                   guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Find where corners went, near a guess.

    :param image1: (H, W) uint8, as `levelled`; ``image2`` likewise.
    :param at: (N, 2) x y [px] in image 1.
    :param guess: (N, 2) x y [px] in image 2, within some pixels of the truth.
    :return: (N, 2) float32 x y in image 2, and (N,) bool: found, and from there back again.

    Source: Lucas and Kanade, IJCAI 1981; Kalal et al., Forward-backward error, ICPR 2010.
    """
    if not len(at):
        return np.empty((0, 2), np.float32), np.empty(0, bool)
    start, guess = (np.ascontiguousarray(points, np.float32) for points in (at, guess))
    found, ok = _lucas_kanade(image1, image2, start, guess)
    back, ok_back = _lucas_kanade(image2, image1, found, start)
    return found, ok & ok_back & (np.linalg.norm(back - start, axis=1) < MAX_RETURN_PX)


def _lucas_kanade(image1: np.ndarray, image2: np.ndarray, start: np.ndarray,
                  guess: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found, ok, _ = cv2.calcOpticalFlowPyrLK(
        image1, image2, start, guess.copy(), winSize=(WINDOW_PX, WINDOW_PX), maxLevel=0,
        criteria=STEPS, flags=cv2.OPTFLOW_USE_INITIAL_FLOW)
    return found, ok[:, 0] > 0
