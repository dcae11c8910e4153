# SPDX-License-Identifier: Apache-2.0
"""How much two views see of the same, and from how different directions."""
from dataclasses import dataclass
import math

from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import back_project, project_points
from crossview_ros.geometry.se3 import invert, transform_points
import cv2
import numpy as np

HIDDEN_SHARE = 0.1       # a point this much farther than the depth it falls on is hidden there
CELLS = 12               # cells of matching along the longer side of an image
PER_CELL = 12            # strongest corners kept in each cell
MIN_CORNERS = 4          # a cell with fewer has no texture to tell by
MIN_MATCHES = 20         # fewer agree with a motion by chance
MAX_BITS = 64            # of 256 that the descriptors of a match may differ in
ROW_PX = 2.0             # distance of a match from its epipolar line


@dataclass(frozen=True)
class Overlap:
    """What two views share."""

    covisibility: float   # smaller of the two shares of one view that the other sees, [0, 1]
    parallax_deg: float   # median angle between the two directions to what both see; NaN: nothing
    method: str           # 'depth' or 'matches'


@dataclass(frozen=True)
class DepthView:
    """A small depth image and where it was taken."""

    depth: np.ndarray            # (h, w) float32 [m], not finite unknown
    camera: PinholeCamera        # of that size
    T_world_camera: np.ndarray   # (4, 4), optical frame


@dataclass(frozen=True)
class Corners:
    """Corners of an image, spread evenly, with their binary descriptors."""

    uv: np.ndarray            # (N, 2) float64 [px]
    cells: np.ndarray         # (N,) number of the cell that each lies in
    descriptors: np.ndarray   # (N, 32) uint8
    camera: PinholeCamera     # of the image


def overlap_by_depth(a: DepthView, b: DepthView) -> Overlap:
    """
    Compare two views by moving the points of each into the other.

    A point counts as seen if it falls into the other image and nothing nearer covers it there.
    Pixels without depth do not count.

    Source: croco.md 7, Habitat pairs: the minimum over both directions.
    """
    T_b_a = invert(b.T_world_camera) @ a.T_world_camera
    share_a, angles_a = _seen(a, b, T_b_a)
    share_b, angles_b = _seen(b, a, invert(T_b_a))
    angles = np.concatenate((angles_a, angles_b))
    return Overlap(min(share_a, share_b), _median_deg(angles), 'depth')


