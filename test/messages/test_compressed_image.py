# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG pictures are decoded to RGB; damaged and huge ones are refused."""
import struct
from types import SimpleNamespace
import zlib

from crossview_ros.errors import MessageError
from crossview_ros.messages.compressed_image import declared_size
from crossview_ros.messages.image import read_compressed_image
import numpy as np
import pytest

cv2 = pytest.importorskip('cv2')


def compressed(rgb, suffix='.png', format_text=None):
    """Return a CompressedImage of a picture."""
    data = cv2.imencode(suffix, rgb[..., ::-1] if rgb.ndim == 3 else rgb)[1].tobytes()
    return SimpleNamespace(data=data, format=format_text or suffix[1:])


def declared_png(width, height):
    """Return a small PNG file that says it is of that size."""
    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack(
            '>I', zlib.crc32(kind + body))

    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 8, 2, 0,
                                                             0, 0)) + chunk(b'IEND', b'')


@pytest.fixture
def rgb():
    """Return a picture whose channels differ and change slowly, as JPEG likes them."""
    v, u = np.mgrid[:40, :60]
    return np.stack((4 * u, 6 * v, np.full_like(u, 30)), axis=2).astype(np.uint8)


def test_png_is_exact_rgb(rgb):
    image = read_compressed_image(compressed(rgb))
    np.testing.assert_array_equal(image, rgb)
    assert image.flags.c_contiguous and image.dtype == np.uint8


def test_jpeg_is_nearly_so(rgb):
    image = read_compressed_image(compressed(rgb, '.jpg', 'rgb8; jpeg compressed bgr8'))
    assert np.abs(image.astype(int) - rgb).mean() < 4


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_grey_fills_all_three_channels(rgb, suffix):
    image = read_compressed_image(compressed(rgb[..., 0], suffix))
    assert image.shape == rgb.shape and (image == image[..., :1]).all()


def test_a_sixteen_bit_png_becomes_eight_bit(rgb):
    image = read_compressed_image(compressed(rgb[..., 0].astype(np.uint16) * 256))
    np.testing.assert_allclose(image[..., 1], rgb[..., 0], atol=1)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_the_declared_size_is_read_from_the_header(rgb, suffix):
    data = np.frombuffer(compressed(rgb, suffix).data, np.uint8)
    assert declared_size(data) == (40, 60)
    assert all(declared_size(data[:end]) in (None, (40, 60)) for end in range(len(data)))


@pytest.mark.parametrize('data', [b'', b'no picture at all, but a text', bytes(1000), b'\xff\xd8',
                                  b'\xff\xd8\xff', b'\xff\xd8' + b'\xff' * 50,
                                  b'\xff\xd8\xff\xe0\x00\x00' * 9])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(MessageError, match='camera: no JPEG or PNG picture in '):
        read_compressed_image(SimpleNamespace(data=data, format='jpeg'), 'camera')


@pytest.mark.parametrize('size', [(60000, 60000), (2 ** 31 - 1, 1), (0, 10)])
def test_a_huge_declared_size_is_refused_before_decoding(size):
    message = SimpleNamespace(data=declared_png(*size), format='png')
    with pytest.raises(MessageError, match=f'the picture declares {size[0]}x{size[1]} px'):
        read_compressed_image(message)


def test_a_picture_without_content_is_refused():
    message = SimpleNamespace(data=declared_png(60, 40), format='png')
    with pytest.raises(MessageError, match='the picture is damaged'):
        read_compressed_image(message)


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_random_damage_gives_an_image_or_a_message_error(rgb, suffix, rng):
    clean = np.frombuffer(compressed(rgb, suffix).data, np.uint8)
    for _ in range(60):
        data = clean.copy()
        data[rng.integers(0, len(data), 5)] = rng.integers(0, 256, 5)
        data = data[:rng.integers(1, len(data) + 1)]
        try:
            image = read_compressed_image(SimpleNamespace(data=data.tobytes(), format='x'))
        except MessageError:
            continue
        assert image.dtype == np.uint8 and image.shape[2] == 3


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_a_picture_that_ends_early_is_refused(rgb, suffix):
    data = compressed(rgb, suffix).data
    with pytest.raises(MessageError, match='the picture is damaged'):
        read_compressed_image(SimpleNamespace(data=data[:len(data) * 9 // 10], format=''))


def test_compressed_depth_is_refused(rgb):
    with pytest.raises(MessageError, match='16UC1; compressedDepth png. is a depth image'):
        read_compressed_image(compressed(rgb, format_text='16UC1; compressedDepth png'))


def test_a_compressed_image_of_a_real_bag_is_read(bag_messages):
    message = bag_messages('nuscenes_n015', '/CAM_FRONT/image_raw/compressed')
    image = read_compressed_image(message)
    assert image.shape == (900, 1600, 3)
    assert image[:300, ..., 2].mean() > image[:300, ..., 0].mean()   # the sky is blue, not red
