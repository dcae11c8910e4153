# SPDX-License-Identifier: Apache-2.0
"""Decode JPEG and PNG pictures of sensor_msgs/CompressedImage."""
from crossview_ros.errors import MessageError
import numpy as np

MAX_PIXELS = 2 ** 27   # a 134 megapixel picture; a small file can declare far more


def decode(data: np.ndarray, format_text: str, topic: str) -> np.ndarray:
    """
    Decode a picture; its orientation tag is ignored, as calibration is of the raw pixels.

    :param data: (N,) uint8, the file.
    :param format_text: The message's format: 'jpeg', 'png', 'rgb8; jpeg compressed bgr8' ...
    :param topic: Named in errors.
    :return: (H, W, 3) uint8 RGB, contiguous.
    :raises MessageError: If it is no JPEG or PNG, is damaged, is a depth image or is huge.
    """
    if 'compressedDepth' in format_text:
        raise MessageError(f'{topic}: format {format_text[:60]!r} is a depth image, '
                           'expected a colour or grey one')
    size_hw = declared_size(data)
    if size_hw is None:
        raise MessageError(f'{topic}: no JPEG or PNG picture in {len(data)} bytes of format '
                           f'{format_text[:60]!r}')
    if not 0 < size_hw[0] * size_hw[1] <= MAX_PIXELS:
        raise MessageError(f'{topic}: the picture declares {size_hw[1]}x{size_hw[0]} px; '
                           f'accepted are up to {MAX_PIXELS} pixels')
    import cv2
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        raise MessageError(f'{topic}: the picture is damaged') from error
    if image is None:
        raise MessageError(f'{topic}: the picture is damaged')
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def declared_size(data: np.ndarray) -> tuple[int, int] | None:
    """
    Read height and width from the header of a PNG or JPEG.

    :param data: (N,) uint8.
    :return: (height, width) [px], or None if it is neither or ends too early.

    Source: PNG specification, 11.2.2 IHDR; ITU-T T.81, B.2.2 frame header.
    """
    head = bytes(data[:24])
    if head.startswith(b'\x89PNG\r\n\x1a\n') and len(head) == 24:
        return int.from_bytes(head[20:24], 'big'), int.from_bytes(head[16:20], 'big')
    if not head.startswith(b'\xff\xd8'):
        return None
    place = 2
    while place + 9 <= len(data):
        if data[place] != 0xff:
            return None
        marker = int(data[place + 1])
        if marker == 0xff:   # fill byte
            place += 1
            continue
        if 0xc0 <= marker <= 0xcf and marker not in (0xc4, 0xc8, 0xcc):   # start of frame
            frame = bytes(data[place + 5:place + 9])
            return int.from_bytes(frame[:2], 'big'), int.from_bytes(frame[2:], 'big')
        place += 2 + int.from_bytes(bytes(data[place + 2:place + 4]), 'big')
    return None
