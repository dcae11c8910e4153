# SPDX-License-Identifier: Apache-2.0
"""Sequences keep the kind that the message holds, and never share memory with the source."""
import array
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.messages.sequences import read_bytes, set_bytes, set_floats
import numpy as np
import pytest


@pytest.mark.parametrize('before, kind', [(np.zeros(0, np.uint8), np.ndarray),
                                          (array.array('B'), array.array), ([], array.array)])
def test_an_ndarray_stays_one_and_anything_else_becomes_an_array(before, kind):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4)
    message = SimpleNamespace(data=before, d=before)
    set_bytes(message, values)
    set_floats(message, 'd', [1, 2.5])
    assert isinstance(message.data, kind) and isinstance(message.d, kind)
    assert list(message.d) == [1, 2.5]
    expected = values.tobytes()
    values[:] = 0
    assert bytes(message.data) == expected


def test_a_missing_field_becomes_an_array():
    message = SimpleNamespace()
    set_bytes(message, np.zeros((0, 3), np.float32))
    set_floats(message, 'd', np.zeros(0))
    assert message.data == array.array('B') and message.d == array.array('d')


def test_bytes_are_viewed_not_copied():
    data = array.array('B', [1, 2, 3])
    view = read_bytes(data, 'cloud')
    data[1] = 9
    assert view.tolist() == [1, 9, 3]


def test_every_second_byte_is_no_sequence_of_bytes():
    with pytest.raises(MessageError, match='cloud: data must be'):
        read_bytes(np.zeros(8, np.uint8)[::2], 'cloud')
