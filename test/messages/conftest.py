# SPDX-License-Identifier: Apache-2.0
"""Make blank messages of three kinds: plain attributes, rosbags' classes and rclpy's classes."""
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import get_typestore, Stores

TYPES = get_typestore(Stores.ROS2_HUMBLE)
FIRST = {'string': '', 'bool': False, 'float32': 0.0, 'float64': 0.0}


class PlainMessages:
    """Messages that are nothing but attributes, as other tests make them."""

    def blank(self, kind):
        """Return a message of zeros."""
        return SimpleNamespace(**self.fields(kind))

    def fields(self, kind):
        """Return the values of a blank message by field."""
        return {name: self.zero(node, detail)
                for name, (node, detail) in TYPES.fielddefs[kind][1]}

    def zero(self, node, detail):
        """Return the blank value of a field."""
        if node == Nodetype.NAME:
            return self.blank(detail)
        if node == Nodetype.BASE:
            return FIRST.get(detail[0], 0)
        if node == Nodetype.ARRAY:
            return [0.0] * detail[1]
        return []

    def sent(self, message, kind):
        """Return what a receiver gets."""
        return message


class RosbagsMessages(PlainMessages):
    """The classes that rosbags reads from a bag; number sequences are ndarrays."""

    def blank(self, kind):
        """Return a message of zeros."""
        return TYPES.types[kind](**self.fields(kind))

    def zero(self, node, detail):
        """Return the blank value of a field."""
        if node in (Nodetype.ARRAY, Nodetype.SEQUENCE):
            (inner, element) = detail[0]
            if inner == Nodetype.BASE and element[0] != 'string':
                length = detail[1] if node == Nodetype.ARRAY else 0
                return np.zeros(length, element[0].replace('octet', 'uint8'))
        return super().zero(node, detail)

    def sent(self, message, kind):
        """Return what a receiver gets."""
        return TYPES.deserialize_cdr(TYPES.serialize_cdr(message, kind), kind)


class RclpyMessages:
    """The classes of ROS; what is sent is also read by rosbags, to see that both agree."""

    def blank(self, kind):
        """Return a message of zeros."""
        return self.type_of(kind)()

    def type_of(self, kind):
        """Return the class of a type's name."""
        import importlib
        package, _, name = kind.split('/')
        return getattr(importlib.import_module(f'{package}.msg'), name)

    def sent(self, message, kind):
        """Return what a receiver gets."""
        from rclpy.serialization import deserialize_message, serialize_message
        raw = serialize_message(message)
        TYPES.deserialize_cdr(raw, kind)
        return deserialize_message(raw, self.type_of(kind))


@pytest.fixture(params=[
    pytest.param(PlainMessages, id='plain'), pytest.param(RosbagsMessages, id='rosbags'),
    pytest.param(RclpyMessages, id='rclpy', marks=pytest.mark.ros)])
def messages(request):
    """Return a maker of messages, one kind after the other."""
    return request.param()


@pytest.fixture
def plain():
    """Return the maker of plain messages, for what is the same for all kinds."""
    return PlainMessages()


@pytest.fixture(scope='session')
def bag_messages(shared_dir):
    """Return a function: (bag, topic) -> the first message of a shared bag."""
    from rosbags.highlevel import AnyReader

    def first(bag, topic):
        with AnyReader([shared_dir / 'data/bags' / bag]) as reader:
            wanted = [c for c in reader.connections if c.topic == topic]
            assert wanted, f'{bag} has no {topic}'
            connection, _, raw = next(reader.messages(wanted))
            return reader.deserialize(raw, connection.msgtype)
    return first
