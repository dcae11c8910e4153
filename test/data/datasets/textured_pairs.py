# SPDX-License-Identifier: Apache-2.0
"""Small textured image pairs whose motion is one known vector, and their truth."""
import cv2
import numpy as np

SIZE_HW = (48, 64)
DISPARITY = 6.0             # [px]
FLOW = (5.0, -4.0)          # (dx, dy) [px]
UNKNOWN = (slice(0, 8), slice(0, 8))   # rows and columns without truth
MARGIN = 8


def texture(seed, size_hw):
    """Return smooth noise (H, W, 3) uint8: neighbours agree, pixels some px apart do not."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*size_hw, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return np.clip((smooth - smooth.mean()) * 4 + 127, 0, 255).astype(np.uint8)


def stereo_pair(seed, size_hw=SIZE_HW, disparity=DISPARITY):
    """Return left and right with right(x - d) = left(x)."""
    rows, cols = size_hw
    wide = texture(seed, (rows, cols + int(disparity)))
    return wide[:, :cols], wide[:, int(disparity):]


def flow_frames(seed, count, size_hw=SIZE_HW, flow=FLOW):
    """Return images with image[k + 1](x + flow) = image[k](x)."""
    rows, cols = size_hw
    reach = MARGIN * (count - 1)
    large = texture(seed, (rows + 2 * reach, cols + 2 * reach))
    corners = [(reach - k * int(flow[1]), reach - k * int(flow[0])) for k in range(count)]
    return [large[y:y + rows, x:x + cols] for y, x in corners]


def disparity_truth(size_hw=SIZE_HW, disparity=DISPARITY, unknown=True):
    """Return (H, W) float32 [px]."""
    truth = np.full(size_hw, disparity, np.float32)
    if unknown:
        truth[UNKNOWN] = np.nan
    return truth


def flow_truth(size_hw=SIZE_HW, flow=FLOW, unknown=True):
    """Return (H, W, 2) float32 [px]."""
    truth = np.full((*size_hw, 2), flow, np.float32)
    if unknown:
        truth[UNKNOWN] = np.nan
    return truth
