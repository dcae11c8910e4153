# SPDX-License-Identifier: Apache-2.0
"""sensor_msgs/PointCloud2 to and from arrays, whatever the order and padding of its fields."""
import sys
from types import SimpleNamespace
from typing import Any

from crossview_ros.errors import MessageError
from crossview_ros.messages.header import set_header
from crossview_ros.messages.sequences import read_bytes, set_bytes
import numpy as np

# sensor_msgs/PointField: INT8 = 1 ... FLOAT64 = 8
_KINDS = {1: 'i1', 2: 'u1', 3: 'i2', 4: 'u2', 5: 'i4', 6: 'u4', 7: 'f4', 8: 'f8'}
_FLOAT32 = 7
MAX_POINT_STEP = 65536   # bytes


def read_points(message: Any, topic: str = 'cloud') -> np.ndarray:
    """
    Read the positions of a cloud.

    :param message: sensor_msgs/PointCloud2 with number fields x, y, z.
    :param topic: Named in errors.
    :return: (N, 3) float32 [m] in the cloud's frame; rows that are not finite are left out.
    :raises MessageError: If x, y or z is missing or the sizes contradict the data.
    """
    return read_points_and_intensity(message, topic)[0]


def read_points_and_intensity(message: Any,
                              topic: str = 'cloud') -> tuple[np.ndarray, np.ndarray | None]:
    """
    Read the positions of a cloud, and how strong each echo was.

    :return: As `read_points`; and (N,) float32 of the field ``intensity`` in the units of the
        device, None where the cloud has none.
    :raises MessageError: As `read_points`.
    """
    cloud = read_cloud(message, topic).reshape(-1)
    for name in 'xyz':
        if name not in (cloud.dtype.names or ()) or cloud.dtype[name].shape:
            raise MessageError(f"{topic}: no number field '{name}'; the cloud has "
                               f'{", ".join(cloud.dtype.names or ()) or "no fields"}')
    points = np.empty((len(cloud), 3), np.float32)
    with np.errstate(over='ignore', invalid='ignore'):   # a float64 beyond float32 is no place
        for column, name in enumerate('xyz'):
            points[:, column] = cloud[name]
    known = np.isfinite(points).all(axis=1)
    if 'intensity' not in cloud.dtype.names or cloud.dtype['intensity'].shape:
        return points[known], None
    return points[known], cloud['intensity'][known].astype(np.float32)


def read_cloud(message: Any, topic: str = 'cloud') -> np.ndarray:
    """
    View a cloud as a structured array, e.g. ``cloud['ring']``.

    :param message: sensor_msgs/PointCloud2; fields may be padded, reordered, big-endian.
    :return: (H, W) with the message's fields, (0, 0) if it has no points; a view that may be
        read-only: copy it before the message goes away.
    :raises MessageError: If the fields do not fit a point or the sizes contradict the data.
    """
    height, width = int(message.height), int(message.width)
    dtype = _point_dtype(message, topic)
    data = read_bytes(message.data, topic)
    row_step = int(message.row_step)
    if height * width == 0:
        return np.empty((0, 0), dtype)
    if row_step < width * dtype.itemsize:
        raise MessageError(f'{topic}: row_step is {row_step} bytes, but {width} points of '
                           f'{dtype.itemsize} bytes need {width * dtype.itemsize}')
    if len(data) != row_step * height:
        raise MessageError(f'{topic}: data holds {len(data)} bytes, but row_step * height is '
                           f'{row_step} * {height} = {row_step * height}; the message is damaged')
    return np.ndarray((height, width), dtype, data, strides=(row_step, dtype.itemsize))


def write_cloud(message: Any, points: np.ndarray, rgb: np.ndarray | None = None, *,
                stamp_ns: int, frame_id: str, pcl_padding: bool = False) -> Any:
    """
    Fill a cloud with x, y, z and colour, all FLOAT32.

    :param message: A fresh sensor_msgs/PointCloud2.
    :param points: (H, W, 3) or (N, 3) float32 [m]; rows of NaN stay and clear is_dense.
    :param rgb: uint8 of the same shape, or None for no colour.
    :param pcl_padding: Lay points out as PCL does (16 bytes, 32 with colour) instead of tightly
        (12 bytes, 16 with colour).
    :return: The message.
    :raises MessageError: If shapes or types are not as above.
    """
    points = np.asarray(points)
    if points.ndim not in (2, 3) or points.shape[-1] != 3 or points.dtype != np.float32:
        raise MessageError(f'points must be (height, width, 3) or (N, 3) float32, '
                           f'got {points.shape} {points.dtype}')
    if rgb is not None and (np.shape(rgb) != points.shape or np.asarray(rgb).dtype != np.uint8):
        raise MessageError(f'rgb must be uint8 of shape {points.shape}, got '
                           f'{np.shape(rgb)} {np.asarray(rgb).dtype}')
    colour_at = 16 if pcl_padding else 12
    point_step = (32 if pcl_padding else 16) if rgb is not None else colour_at
    values = np.zeros((*points.shape[:-1], point_step // 4), '<f4')
    values[..., :3] = points
    if rgb is not None:   # bytes B, G, R, 0
        values.view(np.uint8)[..., colour_at:colour_at + 3] = np.asarray(rgb)[..., ::-1]
    offsets = {'x': 0, 'y': 4, 'z': 8} | ({} if rgb is None else {'rgb': colour_at})
    set_header(message, stamp_ns, frame_id)
    message.height, message.width = points.shape[:2] if points.ndim == 3 else (1, len(points))
    message.fields = [_new_field(message, name, offset) for name, offset in offsets.items()]
    message.is_bigendian = False
    message.point_step = point_step
    message.row_step = point_step * message.width
    message.is_dense = bool(np.isfinite(points).all())
    set_bytes(message, values)
    return message


def _new_field(message: Any, name: str, offset: int) -> Any:
    """Return a PointField of the package that the message is of, or its attributes."""
    # rclpy's sensor_msgs.msg._point_cloud2.PointCloud2 lies beside sensor_msgs.msg.PointField;
    # rosbags serialises by attribute
    package = sys.modules.get(type(message).__module__.rpartition('.')[0])
    field = getattr(package, 'PointField', SimpleNamespace)()
    field.name, field.offset, field.datatype, field.count = name, offset, _FLOAT32, 1
    return field


def _point_dtype(message: Any, topic: str) -> np.dtype:
    point_step, order = int(message.point_step), '>' if message.is_bigendian else '<'
    if not 0 <= point_step <= MAX_POINT_STEP:
        raise MessageError(f'{topic}: a point cannot have {point_step} bytes; the message is '
                           'damaged')
    names, formats, offsets = [], [], []
    for field in message.fields:
        name, count, code = str(field.name), int(field.count) or 1, int(field.datatype)
        if code not in _KINDS:
            raise MessageError(f"{topic}: field '{name}' has datatype {code}; known are 1 to 8")
        end = int(field.offset) + np.dtype(_KINDS[code]).itemsize * count
        if int(field.offset) < 0 or count < 0 or end > point_step:
            raise MessageError(f"{topic}: field '{name}' ends at byte {end}, but a point has "
                               f'{point_step}')
        if name in names:
            raise MessageError(f"{topic}: two fields are called '{name}'")
        if name:   # nameless ones are padding
            names.append(name)
            formats.append(order + _KINDS[code] if count == 1 else (order + _KINDS[code], count))
            offsets.append(int(field.offset))
    if not names:
        raise MessageError(f'{topic}: the cloud declares no fields')
    return np.dtype({'names': names, 'formats': formats, 'offsets': offsets,
                     'itemsize': point_step})
