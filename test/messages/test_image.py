# SPDX-License-Identifier: Apache-2.0
"""Images of every accepted encoding, padding and byte order; rubbish is refused by name."""
import array
import sys
import time
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.messages.image import (
    ACCEPTED_ENCODINGS, read_depth_image, read_float_image, read_image, write_image)
import numpy as np
import pytest

IMAGE = 'sensor_msgs/msg/Image'
STAMP, FRAME = 1_700_000_000_123_456_789, 'camera_left_optical_frame'


def raw_image(values, encoding, padding=0, big_endian=False, **changes):
    """Return an Image by hand: rows padded with 0xAB, bytes in the asked order."""
    values = np.asarray(values)
    values = values.astype(values.dtype.newbyteorder('>' if big_endian else '<'))
    rows = values.reshape(len(values), -1)
    data = b''.join(row.tobytes() + b'\xab' * padding for row in rows)
    fields = {'height': values.shape[0], 'width': values.shape[1], 'encoding': encoding,
              'is_bigendian': int(big_endian), 'data': data,
              'step': rows.shape[1] * values.dtype.itemsize + padding}
    return SimpleNamespace(**{**fields, **changes})


@pytest.fixture
def rgb(rng):
    """Return a random picture with sides that divide nothing."""
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def encoded(rgb, encoding):
    """Encode a picture the obvious way."""
    alpha = np.full((*rgb.shape[:2], 1), 9, np.uint8)
    return {'rgb8': rgb, 'bgr8': rgb[..., ::-1], '8UC3': rgb[..., ::-1],
            'rgba8': np.concatenate((rgb, alpha), 2),
            'bgra8': np.concatenate((rgb[..., ::-1], alpha), 2)}[encoding]


@pytest.mark.parametrize('padding', [0, 1, 5])
@pytest.mark.parametrize('encoding', ['rgb8', 'bgr8', '8UC3', 'rgba8', 'bgra8'])
def test_colour_is_read_as_rgb(rgb, encoding, padding):
    image = read_image(raw_image(encoded(rgb, encoding), encoding, padding))
    np.testing.assert_array_equal(image, rgb)
    assert image.dtype == np.uint8 and image.flags.c_contiguous


@pytest.mark.parametrize('padding', [0, 3])
@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_grey_fills_all_three_channels(rgb, encoding, padding):
    image = read_image(raw_image(rgb[..., 0], encoding, padding))
    np.testing.assert_array_equal(image, np.repeat(rgb[..., :1], 3, axis=2))


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 2])
def test_mono16_is_scaled_to_8_bit_in_either_byte_order(padding, big_endian):
    levels = np.array([[0, 128, 129, 257, 385, 386, 65535, 256]], np.uint16)
    image = read_image(raw_image(levels, 'mono16', padding, big_endian))
    expected = np.round(levels / 65535 * 255)
    np.testing.assert_array_equal(image[..., 1], expected)


@pytest.mark.parametrize('encoding, order', [('yuv422_yuy2', (0, 1)), ('yuv422', (1, 0))])
def test_yuv_422_is_decoded(encoding, order):
    pytest.importorskip('cv2')
    luma = np.array([[50, 100, 150, 200]] * 2, np.uint8)
    pixels = np.stack((luma, np.full_like(luma, 128)), axis=2)[..., order]   # no colour
    image = read_image(raw_image(np.ascontiguousarray(pixels), encoding, padding=3))
    # ITU-R BT.601, video range: grey = 1.164 (Y - 16)
    np.testing.assert_allclose(image[..., 0], 1.164 * (luma - 16.0), atol=1)
    assert (image[..., :1] == image).all()
    pixels[..., order.index(1)][:, 1::2] = 220   # V: red
    red = read_image(raw_image(np.ascontiguousarray(pixels), encoding))
    assert (red[..., 0] > red[..., 2]).all()


