# SPDX-License-Identifier: Apache-2.0
"""Windows of an image that published experiments cut out."""
from crossview_ros.errors import DatasetError

KITTI_HW = (352, 1216)   # [px] of the window that all KITTI images have


def bottom_window(size_hw: tuple[int, int],
                  window_hw: tuple[int, int] = KITTI_HW) -> tuple[int, int, int, int]:
    """
    Place a window at the bottom of an image, in the middle of its width (simipu.md 11).

    :param size_hw: Of the image [px].
    :return: x, y, width, height [px].
    :raises DatasetError: If the image is smaller.
    """
    (rows, cols), (height, width) = size_hw, window_hw
    if rows < height or cols < width:
        raise DatasetError(f'expected an image of at least {height} x {width} px (h x w), which '
                           f'the window at its bottom has, got {rows} x {cols}')
    return (cols - width) // 2, rows - height, width, height
