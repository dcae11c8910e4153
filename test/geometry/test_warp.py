# SPDX-License-Identifier: Apache-2.0
"""Warping against a slow loop and against images whose values are known between pixels."""
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.flow import forward_backward_error, warp_by_disparity, warp_image
import numpy as np
import pytest


def warp_slowly(image, flow):
    """Interpolate pixel by pixel: the oracle."""
    rows, cols = flow.shape[:2]
    out = np.full((rows, cols, image.shape[2]), np.nan)
    for row in range(rows):
        for col in range(cols):
            x, y = col + float(flow[row, col, 0]), row + float(flow[row, col, 1])
            if not (0 <= x <= image.shape[1] - 1 and 0 <= y <= image.shape[0] - 1):
                continue
            total = 0.0
            for j in (int(np.floor(y)), int(np.floor(y)) + 1):
                for i in (int(np.floor(x)), int(np.floor(x)) + 1):
                    weight = (1 - abs(x - i)) * (1 - abs(y - j))
                    if weight > 0:
                        total = total + weight * image[j, i].astype(np.float64)
            out[row, col] = total
    return out


def test_warp_equals_interpolating_pixel_by_pixel(rng):
    image = rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)
    flow = rng.uniform(-4, 4, (9, 12, 2)).astype(np.float32)
    flow[2, 3] = np.nan
    flow[0, 0] = 0
    out = warp_image(image, flow)
    np.testing.assert_allclose(out, warp_slowly(image, flow), rtol=1e-5)
    assert out.dtype == np.float32 and np.isnan(out[2, 3]).all()
    np.testing.assert_array_equal(out[0, 0], image[0, 0])


def test_a_plane_of_grey_stays_exact_between_pixels(rng):
    v, u = np.mgrid[:20, :30].astype(np.float32)
    flow = rng.uniform(-0.5, 0.5, (20, 30, 2)).astype(np.float32)
    out = warp_image(3 * u + 2 * v, flow)
    inside = np.isfinite(out)
    expected = 3 * (u + flow[..., 0]) + 2 * (v + flow[..., 1])
    np.testing.assert_allclose(out[inside], expected[inside], atol=1e-4)
    assert inside[1:-1, 1:-1].all()


def test_zero_flow_returns_the_image_to_its_last_pixel_even_beside_nan(rng):
    image = rng.normal(size=(5, 6)).astype(np.float32)
    image[2, 3] = np.nan
    np.testing.assert_array_equal(warp_image(image, np.zeros((5, 6, 2), np.float32)), image)


def test_right_image_warped_by_disparity_is_the_left_one(rng):
    wide = rng.integers(0, 256, (8, 30, 3), dtype=np.uint8)
    left, right = wide[:, :24], wide[:, 6:]   # right(x) = left(x + 6)
    out = warp_by_disparity(right, np.full((8, 24), 6, np.float32))
    np.testing.assert_array_equal(out[:, 6:], left[:, 6:])
    assert np.isnan(out[:, :6]).all()


def test_flow_there_and_back_has_no_error():
    there = np.full((6, 8, 2), (1.5, -0.5), np.float32)
    error = forward_backward_error(there, -there)
    assert np.nanmax(error) == 0
    assert np.isnan(error[0]).all() and np.isnan(error[:, -1]).all()   # leaves the image


def test_forward_backward_error_is_the_length_of_what_is_left():
    there = np.zeros((4, 4, 2), np.float32)
    back = np.full((4, 4, 2), (3, 4), np.float32)
    np.testing.assert_allclose(forward_backward_error(there, back), 5)


def test_wrong_shapes_are_refused():
    with pytest.raises(DatasetError, match=r'flow must be \(height, width, 2\), got \(4, 4\)'):
        warp_image(np.ones((4, 4)), np.ones((4, 4)))
    with pytest.raises(DatasetError, match=r'disparity is \(4, 5\) but the image is \(4, 4\)'):
        warp_by_disparity(np.ones((4, 4)), np.ones((4, 5)))