@pytest.mark.parametrize('pattern', ['rggb', 'bggr', 'gbrg', 'grbg'])
def test_bayer_patterns_give_back_a_plain_colour(pattern):
    pytest.importorskip('cv2')
    colour = {'r': 200, 'g': 120, 'b': 30}
    tile = np.array([colour[c] for c in pattern], np.uint8).reshape(2, 2)
    image = read_image(raw_image(np.tile(tile, (4, 5)), f'bayer_{pattern}8', padding=1))
    assert image.shape == (8, 10, 3)
    np.testing.assert_array_equal(image[2:-2, 2:-2], np.broadcast_to((200, 120, 30), (4, 6, 3)))


@pytest.mark.parametrize('encoding, shape', [('yuv422_yuy2', (2, 3)), ('bayer_rggb8', (1, 1))])
def test_a_size_that_the_encoding_cannot_have_is_refused(encoding, shape):
    size = (*shape, 2) if 'yuv' in encoding else shape
    with pytest.raises(MessageError, match=f'{encoding} cannot be'):
        read_image(raw_image(np.zeros(size, np.uint8), encoding))


def test_every_listed_encoding_is_read():
    pytest.importorskip('cv2')
    channels = {'rgb8': 3, 'bgr8': 3, '8UC3': 3, 'rgba8': 4, 'bgra8': 4, 'yuv422': 2,
                'yuv422_yuy2': 2}
    for encoding in ACCEPTED_ENCODINGS:
        dtype = np.uint16 if encoding == 'mono16' else np.uint8
        pixels = np.zeros((6, 8, channels.get(encoding, 1)), dtype)
        assert read_image(raw_image(pixels, encoding)).shape == (6, 8, 3)


@pytest.mark.parametrize('make', [
    bytes, bytearray, list, memoryview, lambda b: array.array('B', b),
    lambda b: np.frombuffer(b, np.uint8)])
def test_data_may_be_any_sequence_of_bytes(rgb, make):
    message = raw_image(rgb, 'rgb8')
    message.data = make(message.data)
    image = read_image(message)
    np.testing.assert_array_equal(image, rgb)
    image[:] = 0   # the array is the caller's own
    np.testing.assert_array_equal(read_image(message), rgb)


@pytest.mark.parametrize('data', ['text', None, 7, np.zeros(105, np.float32), [300], [1.5]])
def test_data_that_are_no_bytes_are_refused(rgb, data):
    with pytest.raises(MessageError, match='left: data must be '):
        read_image(raw_image(rgb, 'rgb8', data=data), 'left')


def test_unknown_encoding_names_itself_and_what_is_accepted(rgb):
    with pytest.raises(MessageError) as caught:
        read_image(raw_image(rgb, 'nonsense'), '/stereo/left')
    text = str(caught.value)
    assert text.startswith("/stereo/left: encoding 'nonsense' is not supported; accepted: mono8, ")
    assert all(encoding in text for encoding in ACCEPTED_ENCODINGS) and len(text) < 300


def test_an_endless_encoding_is_cut_in_the_error(rgb):
    with pytest.raises(MessageError) as caught:
        read_image(raw_image(rgb, 'x' * 10000))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize('change, text', [
    ({'height': 0}, 'size must be from 1x1 to 65536x65536 px, got 7x0'),
    ({'width': 0}, 'size must be .* got 0x5'),
    ({'height': 2 ** 32 - 1}, 'size must be .* got 7x4294967295'),
    ({'width': 65537}, 'size must be'),
    ({'width': 8}, "step is 21 bytes, but a row of 8 pixels of 'rgb8' needs 24"),
    ({'step': 20}, 'step is 20 bytes'),
    ({'step': 0}, 'step is 0 bytes'),
    ({'step': 22}, r'data holds 105 bytes, but step \* height is 22 \* 5 = 110'),
    ({'height': 60000}, r'data holds 105 bytes, but step \* height is 21 \* 60000 = 1260000'),
    ({'data': b''}, 'data holds 0 bytes'),
    ({'data': bytes(104)}, 'data holds 104 bytes'),
    ({'data': bytes(106)}, 'data holds 106 bytes'),
    ({'step': 2 ** 32 - 1, 'height': 65536}, 'data holds 105 bytes'),
])
def test_sizes_that_contradict_the_data_are_refused(rgb, change, text):
    with pytest.raises(MessageError, match=f'left: {text}'):
        read_image(raw_image(rgb, 'rgb8', **change), 'left')


