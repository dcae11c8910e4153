# SPDX-License-Identifier: Apache-2.0
"""Whatever numbers a message declares, a reader answers with an array or a CrossviewError."""
import random
from types import SimpleNamespace

from crossview_ros.errors import CrossviewError
from crossview_ros.messages.camera_info import read_stereo_rig
from crossview_ros.messages.image import (
    ACCEPTED_ENCODINGS, read_depth_image, read_float_image, read_image)
from crossview_ros.messages.point_cloud2 import read_points
import numpy as np
import pytest

SIZES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 2 ** 31, 2 ** 32 - 1)
NUMBERS = (0, 1, -60, 500, -500, float('nan'), float('inf'), 1e308, 5e-324)


def random_image(draw):
    height, step = draw.choice(SIZES), draw.choice(SIZES)
    count = height * step if height * step < 1000 else 7
    return SimpleNamespace(
        height=height, width=draw.choice(SIZES), step=step, is_bigendian=draw.choice((0, 1, 255)),
        encoding=draw.choice((*ACCEPTED_ENCODINGS, '32FC1', '32FC2', '16UC1', 'rgb16', '')),
        data=draw.randbytes(count))


def random_cloud(draw):
    step, width, height = draw.choice((12, 16, *SIZES)), draw.choice(SIZES), draw.choice(SIZES)
    count = step * width * height
    fields = [SimpleNamespace(name=name, offset=draw.choice((0, 4, 8, 8, 8, *SIZES)),
                              datatype=draw.choice((7, 7, 7, 8, 9, 0)), count=draw.choice((0, 1)))
              for name in 'xyz']
    return SimpleNamespace(height=height, width=width, point_step=step, row_step=step * width,
                           fields=fields, is_bigendian=draw.random() < 0.3,
                           data=draw.randbytes(count if count < 1000 else 7))


def random_info(draw):
    p = [500.0, 0, 320, -60, 0, 500, 240, 0, 0, 0, 1, 0]
    for index in draw.sample(range(12), draw.randrange(3)):
        p[index] = draw.choice(NUMBERS)
    roi = SimpleNamespace(x_offset=draw.choice((0, 0, 8)), y_offset=0,
                          width=draw.choice((0, 0, *SIZES)), height=draw.choice((0, 0, *SIZES)))
    return SimpleNamespace(width=draw.choice((640, 640, *SIZES)), height=480, k=[500.0] * 9, p=p,
                           binning_x=draw.choice((0, 0, 2, 2 ** 32 - 1)), binning_y=0, roi=roi)


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('read, make', [
    (read_image, random_image), (read_depth_image, random_image),
    (read_float_image, random_image), (read_points, random_cloud),
    (lambda info: read_stereo_rig(random_info(random.Random(1)), info), random_info)])
def test_a_reader_answers_or_says_what_is_wrong(read, make):
    draw = random.Random(0)
    refused = 0
    for _ in range(3000):
        try:
            answer = read(make(draw))
        except CrossviewError as error:
            refused += 1
            assert 0 < len(str(error)) < 500
        else:
            assert not isinstance(answer, np.ndarray) or answer.nbytes < 10 ** 5
    assert 0 < refused <= 3000
