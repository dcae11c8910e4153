# SPDX-License-Identifier: Apache-2.0
"""The window at the bottom of an image lies where the published crops lie."""
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.windows import bottom_window
import pytest


@pytest.mark.parametrize('size_hw, corner', [
    ((375, 1242), (13, 23)), ((376, 1241), (12, 24)), ((352, 1216), (0, 0))])   # left, top
def test_kitti_images_lose_what_is_above_and_beside(size_hw, corner):
    assert bottom_window(size_hw) == (*corner, 1216, 352)


def test_a_smaller_image_is_refused():
    with pytest.raises(DatasetError, match='at least 352 x 1216 px .*got 351 x 1300'):
        bottom_window((351, 1300))
