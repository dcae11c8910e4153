# SPDX-License-Identifier: Apache-2.0
"""What a CameraInfo says of ROI and binning holds for the maps that rectify."""
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError
from crossview_ros.messages.camera_info import read_camera
from crossview_ros.messages.rectifier import read_rectifier
import cv2
import numpy as np
import pytest

SIZE_HW = (96, 128)


def camera_info(roi=(0, 0, 0, 0), binning=(0, 0), **changes):
    """Return the CameraInfo of a bent, turned camera; roi is x, y, width, height [px]."""
    values = {
        'height': SIZE_HW[0], 'width': SIZE_HW[1], 'distortion_model': 'plumb_bob',
        'd': np.array((-0.25, 0.08, 0.001, -0.002, 0.0)),
        'k': np.array((110.0, 0, 62, 0, 112, 47, 0, 0, 1)),
        'r': cv2.Rodrigues(np.array((0.01, -0.02, 0.01)))[0].reshape(-1),
        'p': np.array((100.0, 0, 64, 0, 0, 100, 48, 0, 0, 0, 1, 0)),
        'roi': SimpleNamespace(**dict(zip(('x_offset', 'y_offset', 'width', 'height'), roi))),
        'binning_x': binning[0], 'binning_y': binning[1], **changes}
    return SimpleNamespace(**values)


@pytest.fixture
def smooth(rng):
    """Return a smooth image of the whole sensor, whose every part looks different."""
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, SIZE_HW[::-1], interpolation=cv2.INTER_CUBIC)


def test_a_window_of_the_sensor_gives_that_window_of_the_rectified_image(smooth):
    whole = read_rectifier(camera_info())(smooth)
    x, y, width, height = 20, 12, 80, 60
    part = read_rectifier(camera_info((x, y, width, height)))(smooth[y:y + height, x:x + width])
    inside = np.s_[8:-8, 8:-8]   # at its border the window lacks pixels that the sensor has
    np.testing.assert_allclose(part[inside], whole[y:y + height, x:x + width][inside], atol=1)


def test_every_other_pixel_gives_every_other_pixel(smooth):
    whole = read_rectifier(camera_info())(smooth)
    small = read_rectifier(camera_info(binning=(2, 2)))(np.ascontiguousarray(smooth[::2, ::2]))
    error = np.abs(small.astype(int) - whole[::2, ::2])[4:-4, 4:-4]
    # twice the spacing of the samples: what is between them bends a little
    assert error.mean() < 1.5 < 10 < np.abs(
        small.astype(int) - smooth[::2, ::2])[4:-4, 4:-4].mean()


def test_the_size_is_that_of_the_camera_that_is_read():
    info = camera_info((4, 6, 90, 70), (2, 1))
    assert read_rectifier(info).size_hw == read_camera(info).size_hw == (70, 45)


def test_what_is_wrong_names_the_topic():
    with pytest.raises(CalibrationError, match="/left/info: distortion model 'barrel' is unknown"):
        read_rectifier(camera_info(distortion_model='barrel'), '/left/info')