def test_cv_bridge_is_asked_for_other_encodings_where_it_is_installed(rgb, monkeypatch):
    class CvBridge:

        def imgmsg_to_cv2(self, message, desired_encoding):
            assert desired_encoding == 'rgb8'
            if message.encoding != 'rgb16':
                raise TypeError('Unrecognized image encoding')
            return rgb

    monkeypatch.setitem(sys.modules, 'cv_bridge', SimpleNamespace(CvBridge=CvBridge))
    deep = raw_image(rgb.astype(np.uint16) * 257, 'rgb16')
    np.testing.assert_array_equal(read_image(deep), rgb)
    with pytest.raises(MessageError, match="'nonsense' is not .*cv_bridge: Unrecognized image"):
        read_image(raw_image(rgb, 'nonsense'))
    deep.data = deep.data[:-1]
    with pytest.raises(MessageError, match='data holds 209 bytes'):
        read_image(deep)


@pytest.mark.parametrize('big_endian', [False, True])
@pytest.mark.parametrize('padding', [0, 1, 8])
def test_metres_are_read_as_metres(padding, big_endian):
    values = np.array([[1.5, 0, -2, np.nan], [np.inf, -np.inf, 1e-3, 80]], np.float32)
    depth = read_depth_image(raw_image(values, '32FC1', padding, big_endian))
    np.testing.assert_array_equal(depth, np.array(
        [[1.5, np.nan, np.nan, np.nan], [np.inf, -np.inf, 1e-3, 80]], np.float32))
    assert depth.dtype == np.float32 and depth.dtype.isnative


@pytest.mark.parametrize('encoding', ['16UC1', 'mono16'])
@pytest.mark.parametrize('big_endian', [False, True])
def test_millimetres_are_read_as_metres_and_zero_is_invalid(encoding, big_endian):
    depth = read_depth_image(raw_image(np.array([[0, 1, 1500, 65535]], np.uint16), encoding, 4,
                                       big_endian))
    np.testing.assert_array_equal(depth, np.array([[np.nan, 0.001, 1.5, 65.535]], np.float32))


def test_a_colour_image_is_no_depth(rgb):
    with pytest.raises(MessageError, match="'rgb8' is no depth; accepted: 32FC1, 16UC1, mono16"):
        read_depth_image(raw_image(rgb, 'rgb8'))


@pytest.mark.parametrize('big_endian', [False, True])
def test_float_images_keep_their_channels(rng, big_endian):
    flow = rng.normal(size=(4, 6, 2)).astype(np.float32)
    flow[1, 2] = np.nan
    read = read_float_image(raw_image(flow, '32FC2', 3, big_endian))
    np.testing.assert_array_equal(read, flow)
    assert read_float_image(raw_image(flow[..., 0], '32FC1')).shape == (4, 6)
    with pytest.raises(MessageError, match="'mono8' is no float image; accepted: 32FC1, "):
        read_float_image(raw_image(np.zeros((4, 6), np.uint8), 'mono8'))


WRITABLE = [('mono8', np.uint8, ()), ('rgb8', np.uint8, (3,)), ('bgr8', np.uint8, (3,)),
            ('rgba8', np.uint8, (4,)), ('mono16', np.uint16, ()), ('16UC1', np.uint16, ()),
            ('32FC1', np.float32, ()), ('32FC2', np.float32, (2,)), ('32FC3', np.float32, (3,))]


@pytest.mark.parametrize('encoding, dtype, channels', WRITABLE)
def test_what_is_written_is_what_a_receiver_gets(messages, rng, encoding, dtype, channels):
    values = (rng.random((5, 7, *channels)) * 60000).astype(dtype)
    message = messages.blank(IMAGE)
    assert write_image(message, values[::-1], encoding, STAMP, FRAME) is message   # not contiguous
    sent = messages.sent(message, IMAGE)
    assert (sent.height, sent.width, sent.encoding, sent.is_bigendian) == (5, 7, encoding, 0)
    assert sent.step == values.nbytes // 5 and len(sent.data) == values.nbytes
    assert bytes(memoryview(sent.data)) == values[::-1].tobytes()
    assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (1_700_000_000, 123_456_789)
    assert sent.header.frame_id == FRAME


