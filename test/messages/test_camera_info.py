# SPDX-License-Identifier: Apache-2.0
"""CameraInfo: which matrix counts, ROI and binning, and the pre-flight of a stereo pair."""
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.messages.camera_info import (
    read_baseline, read_camera, read_stereo_rig, write_camera_info)
import numpy as np
import pytest

INFO = 'sensor_msgs/msg/CameraInfo'
CAMERA = PinholeCamera(640, 480, 500.0, 510.0, 321.5, 238.25)
STAMP, FRAME = 1_700_000_000_123_456_789, 'camera_left_optical_frame'


def info(p=(), k=(), roi=None, **fields):
    """Return a CameraInfo by hand; ``p`` and ``k`` change single entries."""
    k_values = [400.0, 0, 300, 0, 410, 200, 0, 0, 1]
    p_values = [500.0, 0, 321.5, 0, 0, 510, 238.25, 0, 0, 0, 1, 0]
    for values, changes in ((k_values, dict(k)), (p_values, dict(p))):
        for index, value in changes.items():
            values[index] = value
    window = dict(zip(('x_offset', 'y_offset', 'width', 'height'), roi or (0, 0, 0, 0)))
    return SimpleNamespace(**{'width': 640, 'height': 480, 'k': k_values, 'p': p_values,
                              'd': [], 'binning_x': 0, 'binning_y': 0,
                              'roi': SimpleNamespace(**window), **fields})


def right_info(baseline=0.12, **changes):
    """Return the CameraInfo of a right camera."""
    p = {3: -500.0 * baseline, **dict(changes.pop('p', ()))}
    return info(p=p, **changes)


def test_the_rectified_image_has_p_and_the_raw_one_k():
    assert read_camera(info()) == CAMERA
    assert read_camera(info(), rectified=False) == PinholeCamera(640, 480, 400, 410, 300, 200)


def test_written_camera_is_read_back(messages):
    message = messages.blank(INFO)
    assert write_camera_info(message, CAMERA, STAMP, FRAME) is message
    sent = messages.sent(message, INFO)
    assert read_camera(sent) == read_camera(sent, rectified=False) == CAMERA
    assert sent.distortion_model == 'plumb_bob' and list(sent.d) == [0] * 5
    np.testing.assert_array_equal(np.reshape(sent.r, (3, 3)), np.eye(3))
    np.testing.assert_array_equal(np.reshape(sent.p, (3, 4))[:, :3], np.reshape(sent.k, (3, 3)))
    assert sent.p[3] == 0 and sent.header.frame_id == FRAME


def test_written_rig_is_read_back(messages):
    right = PinholeCamera(640, 480, 500.0, 510.0, 330.0, 238.25)
    sent = [messages.sent(write_camera_info(messages.blank(INFO), camera, STAMP, FRAME, baseline),
                          INFO) for camera, baseline in ((CAMERA, 0.0), (right, 0.12))]
    rig = read_stereo_rig(*sent)
    assert (rig.left, rig.right, rig.baseline) == (CAMERA, right, pytest.approx(0.12))
    assert sent[1].p[3] == pytest.approx(-60)   # -fx * B


def test_roi_moves_the_principal_point_and_binning_divides():
    # sensor_msgs/CameraInfo: the ROI is in pixels of the unbinned image
    camera = read_camera(info(roi=(100, 50, 320, 241), binning_x=2, binning_y=4))
    assert camera == PinholeCamera(160, 60, 250, 127.5, 221.5 / 2, 188.25 / 4)


def test_roi_of_the_whole_image_and_binning_of_one_change_nothing():
    assert read_camera(info(roi=(0, 0, 640, 480), binning_x=1, binning_y=1)) == CAMERA


