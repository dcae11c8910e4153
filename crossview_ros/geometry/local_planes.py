# SPDX-License-Identifier: Apache-2.0
"""
A dense image of inverse depth from sparse points, by robust local planes guided by the image.

Inverse depth of a plane is affine in the pixel, 1/z = a + b u + c v: a fit of it is exact on
ground and walls, however far apart the rings of a LiDAR lie, where one of depth bends.
"""
from dataclasses import dataclass

import cv2
import numpy as np

NUM_CELLS = 14_000        # planes are fitted in so many cells of the image
NUM_NEIGHBOURS = 20       # points that a plane is fitted to
# Points of a spinning LiDAR lie closer along a ring than the rings do: columns count more.
COLUMN_STRETCH = 3.0
COLOUR_SIGMA = 12.0       # CIE Lab difference to the cell that lowers the weight of a point
COLOUR_FLOOR = 1e-3       # weight of a point of any other colour
RIDGE = 1e-3              # keeps planes level where all points lie on one line
OTHER_SURFACE = 0.05      # share of the depth beyond which a point belongs to another surface
NUM_ROBUST_STEPS = 3
GUIDE_NOISE = 0.1         # share of the depth: shapes of the guide below it are not followed
OVERSHOOT = 1.1           # a plane may leave the range of its points by this factor
_KDTREE_SINGLE = 4        # cv2.flann: one tree, the exact answer


@dataclass(frozen=True)
class InverseDepthField:
    """Inverse depth of a whole image from points, and how far it can be trusted."""

    inverse_depth: np.ndarray   # (H, W) float32 [1/m], > 0
    spread: np.ndarray          # (H, W) float32, rms of the points about it, share of the depth
    distance_px: np.ndarray     # (H, W) float32 [px] to the nearest point


def fit_inverse_depth(uv: np.ndarray, inverse_depth: np.ndarray, image: np.ndarray,
                      guide: np.ndarray | None = None) -> InverseDepthField:
    """
    Fit a plane to the points around each cell of the image, and draw the planes.

    A point weighs less the farther it lies from the cell, in the image and in colour, and the
    less it agrees with the surface that most of the others lie on. Where the guide varies as the
    points do, the planes are fitted to what it leaves, so that its shape shows between them.

    :param uv: (N, 2) [px], N >= 1.
    :param inverse_depth: (N,) [1/m], > 0.
    :param image: (H, W, 3) uint8 RGB.
    :param guide: (H, W) float32 [1/m], a dense inverse depth of lesser accuracy, or None.

    Source: moving least squares (Lancaster and Salkauskas 1981) with bilateral weights and a
    Cauchy loss.
    """
    size_hw = image.shape[:2]
    grid = _Grid.of(size_hw)
    uv = np.asarray(uv, np.float32)
    near = _neighbours(uv, grid, image)
    values = np.asarray(inverse_depth, np.float32)[near.index]
    gain, rest = None, values
    if guide is not None:
        shape = _sampled(guide, uv)[near.index]
        gain = _gain(near, values, shape)
        rest = values - gain * shape
    a, b, c, spread = _robust_planes(near, rest, values)
    b, c = b / near.reach, c / near.reach
    a = a - b * grid.u - c * grid.v   # at pixel (0, 0): planes blend where these are blended
    draw = grid.draw
    field = draw(a) + draw(b) * np.arange(size_hw[1], dtype=np.float32)
    field += draw(c) * np.arange(size_hw[0], dtype=np.float32)[:, None]
    if gain is not None:
        field += draw(gain) * guide
    low, high = draw(values.min(0) / OVERSHOOT), draw(values.max(0) * OVERSHOOT)
    return InverseDepthField(np.clip(field, low, high), draw(spread), draw(near.nearest))