def find_corners(grey: np.ndarray, camera: PinholeCamera) -> Corners:
    """
    Find the strongest corners in each cell of an image.

    :param grey: (H, W) uint8 of the camera's size.
    """
    finder = cv2.ORB_create(nfeatures=4000, fastThreshold=8)
    found = sorted(finder.detect(grey, None), key=lambda corner: -corner.response)
    side = max(grey.shape) / CELLS
    columns = math.ceil(grey.shape[1] / side)
    kept, count = [], np.zeros(math.ceil(grey.shape[0] / side) * columns, int)
    for corner in found:
        cell = int(corner.pt[1] / side) * columns + int(corner.pt[0] / side)
        if count[cell] < PER_CELL:
            count[cell] += 1
            kept.append(corner)
    kept, descriptors = finder.compute(grey, kept)
    uv = np.array([corner.pt for corner in kept], np.float64).reshape(-1, 2)
    cells = (uv[:, 1] // side * columns + uv[:, 0] // side).astype(int)
    if descriptors is None:
        descriptors = np.empty((0, 32), np.uint8)
    return Corners(uv, cells, descriptors, camera)


def overlap_by_matches(a: Corners, b: Corners, T_b_a: np.ndarray | None = None,
                       exact: bool = False) -> Overlap:
    """
    Compare two views by matched corners that one rigid motion explains.

    Co-visibility is the share of cells with texture that hold such a match. Without a known
    motion, parallax of a few pixels may be taken for a turn: it is then found too small.

    :param T_b_a: (4, 4) motion between the optical frames, where it is known.
    :param exact: The motion is exact, as in a rectified rig: matches must lie near its epipolar
        lines. Otherwise only its rotation is used, and matches agree with an estimated motion.
    """
    pairs = _matches(a, b)
    if len(pairs) < MIN_MATCHES:
        return Overlap(0.0, math.nan, 'matches')
    rays_a, rays_b = _rays(a)[pairs[:, 0]], _rays(b)[pairs[:, 1]]
    pixel = 1 / b.camera.fx
    essential, rotation = (_essential(T_b_a), None) if exact \
        else _estimated_motion(rays_a, rays_b, pixel)
    good = _epipolar_distance(rays_a, rays_b, essential) <= ROW_PX * pixel
    if good.sum() < MIN_MATCHES:
        return Overlap(0.0, math.nan, 'matches')
    rotation = rotation if T_b_a is None else T_b_a[:3, :3]
    share = min(_covered(a, pairs[good, 0]), _covered(b, pairs[good, 1]))
    angles = _angles(rays_a[good] @ rotation.T, rays_b[good])
    return Overlap(share, _median_deg(angles), 'matches')


def _seen(a: DepthView, b: DepthView, T_b_a: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the share of a's points that b sees, and the angle at each of these [rad]."""
    points = back_project(a.depth, a.camera).reshape(-1, 3)
    points = points[np.isfinite(points).all(1) & (points[:, 2] > 0)]
    if not len(points):
        return 0.0, np.empty(0)
    uv, z, in_view = project_points(transform_points(T_b_a, points), b.camera)
    column, row = np.floor(uv[in_view] + 0.5).astype(int).T
    depth = b.depth[row, column]
    hidden = np.isfinite(depth) & (z[in_view] > depth * (1 + HIDDEN_SHARE))
    seen = points[in_view][~hidden]
    centre_b = invert(T_b_a)[:3, 3]
    return len(seen) / len(points), _angles(seen, seen - centre_b)


def _matches(a: Corners, b: Corners) -> np.ndarray:
    """Return (M, 2) numbers of corners that are each other's nearest."""
    if not len(a.descriptors) or not len(b.descriptors):
        return np.empty((0, 2), int)
    found = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a.descriptors, b.descriptors)
    return np.array([(match.queryIdx, match.trainIdx) for match in found
                     if match.distance <= MAX_BITS], int).reshape(-1, 2)


def _rays(corners: Corners) -> np.ndarray:
    """Return (N, 3) directions with z = 1."""
    camera = corners.camera
    rays = np.ones((len(corners.uv), 3))
    rays[:, :2] = (corners.uv - (camera.cx, camera.cy)) / (camera.fx, camera.fy)
    return rays


def _estimated_motion(rays_a: np.ndarray, rays_b: np.ndarray,
                      pixel: float) -> tuple[np.ndarray, np.ndarray]:
    """
    Return the essential matrix that fits best, and the rotation R_b_a.

    It allows two rotations half a turn about the baseline apart; neighbouring views turn less
    than that, so the smaller one is taken. The least median tells a step aside from a turn where
    counting the matches within a threshold cannot; but where a turn alone moves half of the
    matches to within a pixel, the step is noise and the turn is taken.
    """
    focal = 1000.0   # OpenCV's limits are meant for pixels
    essential, _ = cv2.findEssentialMat(rays_a[:, :2] * focal, rays_b[:, :2] * focal,
                                        np.diag((focal, focal, 1.0)), cv2.LMEDS, 0.999)
    if essential is None or essential.shape != (3, 3):
        return np.full((3, 3), np.nan), np.eye(3)
    turn = _turn(rays_a, rays_b)
    if np.median(_angles(rays_a @ turn.T, rays_b)) <= pixel:
        return essential, turn
    return essential, max(cv2.decomposeEssentialMat(essential)[:2], key=np.trace)


def _turn(rays_a: np.ndarray, rays_b: np.ndarray) -> np.ndarray:
    """Return the rotation R_b_a that moves the rays best; then again without the worse half."""
    rotation, kept = np.eye(3), np.full(len(rays_a), True)
    for _ in range(3):
        a, b = (rays[kept] / np.linalg.norm(rays[kept], axis=1, keepdims=True)
                for rays in (rays_a, rays_b))
        u, _, vt = np.linalg.svd(b.T @ a)   # Kabsch
        rotation = u @ np.diag((1, 1, np.linalg.det(u @ vt))) @ vt
        angles = _angles(rays_a @ rotation.T, rays_b)
        kept = angles <= np.median(angles)
    return rotation


def _essential(T_b_a: np.ndarray) -> np.ndarray:
    x, y, z = T_b_a[:3, 3]
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ T_b_a[:3, :3]


def _epipolar_distance(rays_a: np.ndarray, rays_b: np.ndarray,
                       essential: np.ndarray) -> np.ndarray:
    """Return how far each b is from the epipolar line of its a, in focal lengths."""
    lines = rays_a @ essential.T
    return np.abs((lines * rays_b).sum(1)) / np.hypot(lines[:, 0], lines[:, 1]).clip(1e-12)


def _covered(corners: Corners, matched: np.ndarray) -> float:
    """Return the share of textured cells that hold a match."""
    size = corners.cells.max() + 1
    textured = np.bincount(corners.cells, minlength=size) >= MIN_CORNERS
    held = np.bincount(corners.cells[matched], minlength=size) > 0
    return float((textured & held).sum() / textured.sum()) if textured.any() else 0.0


def _angles(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the angle [rad] between each two directions (N, 3)."""
    return np.arctan2(np.linalg.norm(np.cross(first, second), axis=-1), (first * second).sum(-1))


def _median_deg(angles: np.ndarray) -> float:
    return math.degrees(float(np.median(angles))) if len(angles) else math.nan
