# SPDX-License-Identifier: Apache-2.0
"""Write what Perception answered as ROS topics: outputs.mcap, and poses as a TUM file."""
from pathlib import Path
import shutil
from types import SimpleNamespace
from typing import Any

from crossview_ros.data.rosbags_messages import blank_message, offered_quality, serialise
from crossview_ros.geometry.base_motion import base_motion
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.geometry.flow_color import flow_to_color
from crossview_ros.geometry.se3 import quat_xyzw_from_rotation
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import write_image
from crossview_ros.messages.odometry import write_odometry, write_transform
import numpy as np

_IMAGE = 'sensor_msgs/msg/Image'
_INFO = 'sensor_msgs/msg/CameraInfo'
_DISPARITY = 'stereo_msgs/msg/DisparityImage'
_HEADER = 'std_msgs/msg/Header'
_ODOMETRY = 'nav_msgs/msg/Odometry'
_TF = 'tf2_msgs/msg/TFMessage'
_TRANSFORM = 'geometry_msgs/msg/TransformStamped'
ODOM_FRAME = 'odom'
FULL_COLOR_PERCENTILE = 99   # the few longest vectors would leave all others pale


class OutputBag:
    """
    A bag with the topics that the live node publishes, every message under its left header.

    Use it as a context manager. The file appears complete at the end, or not at all.
    """

    def __init__(self, path: Path, min_depth: float, max_depth: float,
                 base: tuple[str, np.ndarray] | None = None) -> None:
        """
        Remember where to write; depth limits [m] go into the disparity messages.

        :param path: The .mcap file; an older one is replaced.
        :param base: Base frame and T_base_camera (4, 4); without it no odometry is written.
        """
        self.path = Path(path)
        self._base = base
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

    def write(self, result: Any, rig: StereoRig | PinholeCamera, stamp_ns: int,
              frame_id: str) -> None:
        """
        Write what a result holds; fields that are None are left out.

        :param result: PerceptionResult.
        """
        if result.depth is not None:
            camera = rig.left if isinstance(rig, StereoRig) else rig
            self._image('depth/image', result.depth, '32FC1', stamp_ns, frame_id)
            info = write_camera_info(self._blank(_INFO), camera, stamp_ns, frame_id)
            self._add('depth/camera_info', _INFO, info, stamp_ns)
        if result.confidence is not None:
            self._image('depth/confidence', result.confidence, '32FC1', stamp_ns, frame_id)
        if result.disparity is not None:
            message = write_disparity_image(self._blank(_DISPARITY), result.disparity, rig,
                                            *self._limits, stamp_ns, frame_id)
            self._add('disparity', _DISPARITY, message, stamp_ns)
        if getattr(result, 'flow', None) is not None:
            self._write_flow(result, stamp_ns, frame_id)
        if self._base is not None and getattr(result, 'T_prev_cur', None) is not None:
            self._write_odometry(result, stamp_ns, frame_id)

    def _write_flow(self, result: Any, stamp_ns: int, frame_id: str) -> None:
        self._image('optical_flow/image', result.flow, '32FC2', stamp_ns, frame_id)
        length = np.linalg.norm(result.flow, axis=2)
        known = length[np.isfinite(length)]
        full_px = float(np.percentile(known, FULL_COLOR_PERCENTILE)) if known.size else None
        self._image('optical_flow/color', flow_to_color(result.flow, full_px), 'rgb8', stamp_ns,
                    frame_id)
        if result.flow_confidence is not None:
            self._image('optical_flow/confidence', result.flow_confidence, '32FC1', stamp_ns,
                        frame_id)
        meta = set_header(self._blank(_HEADER), result.previous_stamp_ns, frame_id)
        self._add('optical_flow/meta', _HEADER, meta, stamp_ns)

    def _write_odometry(self, result: Any, stamp_ns: int, frame_id: str) -> None:
        base_frame, T_base_camera = self._base
        dt_s = (stamp_ns - result.previous_stamp_ns) * 1e-9
        motion = base_motion(result.T_odom_camera, result.covariance, result.T_prev_cur,
                             result.covariance_rel, dt_s, T_base_camera)
        message = write_odometry(
            self._blank(_ODOMETRY), motion.T_odom_base, motion.covariance, motion.twist,
            motion.twist_covariance, stamp_ns, ODOM_FRAME, base_frame)
        if 'odom' not in self._connections:   # viewers place the camera by it
            self._transform('tf_static', T_base_camera, stamp_ns, base_frame, frame_id)
        self._add('odom', _ODOMETRY, message, stamp_ns)
        self._transform('tf', motion.T_odom_base, stamp_ns, ODOM_FRAME, base_frame)

    def _transform(self, topic: str, T_parent_child: np.ndarray, stamp_ns: int, parent: str,
                   child: str) -> None:
        edge = write_transform(self._blank(_TRANSFORM), T_parent_child, stamp_ns, parent, child)
        message = self._blank(_TF)
        message.transforms = [edge]
        self._add(topic, _TF, message, stamp_ns)

    def _image(self, topic: str, values: np.ndarray, encoding: str, stamp_ns: int,
               frame_id: str) -> None:
        message = write_image(self._blank(_IMAGE), values, encoding, stamp_ns, frame_id)
        self._add(topic, _IMAGE, message, stamp_ns)

    def _add(self, topic: str, msgtype: str, message: Any, stamp_ns: int) -> None:
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                f'/{topic}', msgtype, typestore=self._typestore,
                offered_qos_profiles=[offered_quality(f'/{topic}')])
        raw = serialise(self._typestore, msgtype, message)
        self._writer.write(self._connections[topic], stamp_ns, raw)

    def _blank(self, msgtype: str) -> SimpleNamespace:
        return blank_message(self._typestore, msgtype)


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