@dataclass(frozen=True)
class _Grid:
    """Cells that tile an image; n of them."""

    size_hw: tuple[int, int]
    shape: tuple[int, int]   # (rows, columns) of cells
    u: np.ndarray            # (n,) float32 [px] centres
    v: np.ndarray

    @staticmethod
    def of(size_hw: tuple[int, int]) -> '_Grid':
        height, width = size_hw
        step = max(1, round((height * width / NUM_CELLS) ** 0.5))
        rows, columns = -(-height // step), -(-width // step)
        v = (np.arange(rows, dtype=np.float32) + 0.5) * height / rows - 0.5
        u = (np.arange(columns, dtype=np.float32) + 0.5) * width / columns - 0.5
        return _Grid(size_hw, (rows, columns), np.tile(u, rows), np.repeat(v, columns))

    def draw(self, values: np.ndarray) -> np.ndarray:
        """Blend (n,) values of the cells into an image."""
        return cv2.resize(np.ascontiguousarray(values, np.float32).reshape(self.shape),
                          self.size_hw[::-1], interpolation=cv2.INTER_LINEAR)

    def cell_of(self, uv: np.ndarray) -> np.ndarray:
        """Return the (N,) indices of the cells that points lie in."""
        (height, width), (rows, columns) = self.size_hw, self.shape
        column = np.clip((uv[:, 0] + 0.5) * columns / width, 0, columns - 1).astype(np.int64)
        row = np.clip((uv[:, 1] + 0.5) * rows / height, 0, rows - 1).astype(np.int64)
        return row * columns + column


@dataclass(frozen=True)
class _Neighbours:
    """The K points around each of n cells."""

    index: np.ndarray     # (K, n) of the points
    x: np.ndarray         # (K, n) offset from the cell, in reaches
    y: np.ndarray
    weight: np.ndarray    # (K, n) by distance and colour
    reach: np.ndarray     # (n,) [px] to the farthest
    nearest: np.ndarray   # (n,) [px] to the nearest


def _neighbours(uv: np.ndarray, grid: _Grid, image: np.ndarray) -> _Neighbours:
    stretch = np.array([COLUMN_STRETCH, 1.0], np.float32)
    centres = np.stack((grid.u, grid.v), axis=1)
    index, squared = nearest_points(uv * stretch, centres * stretch, NUM_NEIGHBOURS)
    index, distance = np.ascontiguousarray(index.T), np.sqrt(np.ascontiguousarray(squared.T))
    reach = distance[-1] + np.float32(1e-3)
    x = (uv[:, 0][index] - grid.u) / reach
    y = (uv[:, 1][index] - grid.v) / reach
    small = cv2.resize(image, grid.shape[::-1], interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB).reshape(-1, 3)
    of_points = lab[grid.cell_of(uv)]
    colour = sum((of_points[:, i][index] - lab[:, i]) ** 2 for i in range(3))
    weight = np.exp(-2 * (distance / reach) ** 2) / (distance + 1)
    weight *= np.exp(colour * np.float32(-0.5 / COLOUR_SIGMA ** 2)) + np.float32(COLOUR_FLOOR)
    return _Neighbours(index, x, y, weight, reach, np.hypot(x[0], y[0]) * reach)


def nearest_points(points: np.ndarray, queries: np.ndarray,
                   count: int) -> tuple[np.ndarray, np.ndarray]:
    """
    Find the points nearest to each query, exactly.

    :param points: (N, D) float32, N >= 1.
    :param queries: (M, D) float32.
    :return: (M, K) int32 indices, nearest first, and (M, K) float32 squared distances; K =
        min(count, N).
    """
    points = np.ascontiguousarray(points, np.float32)   # the tree refers to this memory
    tree = cv2.flann.Index(points, {'algorithm': _KDTREE_SINGLE})
    index, squared = tree.knnSearch(np.ascontiguousarray(queries, np.float32),
                                    min(count, len(points)), params={})
    return index, squared


def _sampled(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    return cv2.remap(image, uv[:, None, 0], uv[:, None, 1], cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)[:, 0]


def _gain(near: _Neighbours, values: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """Return how much of the guide's shape, 0..1, the points follow beyond a plane: (n,)."""
    of_values = values - _on_planes(near, values, near.weight)
    of_shape = shape - _on_planes(near, shape, near.weight)
    mean = _sum(near.weight, values) / near.weight.sum(0)
    noise = (GUIDE_NOISE * mean) ** 2 * near.weight.sum(0)
    weighted = near.weight * of_shape
    return np.clip(_sum(weighted, of_values) / (_sum(weighted, of_shape) + noise), 0, 1)


def _robust_planes(near: _Neighbours, rest: np.ndarray, values: np.ndarray) -> tuple:
    """Return a, b, c (n,) of a + b x + c y, and the rms of what it leaves as share of values."""
    weight = near.weight
    for _ in range(NUM_ROBUST_STEPS):
        residual = (_on_planes(near, rest, weight) - rest) / values
        weight = near.weight / (1 + (residual * np.float32(1 / OTHER_SURFACE)) ** 2)
    a, b, c = _planes(near, rest, weight)
    residual = np.clip((a + b * near.x + c * near.y - rest) / values, -1, 1)
    spread = np.sqrt(_sum(near.weight * residual, residual) / near.weight.sum(0))
    return a, b, c, spread


def _on_planes(near: _Neighbours, values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    a, b, c = _planes(near, values, weight)
    return a + b * near.x + c * near.y


def _planes(near: _Neighbours, values: np.ndarray, weight: np.ndarray) -> tuple:
    """Return the (n,) coefficients of the weighted least squares fit a + b x + c y."""
    x, y = near.x, near.y
    total = weight.sum(0)
    weighted_x, weighted_y = weight * x, weight * y
    mean_x, mean_y = weighted_x.sum(0) / total, weighted_y.sum(0) / total
    mean = _sum(weight, values) / total
    xx = _sum(weighted_x, x) / total - mean_x ** 2 + np.float32(RIDGE)
    xy = _sum(weighted_x, y) / total - mean_x * mean_y
    yy = _sum(weighted_y, y) / total - mean_y ** 2 + np.float32(RIDGE)
    xq = _sum(weighted_x, values) / total - mean_x * mean
    yq = _sum(weighted_y, values) / total - mean_y * mean
    determinant = xx * yy - xy * xy   # > RIDGE^2: the moments are those of a covariance
    b = (xq * yy - yq * xy) / determinant
    c = (yq * xx - xq * xy) / determinant
    return mean - b * mean_x - c * mean_y, b, c


def _sum(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.einsum('kn,kn->n', left, right)
