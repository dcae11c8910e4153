# SPDX-License-Identifier: Apache-2.0
"""Raw images of a bag are rectified where asked for, and only there."""
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.inputs import InputReader
from crossview_ros.replay.pairing import frames_of, pairer_of
from crossview_ros.replay.rectified import RectifiedImages
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import find_input_topics
import numpy as np
import pytest


def camera_info(shift_px=0.0, model='plumb_bob', d=(0.0,) * 5):
    """Return the CameraInfo of an ideal camera; P moves the image by shift_px to the right."""
    k = np.array([100.0, 0, 23.5, 0, 100.0, 15.5, 0, 0, 1])
    p = np.array([100.0, 0, 23.5 + shift_px, 0, 0, 100.0, 15.5, 0, 0, 0, 1, 0])
    return SimpleNamespace(
        height=32, width=48, distortion_model=model, d=np.array(d), k=k, r=np.eye(3).reshape(-1),
        p=p, binning_x=0, binning_y=0, header=SimpleNamespace(frame_id='camera'),
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0))


def test_an_ideal_camera_stays_as_it_is(rng):
    image = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(RectifiedImages().of('/a', image, camera_info())[0], image)


def test_the_maps_follow_the_camera_info_and_the_camera(rng):
    image = rng.integers(0, 256, (32, 48, 3), dtype=np.uint8)
    images = RectifiedImages()
    images.of('/a', image, camera_info())
    for _ in range(2):
        moved, visible = images.of('/a', image, camera_info(shift_px=5.0))
        np.testing.assert_array_equal(moved[:, 5:], image[:, :-5])
        assert visible[:, 5:].all() and not visible[:, :5].any()
    np.testing.assert_array_equal(images.of('/b', image, camera_info())[0], image)


def test_an_unknown_distortion_is_refused():
    with pytest.raises(CalibrationError, match="'fisheye62' is unknown"):
        RectifiedImages().of('/a', np.zeros((32, 48, 3), np.uint8),
                             camera_info(model='fisheye62', d=(0.1,) * 5))


def test_rows_of_a_recorded_raw_pair_agree_after_rectification(shared_dir):
    def row_error(rectify):
        import cv2
        with Bag(shared_dir / 'data' / 'bags' / 'euroc_v101_static_a') as bag:
            topics = find_input_topics(bag)
            reader = InputReader(topics, StaticTransforms.of_bag(bag), rectify)
            data = reader.read(next(frames_of(bag, topics, pairer_of(topics, 0))))
        orb = cv2.ORB_create(500)
        (left, one), (right, two) = (orb.detectAndCompute(image, None)
                                     for image in (data.left, data.right))
        matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(one, two)
        return np.median([abs(left[m.queryIdx].pt[1] - right[m.trainIdx].pt[1])
                          for m in matches if m.distance < 40])
    assert row_error(True) < 0.6 < 2.0 < row_error(False)   # ORB finds corners to half a pixel
