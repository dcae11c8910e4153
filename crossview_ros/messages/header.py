# SPDX-License-Identifier: Apache-2.0
"""Stamps and frames of messages."""
from typing import Any

from crossview_ros.errors import MessageError

_NS_PER_S = 1_000_000_000


def stamp_ns(message: Any) -> int:
    """
    Return the stamp of a message or of a header, in nanoseconds.

    :param message: Anything with ``header.stamp`` or ``stamp``.
    :raises MessageError: If it has neither, or ``nanosec`` is not below 1e9.
    """
    header = getattr(message, 'header', message)
    stamp = getattr(header, 'stamp', None)
    if stamp is None:
        raise MessageError(f'a {type(message).__name__} message has no header with a stamp')
    sec, nanosec = int(stamp.sec), int(stamp.nanosec)
    if not 0 <= nanosec < _NS_PER_S:
        raise MessageError(f'stamp.nanosec must be below 1000000000, got {nanosec}; '
                           'the message is damaged')
    return sec * _NS_PER_S + nanosec


def set_header(message: Any, stamp_ns: int, frame_id: str) -> Any:
    """
    Fill the header of a message.

    :param message: Anything with ``header``, or a header itself.
    :param stamp_ns: Acquisition time [ns].
    :return: The message.
    """
    header = getattr(message, 'header', message)
    sec, nanosec = divmod(int(stamp_ns), _NS_PER_S)
    header.stamp.sec, header.stamp.nanosec = sec, nanosec
    header.frame_id = str(frame_id)
    return message