def test_written_images_are_read_back(messages, rgb, rng):
    message = write_image(messages.blank(IMAGE), rgb, 'rgb8', STAMP, FRAME)
    np.testing.assert_array_equal(read_image(messages.sent(message, IMAGE)), rgb)
    depth = rng.uniform(1, 9, (5, 7)).astype(np.float32)
    depth[0, 0] = np.nan
    message = write_image(messages.blank(IMAGE), depth, '32FC1', STAMP, FRAME)
    np.testing.assert_array_equal(read_depth_image(messages.sent(message, IMAGE)), depth)
    np.testing.assert_array_equal(read_float_image(messages.sent(message, IMAGE)), depth)


def test_big_endian_values_are_written_little_endian(plain):
    message = write_image(plain.blank(IMAGE), np.array([[1, 2]], '>u2'), '16UC1', STAMP, FRAME)
    assert bytes(message.data) == b'\x01\x00\x02\x00'


def test_the_message_does_not_share_memory_with_the_array(messages, rgb):
    message = write_image(messages.blank(IMAGE), rgb, 'rgb8', STAMP, FRAME)
    before = rgb.copy()
    rgb[:] = 0
    np.testing.assert_array_equal(read_image(message), before)


@pytest.mark.parametrize('values, encoding, text', [
    (np.zeros((4, 4)), '32FC1', r'32FC1 needs \(height, width, 1\) float32, got \(4, 4\) float64'),
    (np.zeros((4, 4), np.uint8), 'rgb8', r'rgb8 needs \(height, width, 3\) uint8, got \(4, 4\)'),
    (np.zeros((4, 4, 4), np.uint8), 'rgb8', r'got \(4, 4, 4\)'),
    (np.zeros(4, np.uint8), 'mono8', r'got \(4,\)'),
    (np.zeros((4, 4), np.uint8), 'jpeg', "cannot write encoding 'jpeg'; possible: mono8, "),
])
def test_values_that_do_not_fit_the_encoding_are_refused(plain, values, encoding, text):
    with pytest.raises(MessageError, match=text):
        write_image(plain.blank(IMAGE), values, encoding, STAMP, FRAME)


def test_writing_and_reading_do_not_loop_over_elements(messages):
    values = np.zeros((720, 1280), np.float32)   # 3.7 MB
    elapsed_s = []
    for _ in range(3):
        start_s = time.perf_counter()
        message = write_image(messages.blank(IMAGE), values, '32FC1', STAMP, FRAME)
        read_float_image(message)
        elapsed_s.append(time.perf_counter() - start_s)
    assert min(elapsed_s) < 0.1   # about 2 ms; a loop takes 400 ms


@pytest.mark.parametrize('bag, topic, size', [
    ('middlebury_motorcycle', '/stereo/left/image_rect_color', (500, 741)),
    ('kitti_raw_residential_a', '/stereo/left/image_rect', (187, 621)),
    ('euroc_v101_static_a', '/cam0/image_raw', (240, 376)),
    ('kitti_object_000007', '/camera/image_rect_color', (375, 1242)),
    ('tum_fr1_desk', '/camera/rgb/image_color', (480, 640)),
])
def test_images_of_real_bags_are_read(bag_messages, bag, topic, size):
    image = read_image(bag_messages(bag, topic), topic)
    assert image.shape == (*size, 3) and 20 < image.mean() < 200 and image.std() > 20


def test_colour_of_a_real_bag_is_that_of_the_picture_file(bag_messages, shared_dir):
    cv2 = pytest.importorskip('cv2')
    image = read_image(bag_messages('middlebury_motorcycle', '/stereo/left/image_rect_color'))
    file = cv2.imread(str(shared_dir / 'data/stereo/motorcycle/left.png'))
    np.testing.assert_array_equal(image, file[..., ::-1])


def test_millimetres_of_a_real_bag_are_metres(bag_messages):
    depth = read_depth_image(bag_messages('tum_fr1_desk', '/camera/depth_registered/image_raw'))
    known = depth[np.isfinite(depth)]
    assert 0.3 < known.min() and known.max() < 12 and 0.5 < known.size / depth.size < 1
