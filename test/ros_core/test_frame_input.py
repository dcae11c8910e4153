# SPDX-License-Identifier: Apache-2.0
"""One camera, raw images and compressed images, read from matched messages."""
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError, MessageError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.rectification import Rectifier
from crossview_ros.ros.frame_input import SequentialReader, StereoReader
from crossview_ros.ros.streams import streams
from crossview_ros.ros.synchronizer import MatchedSet
import cv2
import numpy as np
import pytest
from stereo_messages import camera_info, header, image, stereo_messages

RAW = {'image': '/cam/image_raw', 'info': '/cam/camera_info'}
DISTORTION = (-0.3, 0.1, 0.001, 0.002, 0.0)


def one_camera(**info_changes):
    """Return the matched messages of one camera, with texture."""
    picture, info = image(), camera_info()
    picture.data = np.arange(48, dtype=np.uint8) * 5
    for name, value in info_changes.items():
        setattr(info, name, value)
    return MatchedSet(7, {'image': picture, 'info': info}, 0)


def test_one_camera_gives_an_image_and_a_camera():
    reader = SequentialReader(RAW)
    data = reader.read(one_camera())
    assert data.right is None and isinstance(data.rig, PinholeCamera)
    assert reader.rig is data.rig and not reader.notes
    assert (data.stamp_ns, data.frame_id) == (7, 'left_optical')


def test_raw_images_without_rectify_are_noticed_and_not_touched():
    reader = SequentialReader(RAW)
    matched = one_camera(d=np.array(DISTORTION))
    data = reader.read(matched)
    assert np.array_equal(data.left[..., 0].ravel(), matched.messages['image'].data)
    assert len(reader.notes) == 1 and 'set rectify' in reader.notes[0]
    reader = SequentialReader({**RAW, 'image': '/cam/image_rect'})
    reader.read(matched)
    assert not reader.notes   # the name says that it is rectified


def test_rectify_moves_pixels_as_the_calibration_says():
    matched = one_camera(d=np.array(DISTORTION), k=np.array([9.0, 0, 3.5, 0, 9, 2.5, 0, 0, 1]),
                         p=np.array([8.0, 0, 3.5, 0, 0, 8, 2.5, 0, 0, 0, 1, 0]))
    reader = SequentialReader(RAW, rectify=True)
    data = reader.read(matched)
    info = matched.messages['info']
    expected = Rectifier(info.k.reshape(3, 3), info.d, np.eye(3), info.p.reshape(3, 4),
                         'plumb_bob', (6, 8))(SequentialReader(RAW).read(matched).left)
    assert np.array_equal(data.left, expected)
    assert data.rig.fx == 8 and not reader.notes


def test_both_images_of_a_pair_are_rectified():
    messages = stereo_messages()
    rng = np.random.default_rng(0)
    for side in ('left', 'right'):
        messages[f'{side}_image'].data = rng.integers(0, 255, 48, np.uint8)
        messages[f'{side}_info'].d = np.array((-4000.0, 0, 0, 0, 0))   # strong at fx = 200 px
    topics = {name: f'/{name}' for name in messages}
    raw, rectified = (StereoReader(topics, lambda left, right: None, rectify).read(
        MatchedSet(1, messages, 0)) for rectify in (False, True))
    assert not np.array_equal(raw.left, rectified.left)
    assert not np.array_equal(raw.right, rectified.right)


@pytest.mark.parametrize('changes, text', [
    ({'distortion_model': 'barrel', 'd': np.ones(3)}, "/cam/camera_info: .*'barrel' is unknown"),
    ({'r': np.ones(9)}, '/cam/camera_info: R of the camera_info is no rotation')])
def test_what_cannot_be_rectified_is_told(changes, text):
    with pytest.raises(CalibrationError, match=text):
        SequentialReader(RAW, rectify=True).read(one_camera(**changes))


def test_without_a_rectifier_no_calibration_is_in_force():
    reader = SequentialReader(RAW, rectify=True)
    reader.read(one_camera())
    assert reader.rig is not None
    with pytest.raises(CalibrationError, match='barrel'):
        reader.read(one_camera(distortion_model='barrel', d=np.ones(3)))
    assert reader.rig is None


def test_no_maps_are_made_for_a_size_that_images_do_not_have():
    huge = one_camera(width=65536, height=65536)   # 34 GB of maps
    with pytest.raises(MessageError, match='image is 8x6 px, its camera_info says 65536x65536'):
        SequentialReader(RAW, rectify=True).read(huge)


def test_one_camera_without_p_is_read_by_k_but_not_rectified():
    matched = one_camera(p=np.zeros(12))
    reader = SequentialReader(RAW)
    assert reader.read(matched).rig.fx == matched.messages['info'].k[0]
    assert reader.notes == ['/cam/camera_info has no P; K is taken']
    with pytest.raises(CalibrationError, match='/cam/camera_info: P.0. is 0'):
        SequentialReader(RAW, rectify=True).read(matched)


def test_a_change_of_the_distortion_alone_is_seen():
    reader = SequentialReader(RAW, rectify=True)
    before = reader.read(one_camera()).left
    after = reader.read(one_camera(d=np.array((-4000.0, 0, 0, 0, 0)))).left
    assert not np.array_equal(before, after)


def compressed(picture, suffix='.png'):
    """Return a sensor_msgs/CompressedImage."""
    data = cv2.imencode(suffix, picture)[1].reshape(-1)
    return SimpleNamespace(header=header(1, 'left_optical'), format=suffix[1:], data=data)


def test_compressed_images_are_decoded(rng):
    picture = rng.integers(0, 256, (6, 8, 3), np.uint8)
    matched = one_camera()
    matched.messages['image'] = compressed(picture)
    data = SequentialReader(RAW, compressed=True).read(matched)
    assert np.array_equal(data.left, picture[..., ::-1])   # OpenCV's order is BGR
    matched.messages['image'].data = matched.messages['image'].data[:40]
    with pytest.raises(MessageError, match='/cam/image_raw'):
        SequentialReader(RAW, compressed=True).read(matched)


def test_streams_of_modes_and_transports():
    assert list(streams('stereo', 'raw').values()) == [
        ('left/image_rect', 'Image'), ('left/camera_info', 'CameraInfo'),
        ('right/image_rect', 'Image'), ('right/camera_info', 'CameraInfo')]
    assert streams('sequential', 'compressed') == {
        'image': ('image_rect/compressed', 'CompressedImage'),
        'info': ('camera_info', 'CameraInfo')}
