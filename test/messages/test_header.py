# SPDX-License-Identifier: Apache-2.0
"""Stamps survive the way into a message and back; damaged ones are refused."""
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.messages.header import set_header, stamp_ns
import pytest


@pytest.mark.parametrize('stamp', [0, 1, 999_999_999, 10 ** 9, 1_700_000_000_123_456_789])
def test_stamp_survives_to_the_nanosecond(messages, stamp):
    message = messages.blank('sensor_msgs/msg/Image')
    assert set_header(message, stamp, 'left_optical_frame') is message
    sent = messages.sent(message, 'sensor_msgs/msg/Image')
    assert stamp_ns(sent) == stamp_ns(sent.header) == stamp
    assert sent.header.frame_id == 'left_optical_frame'


def test_a_bare_header_is_filled_too(messages):
    header = set_header(messages.blank('std_msgs/msg/Header'), 1_500_000_000, 'map')
    assert (header.stamp.sec, header.stamp.nanosec, header.frame_id) == (1, 500_000_000, 'map')


def test_a_message_without_a_header_is_refused():
    with pytest.raises(MessageError, match='no header with a stamp'):
        stamp_ns(SimpleNamespace(data=1))


def test_too_many_nanoseconds_are_refused():
    stamp = SimpleNamespace(sec=1, nanosec=10 ** 9)
    with pytest.raises(MessageError, match='nanosec must be below 1000000000, got 1000000000'):
        stamp_ns(SimpleNamespace(stamp=stamp))
