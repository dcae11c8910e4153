# SPDX-License-Identifier: Apache-2.0
"""Write what Perception answered as ROS topics: outputs.mcap, and poses as a TUM file."""
from pathlib import Path
import shutil
from types import SimpleNamespace
from typing import Any

from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.se3 import quat_xyzw_from_rotation
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.image import write_image
import numpy as np

_IMAGE = 'sensor_msgs/msg/Image'
_INFO = 'sensor_msgs/msg/CameraInfo'
_DISPARITY = 'stereo_msgs/msg/DisparityImage'


class OutputBag:
    """
    A bag with the topics that the live node publishes, every message under its left header.

    Use it as a context manager. The file appears complete at the end, or not at all.
    """

    def __init__(self, path: Path, min_depth: float, max_depth: float) -> None:
        """
        Remember where to write; depth limits [m] go into the disparity messages.

        :param path: The .mcap file; an older one is replaced.
        """
        self.path = Path(path)
        self._limits = min_depth, max_depth
        self._folder = self.path.with_name(f'.{self.path.stem}_part') / self.path.stem
        self._connections: dict[str, Any] = {}

    def __enter__(self) -> 'OutputBag':
        """Open a bag beside the final place."""
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
        from rosbags.typesys import get_typestore, Stores
        shutil.rmtree(self._folder.parent, ignore_errors=True)
        self._typestore = get_typestore(Stores.ROS2_HUMBLE)
        self._writer = Writer(self._folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._writer.open()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        """Close the bag; move it to its place unless there was an error."""
        if error is None and self._connections:
            self._writer.close()
            (self._folder / f'{self._folder.name}.mcap').replace(self.path)
        else:
            self._writer.abort()
        shutil.rmtree(self._folder.parent)

    def write(self, result: Any, rig: StereoRig, stamp_ns: int, frame_id: str) -> None:
        """
        Write what a result holds; fields that are None are left out.

        :param result: Perception's result: depth, disparity, confidence, flow arrays.
        """
        if result.depth is not None:
            self._image('depth/image', result.depth, '32FC1', stamp_ns, frame_id)
            info = write_camera_info(self._blank(_INFO), rig.left, stamp_ns, frame_id)
            self._add('depth/camera_info', _INFO, info, stamp_ns)
        if result.confidence is not None:
            self._image('depth/confidence', result.confidence, '32FC1', stamp_ns, frame_id)
        if result.disparity is not None:
            message = write_disparity_image(self._blank(_DISPARITY), result.disparity, rig,
                                            *self._limits, stamp_ns, frame_id)
            self._add('disparity', _DISPARITY, message, stamp_ns)
        if getattr(result, 'flow', None) is not None:
            self._image('optical_flow/image', result.flow, '32FC2', stamp_ns, frame_id)

    def _image(self, topic: str, values: np.ndarray, encoding: str, stamp_ns: int,
               frame_id: str) -> None:
        message = write_image(self._blank(_IMAGE), values, encoding, stamp_ns, frame_id)
        self._add(topic, _IMAGE, message, stamp_ns)

    def _add(self, topic: str, msgtype: str, message: Any, stamp_ns: int) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                f'/{topic}', msgtype, typestore=self._typestore)
        raw = self._typestore.serialize_cdr(message, msgtype)
        self._writer.write(self._connections[topic], stamp_ns, raw)

    def _blank(self, msgtype: str) -> SimpleNamespace:
        return blank_message(self._typestore, msgtype)


def blank_message(typestore: Any, msgtype: str) -> SimpleNamespace:
    """Return a message of zeros that a writer can fill and rosbags can serialise."""
    from rosbags.interfaces import Nodetype
    values = {}
    for name, (kind, detail) in typestore.fielddefs[msgtype][1]:
        if kind == Nodetype.NAME:
            values[name] = blank_message(typestore, detail)
        elif kind == Nodetype.BASE:
            values[name] = {'string': '', 'bool': False}.get(detail[0], 0)
        else:
            values[name] = np.zeros(detail[1] if kind == Nodetype.ARRAY else 0)
    return SimpleNamespace(**values)


def write_trajectory(path: Path, poses: list[tuple[int, np.ndarray]]) -> None:
    """
    Write poses as a TUM file: ``t tx ty tz qx qy qz qw``, t in seconds with nanoseconds.

    :param poses: (stamp [ns], T_odom_camera (4, 4)) in order.
    """
    lines = ['# t[s] tx ty tz[m] qx qy qz qw: camera pose T_odom_camera']
    for stamp_ns, T_odom_camera in poses:
        quat_xyzw = quat_xyzw_from_rotation(T_odom_camera[:3, :3])
        numbers = (*T_odom_camera[:3, 3], *quat_xyzw)
        seconds = f'{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}'
        lines.append(' '.join((seconds, *(f'{number:.9g}' for number in numbers))))
    path.write_text('\n'.join(lines) + '\n', encoding='ascii')
