# SPDX-License-Identifier: Apache-2.0
"""DisparityImage: principal points, invalid pixels, limits."""
from dataclasses import replace

from crossview_ros.errors import MessageError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.stereo import disparity_to_depth
from crossview_ros.messages.disparity_image import read_disparity_image, write_disparity_image
import numpy as np
import pytest

DISPARITY = 'stereo_msgs/msg/DisparityImage'
CAMERA = PinholeCamera(7, 5, 100.0, 100.0, 3.0, 2.0)
RIG = StereoRig(CAMERA, CAMERA, 0.25)
SHIFTED = StereoRig(CAMERA, replace(CAMERA, cx=8.0), 0.25)
HEADER = 1_500_000_000, 'left_optical'


@pytest.fixture
def disparity(rng):
    """Return disparities of 1 to 30 px, three of them invalid."""
    values = rng.uniform(1, 30, (5, 7)).astype(np.float32)
    values[0, :3] = np.nan, np.inf, -6.0
    return values


@pytest.mark.parametrize('rig', [RIG, SHIFTED])
def test_depth_of_the_message_is_that_of_the_rig(messages, disparity, rig):
    message = messages.blank(DISPARITY)
    assert write_disparity_image(message, disparity, rig, 0.5, 50, *HEADER) is message
    sent = messages.sent(message, DISPARITY)
    depth = np.float32(sent.f * sent.t) / read_disparity_image(sent)
    np.testing.assert_allclose(depth, disparity_to_depth(disparity, rig), rtol=1e-6)
    assert np.isnan(depth).sum() == 3
    assert (sent.f, sent.t) == (100, 0.25)


def test_invalid_pixels_are_minus_one(messages, disparity):
    disparity[1, 1] = 0
    sent = messages.sent(write_disparity_image(messages.blank(DISPARITY), disparity, RIG, 0.5, 50,
                                               *HEADER), DISPARITY)
    values = np.frombuffer(sent.image.data, np.float32).reshape(5, 7)
    assert (values[0, :3] == -1).all() and values[1, 1] == -1
    assert np.isfinite(values).all() and (values == -1).sum() == 4
    assert sent.image.encoding == '32FC1'


def test_limits_and_headers_are_those_of_the_conventions(messages, disparity):
    sent = messages.sent(write_disparity_image(messages.blank(DISPARITY), disparity, SHIFTED, 0.5,
                                               50, *HEADER), DISPARITY)
    assert sent.min_disparity == 0.5 and sent.max_disparity == 50   # f t / Z
    assert sent.delta_d == 1 / 16
    window = sent.valid_window
    assert (window.x_offset, window.y_offset, window.height, window.width,
            window.do_rectify) == (0, 0, 5, 7, False)
    for header in (sent.header, sent.image.header):
        assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (
            1, 500_000_000, 'left_optical')


def test_what_is_below_min_disparity_is_invalid(plain, disparity):
    message = write_disparity_image(plain.blank(DISPARITY), disparity, RIG, 0.5, 50, *HEADER)
    message.min_disparity = 15.0
    read = read_disparity_image(message)
    expected = np.where(np.isfinite(disparity) & (disparity >= 15), disparity, np.nan)
    np.testing.assert_array_equal(read, expected)
    message.min_disparity = float('nan')
    assert np.isfinite(read_disparity_image(message)).sum() == 32


@pytest.mark.parametrize('limits', [(0, 50), (5, 5), (5, 1), (1, float('inf')), (float('nan'), 2)])
def test_limits_that_give_no_range_are_refused(plain, disparity, limits):
    with pytest.raises(MessageError, match='depth limits must be 0 < min < max'):
        write_disparity_image(plain.blank(DISPARITY), disparity, RIG, *limits, *HEADER)


def test_a_disparity_of_another_size_is_refused(plain):
    with pytest.raises(MessageError, match=r'disparity is \(4, 7\) but the rig is \(5, 7\)'):
        write_disparity_image(plain.blank(DISPARITY), np.ones((4, 7)), RIG, 1, 5, *HEADER)


def test_an_image_of_two_channels_is_no_disparity(plain, disparity):
    message = write_disparity_image(plain.blank(DISPARITY), disparity, RIG, 0.5, 50, *HEADER)
    message.image.encoding, message.image.width, message.image.step = '32FC2', 3, 28
    with pytest.raises(MessageError, match='expected encoding 32FC1, got 32FC2'):
        read_disparity_image(message)


def test_truth_of_a_real_bag_keeps_all_its_pixels(bag_messages, shared_dir):
    cv2 = pytest.importorskip('cv2')
    read = read_disparity_image(bag_messages('middlebury_motorcycle', '/ground_truth/disparity'))
    png = cv2.imread(str(shared_dir / 'data/stereo/motorcycle/disp_gt.png'), cv2.IMREAD_UNCHANGED)
    assert np.isfinite(read).mean() == pytest.approx((png > 0).mean(), abs=0.001)
