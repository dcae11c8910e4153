# SPDX-License-Identifier: Apache-2.0
"""Look up image features where points of a cloud are seen (simipu.md 5)."""
from torch import nn, Tensor

SMALLEST_DEPTH_M = 1e-5   # points behind the camera: far out of the image


def transform_points(matrix: Tensor, points: Tensor) -> Tensor:
    """
    Map points by affine matrices.

    :param matrix: (B, R, D + 1).
    :param points: (B, N, D).
    :return: (B, N, R).
    """
    matrix = matrix[:, None]   # products by element: a matmul may run at reduced precision
    return (points[:, :, None] * matrix[..., :-1]).sum(-1) + matrix[..., -1]


def project_points(points: Tensor, lidar_to_image: Tensor, image_transform: Tensor) -> Tensor:
    """
    Find the pixels of points in images that were resized, cropped or mirrored.

    :param points: (B, N, 3) [m], lidar frame.
    :param lidar_to_image: (B, 3, 4), into homogeneous pixels of the original image.
    :param image_transform: (B, 2, 3), from pixels of the original image into the given one's.
    :return: (B, N, 2) (u, v) [px]; huge for points behind the camera.
    """
    homogeneous = transform_points(lidar_to_image, points)
    depth = homogeneous[..., 2:].clamp_min(SMALLEST_DEPTH_M)
    return transform_points(image_transform, homogeneous[..., :2] / depth)


def sampling_grid(pixels: Tensor, size_hw: Tensor) -> Tensor:
    """
    Scale pixels to [-1, 1] from edge to edge of an image.

    :param pixels: (B, N, 2) (u, v) [px].
    :param size_hw: (B, 2) or (2,) [px].
    :return: (B, N, 2) (x, y).
    """
    return 2 * pixels / size_hw.flip(-1).view(-1, 1, 2).to(pixels) - 1


def sample_map(feature_map: Tensor, grid: Tensor) -> Tensor:
    """
    Interpolate a map bilinearly; beyond its border it is zero.

    :param feature_map: (B, C, h, w).
    :param grid: (B, N, 2) (x, y), -1 and 1 at the centres of the outermost cells.
    :return: (B, N, C).
    """
    sampled = nn.functional.grid_sample(feature_map.to(grid.dtype), grid[:, :, None],
                                        padding_mode='zeros', align_corners=True)
    return sampled[..., 0].transpose(1, 2)
