# SPDX-License-Identifier: Apache-2.0
"""
Depth and flow at corners, sharper than the network's: for the odometry.

Networks err alike over whole areas, and see large images shrunk. At corners the images themselves
tell where the network's answer leads to within a fraction of their own pixels.
"""
from dataclasses import dataclass, replace

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.corners import away_from_hidden, find_corners, follow_corners, levelled
from crossview_ros.runtime.odometry import SeenDepth
import numpy as np

SHARP_PX = 0.15      # standard deviation of a found corner, per axis
MAX_SIGMAS = 3.0     # what is farther from the network's answer is another thing that looks alike
MAX_ROW_PX = 0.5     # rows of a rectified pair agree to this
NUM_CELLS = 2000     # of an image, of which each gives one corner at most


@dataclass(frozen=True)
class Corners:
    """Corners of a left image, and their depth where there is any."""

    image: np.ndarray         # (H, W) uint8, as `levelled`
    at: np.ndarray            # (N, 2) int x y [px]
    depth: np.ndarray         # (N,) float32 [m]
    depth_sigma: np.ndarray   # (N,) float32, as a share of the depth


def seen_corners(left: np.ndarray, right: np.ndarray | None, rig: StereoRig | PinholeCamera,
                 seen: SeenDepth | None, visible: np.ndarray | None = None) -> Corners:
    """
    Find the corners of a left image whose depth is known, and sharpen it by the right one.

    :param left: (H, W, 3) uint8 RGB; ``right`` is None for one camera.
    :param seen: What the network says of the depth.
    :param visible: (H, W) bool, false where the left image shows nothing; its edge is no corner.
    """
    image = levelled(left)
    if seen is None or seen.depth_sigma is None:
        none = np.empty(0, np.float32)
        return Corners(image, np.empty((0, 2), int), none, none)
    known = np.isfinite(seen.depth) & (seen.depth > 0) & np.isfinite(seen.depth_sigma)
    if visible is not None:
        known &= away_from_hidden(visible)
    spacing = max(1, int(np.ceil(np.sqrt(known.size / NUM_CELLS))))
    at = find_corners(image, known, spacing)
    col, row = at.T
    corners = Corners(image, at, seen.depth[row, col], seen.depth_sigma[row, col])
    return corners if right is None else _sharp_depth(corners, levelled(right), rig)


def sharpened(corners: Corners, image: np.ndarray, seen: SeenDepth, flow: np.ndarray,
              sigma_px: np.ndarray) -> tuple[SeenDepth, np.ndarray, np.ndarray]:
    """
    Return depth, flow and its expected error with what the images tell of corners.

    :param corners: Of the view that has the depth and where the flow starts.
    :param image: (H, W) uint8 of the view where the flow ends, as `levelled`.
    :param flow: (H, W, 2) float32 [px]; ``sigma_px`` (H, W), expected error per axis.
    """
    col, row = corners.at.T
    guess = corners.at + flow[row, col]
    there = np.isfinite(guess).all(1)
    col, row, guess, at = col[there], row[there], guess[there], corners.at[there]
    found, ok = follow_corners(corners.image, image, at, guess)
    apart = np.linalg.norm(found - guess, axis=1)
    ok &= apart < MAX_SIGMAS * np.hypot(sigma_px[row, col], SHARP_PX)
    flow, sigma_px = flow.copy(), sigma_px.copy()
    depth, depth_sigma = seen.depth.copy(), seen.depth_sigma.copy()
    col, row = col[ok], row[ok]
    flow[row, col] = (found - at)[ok]
    sigma_px[row, col] = np.minimum(sigma_px[row, col], SHARP_PX)
    depth[row, col] = corners.depth[there][ok]
    depth_sigma[row, col] = corners.depth_sigma[there][ok]
    return replace(seen, depth=depth, depth_sigma=depth_sigma), flow, sigma_px


def _sharp_depth(corners: Corners, right: np.ndarray, rig: StereoRig) -> Corners:
    """Keep the corners that the right image shows, with the disparity found there."""
    shift = rig.left.fx * rig.baseline / corners.depth   # disparity + doffs [px]
    guess = corners.at - np.stack((shift - rig.doffs, np.zeros_like(shift)), 1)
    found, ok = follow_corners(corners.image, right, corners.at, guess)
    apart = np.abs(found - guess).T
    shift_found = corners.at[:, 0] - found[:, 0] + rig.doffs
    ok &= (apart[1] < MAX_ROW_PX) & (shift_found > SHARP_PX) \
        & (apart[0] < MAX_SIGMAS * np.hypot(corners.depth_sigma * shift, SHARP_PX))
    shift_found = shift_found[ok].astype(np.float32)
    return Corners(corners.image, corners.at[ok],
                   np.float32(rig.left.fx * rig.baseline) / shift_found,
                   np.minimum(corners.depth_sigma[ok], np.float32(SHARP_PX) / shift_found))
