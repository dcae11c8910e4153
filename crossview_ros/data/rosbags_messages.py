# SPDX-License-Identifier: Apache-2.0
"""Messages for rosbags' serialiser: blank ones to fill by attribute, and their conversion."""
import array
from types import SimpleNamespace
from typing import Any

import numpy as np


def blank_message(typestore: Any, kind: str) -> SimpleNamespace:
    """
    Return a message of zeros that a writer can fill.

    :param typestore: A rosbags type store that knows ``kind``.
    :param kind: E.g. 'sensor_msgs/msg/Image'.
    """
    from rosbags.interfaces import Nodetype
    values = {}
    for name, (node, detail) in typestore.fielddefs[kind][1]:
        if node == Nodetype.NAME:
            values[name] = blank_message(typestore, detail)
        elif node == Nodetype.BASE:
            values[name] = {'string': '', 'bool': False}.get(detail[0], 0)
        else:
            values[name] = np.zeros(detail[1] if node == Nodetype.ARRAY else 0)
    return SimpleNamespace(**values)


def serialise(typestore: Any, kind: str, message: SimpleNamespace) -> memoryview:
    """Turn a filled message into CDR; number sequences may be lists, array.array or ndarray."""
    return typestore.serialize_cdr(_with_ndarrays(message), kind)


def offered_quality(topic: str) -> Any:
    """Return the quality of service of a topic of a bag: fixed transforms reach late listeners."""
    from rosbags.interfaces import (
        Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime)
    latched = topic == '/tf_static'
    never = QosTime(0, 0)
    return Qos(QosHistory.KEEP_LAST, 1 if latched else 10, QosReliability.RELIABLE,
               QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE, never, never,
               QosLiveliness.AUTOMATIC, never, False)


def _with_ndarrays(message: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{name: _field(value) for name, value in vars(message).items()})


def _field(value: Any) -> Any:
    if isinstance(value, SimpleNamespace):
        return _with_ndarrays(value)
    if isinstance(value, array.array):
        return np.frombuffer(value, value.typecode)
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, SimpleNamespace) for item in value):
            return [_field(item) for item in value]
        if not any(isinstance(item, str) for item in value):
            return np.asarray(value, np.float64)
    return value