@pytest.mark.parametrize('change, text', [
    ({'k': {0: 0.0}}, r'left camera_info: K\[0\] is 0, so the camera is not calibrated'),
    ({'p': {0: 0.0}}, r'left camera_info: P\[0\] is 0, so nothing is known of the rectified'),
    ({'p': {0: np.nan}}, 'left camera_info: camera fx must be a finite number'),
    ({'p': {2: np.inf}}, 'left camera_info: camera cx must be a finite number'),
    ({'p': {5: -510.0}}, 'left camera_info: camera fy must be greater than 0'),
    ({'width': 0}, 'left camera_info: camera width must be .* got 0'),
    ({'height': 2 ** 31}, 'left camera_info: camera height must be .* got 2147483648'),
    ({'roi': (600, 0, 100, 100)}, 'left camera_info: a crop of 100x100 px at .* reaches out'),
    ({'roi': (5, 5, 0, 0)}, 'left camera_info: camera width must be .* got 0'),
    ({'binning_x': 1000}, 'left camera_info: camera width must be .* got 0'),
])
def test_an_impossible_camera_is_refused_with_the_name_of_its_message(change, text):
    with pytest.raises(CalibrationError, match=text):
        read_stereo_rig(info(**change), right_info())


def test_matrices_of_another_size_are_refused():
    message = info()
    message.p = [1.0] * 9
    with pytest.raises(CalibrationError, match='P must hold 12 numbers, got 9'):
        read_camera(message)
    message.k = []
    with pytest.raises(CalibrationError, match='K must hold 9 numbers, got 0'):
        read_camera(message)


@pytest.mark.parametrize('left, right, text', [
    (info(), right_info(-0.12),
     r'right camera_info gives baseline -0.120 m \(P\[3\] = 60 > 0\); are left and right swapped'),
    (right_info(), info(), r'left camera_info has P\[3\] = -60, .* are left and right swapped'),
    (info(), right_info(0.0), r'right camera_info gives no baseline: P\[3\] is 0, expected -fx'),
    (info(), right_info(120.0), 'baseline is 120.000 m, more than 10 m: it is likely millimetres'),
    (info(), right_info(p={3: np.nan}), r'right camera_info: P\[0\] = 500 and P\[3\] = nan'),
    (info(), right_info(width=320), 'left image is 640x480 px but right is 320x480'),
    (info(), right_info(p={0: 490.0}), 'left fx is 500 px but right fx is 490; .* not rectified'),
    (info(), right_info(p={5: 500.0}), 'left fy is 510 px but right fy is 500; .* not rectified'),
    (info(), right_info(p={6: 250.0}), 'left cy is 238.25 px but right cy is 250; rows do not'),
])
def test_what_is_no_rectified_pair_is_refused_in_plain_words(left, right, text):
    with pytest.raises(CalibrationError, match=text):
        read_stereo_rig(left, right)


def test_the_fallback_serves_only_where_no_baseline_is_given():
    assert read_stereo_rig(info(), right_info(0.0), baseline_fallback=0.05).baseline == 0.05
    assert read_stereo_rig(info(), right_info(0.12), baseline_fallback=0.05).baseline == 0.12
    with pytest.raises(CalibrationError, match='swapped'):
        read_stereo_rig(info(), right_info(-0.12), baseline_fallback=0.05)
    with pytest.raises(CalibrationError, match='baseline is -0.050 m; .* swapped'):
        read_stereo_rig(info(), right_info(0.0), baseline_fallback=-0.05)


def test_binning_of_both_cameras_keeps_the_baseline():
    rig = read_stereo_rig(info(binning_x=2, binning_y=2), right_info(binning_x=2, binning_y=2))
    assert rig.left.fx == 250 and rig.baseline == pytest.approx(0.12)


def test_baseline_is_minus_p3_over_p0():
    assert read_baseline(right_info(0.12)) == pytest.approx(0.12)
    assert read_baseline(info()) == 0


@pytest.mark.parametrize('bag, namespace, baseline, doffs', [
    ('kitti_raw_residential_a', '/stereo/{}', 0.5372, 0.0),
    ('middlebury_motorcycle', '/stereo/{}', 0.193001, 31.086),
    ('euroc_v101_static_a', '/cam{}', 0.1101, 0.0),
])
def test_rigs_of_real_bags_have_their_known_baselines(bag_messages, bag, namespace, baseline,
                                                      doffs):
    sides = ('0', '1') if bag.startswith('euroc') else ('left', 'right')
    rig = read_stereo_rig(*(bag_messages(bag, f'{namespace.format(side)}/camera_info')
                            for side in sides))
    assert rig.baseline == pytest.approx(baseline, abs=1e-4)
    assert rig.doffs == pytest.approx(doffs, abs=1e-3)
