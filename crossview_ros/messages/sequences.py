# SPDX-License-Identifier: Apache-2.0
"""
Number sequences of messages, read as and written from NumPy arrays without looping.

rclpy keeps sequences in array.array and copies an ndarray element by element (0.4 s for an
image); rosbags keeps and serialises ndarrays only. So a writer looks at what the instance holds:
an ndarray stays an ndarray, anything else becomes an array.array.
"""
import array
from typing import Any

from crossview_ros.errors import MessageError
import numpy as np


def read_bytes(data: Any, name: str) -> np.ndarray:
    """
    View the bytes of a message's ``data`` field.

    :param data: array.array, bytes or (N,) uint8 array; a list of numbers is copied.
    :param name: What to call the message in errors.
    :return: (N,) uint8, a view that may be read-only; copy it before the message goes away.
    :raises MessageError: If it is no sequence of bytes.
    """
    try:
        view = memoryview(bytes(data) if isinstance(data, (list, tuple)) else data)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f'{name}: data must be a sequence of bytes, got '
                           f'{type(data).__name__}') from error
    if view.itemsize != 1 or not view.c_contiguous:
        raise MessageError(f"{name}: data must be bytes, got items of type '{view.format}'")
    return np.frombuffer(view, np.uint8)


def set_bytes(message: Any, values: np.ndarray, name: str = 'data') -> None:
    """
    Fill a uint8 sequence of a message with a copy of an array's memory.

    :param values: Any C-contiguous array.
    """
    values = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if isinstance(getattr(message, name, None), np.ndarray):
        setattr(message, name, values.copy())
        return
    sequence = array.array('B')
    sequence.frombytes(memoryview(values))
    setattr(message, name, sequence)


def set_floats(message: Any, name: str, values: np.ndarray) -> None:
    """Fill a float64 sequence (of any length) of a message with a copy of the values."""
    values = np.array(values, np.float64).reshape(-1)
    is_array = isinstance(getattr(message, name, None), np.ndarray)
    setattr(message, name, values if is_array else array.array('d', values.tobytes()))
