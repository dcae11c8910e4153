# SPDX-License-Identifier: Apache-2.0
"""Textured image pairs whose disparity or flow changes over the image, with exact truth."""
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.flow import warp_by_disparity, warp_image
import cv2
import numpy as np

MARGIN = 24   # [px] rendered around an image, so that no truth points out of the texture


def texture(rng, size_hw):
    """Return smooth noise (H, W, 3) float32 in [0, 255]."""
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (*size_hw, 3)).astype(np.float32), (0, 0), 2)
    return np.clip((noise - noise.mean()) * 6 + 127, 0, 255)


def grid(size_hw, step=1.0):
    """Return x and y [px of the image] of each value of a truth with `1 / step` per pixel."""
    rows, cols = (int(side / step) for side in size_hw)
    shift = (1 - step) / 2   # centres of the values of a finer truth
    return (np.arange(cols) * step - shift)[None], (np.arange(rows) * step - shift)[:, None]


def disparity_at(x, y):
    return (5 + 0.03 * x + 0.02 * y).astype(np.float32)


def flow_at(x, y):
    u, v = 4 + 0.02 * x - 0.03 * y, -3 + 0.03 * x + 0.01 * y
    return np.stack((u, v), -1).astype(np.float32)


def stereo_sample(rng, size_hw, truth_scale=1):
    """Return a pair of which left(x) = right(x - disparity(x)) by construction."""
    large = tuple(side + 2 * MARGIN for side in size_hw)
    x, y = grid(large)
    right = texture(rng, large)
    left = warp_by_disparity(right, disparity_at(x - MARGIN, y - MARGIN))
    inner = (slice(MARGIN, -MARGIN),) * 2
    camera = PinholeCamera(size_hw[1], size_hw[0], 150.0, 150.0, 70.0, 40.0)
    return StereoSample(*(np.rint(image[inner]).astype(np.uint8) for image in (left, right)),
                        disparity_at(*grid(size_hw, 1 / truth_scale)),
                        StereoRig(camera, camera, 0.2), truth_scale=truth_scale)


def flow_sample(rng, size_hw, truth_scale=1):
    """Return images of which image1(x) = image2(x + flow(x)) by construction."""
    large = tuple(side + 2 * MARGIN for side in size_hw)
    x, y = grid(large)
    image2 = texture(rng, large)
    image1 = warp_image(image2, flow_at(x - MARGIN, y - MARGIN))
    inner = (slice(MARGIN, -MARGIN),) * 2
    return FlowSample(*(np.rint(image[inner]).astype(np.uint8) for image in (image1, image2)),
                      flow_at(*grid(size_hw, 1 / truth_scale)), truth_scale=truth_scale)
