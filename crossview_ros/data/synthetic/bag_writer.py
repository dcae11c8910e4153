# SPDX-License-Identifier: Apache-2.0
"""Write a rendered drive as a rosbag2 folder (MCAP) that ROS 2 Humble and later can play."""
from collections.abc import Callable
from pathlib import Path
import shutil
from types import SimpleNamespace
from typing import Any

from crossview_ros.data.rosbags_messages import blank_message, offered_quality, serialise
from crossview_ros.data.synthetic.drive import Drive, DriveConfig, DriveFrame, plan_drive
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.camera import StereoRig
from crossview_ros.geometry.se3 import quat_xyzw_from_rotation
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.disparity_image import write_disparity_image
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import write_image
from crossview_ros.messages.odometry import write_odometry
import numpy as np

START_NS = 1_700_000_000 * 10 ** 9   # stamp of the first frame
LEFT_FRAME = 'camera_left_optical_frame'
RIGHT_FRAME = 'camera_right_optical_frame'
LIDAR_FRAME = 'lidar'
BASE_FRAME = 'base_link'
ODOM_FRAME = 'odom'
IMAGE, CAMERA_INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
TOPICS = {
    '/stereo/left/image_rect': IMAGE,
    '/stereo/left/camera_info': CAMERA_INFO,
    '/stereo/right/image_rect': IMAGE,
    '/stereo/right/camera_info': CAMERA_INFO,
    '/points': 'sensor_msgs/msg/PointCloud2',
    '/ground_truth/depth': IMAGE,
    '/ground_truth/disparity': 'stereo_msgs/msg/DisparityImage',
    '/ground_truth/disparity_occluded': IMAGE,
    '/ground_truth/flow': IMAGE,
    '/ground_truth/flow_occluded': IMAGE,
    '/ground_truth/odom': 'nav_msgs/msg/Odometry',
    '/tf_static': 'tf2_msgs/msg/TFMessage',
}
DEPTH_LIMITS = 0.3, 100.0            # [m] of the disparity messages
VARIANCE = 1e-6                      # of the true pose and twist; zero would mean unknown


def write_drive_bag(path: str | Path, config: DriveConfig = DriveConfig(), seed: int = 0,
                    progress: Callable[[int, int], None] | None = None) -> Path:
    """
    Render a drive into a bag.

    Images are rgb8; ``/ground_truth/flow`` carries the stamp of its second frame and lies on the
    grid of the first; the ``occluded`` images are mono8 with 255 where a pixel of the disparity
    or flow has no visible partner. The bag appears complete at the end, or not at all.

    :param path: Folder to make.
    :param progress: Called with (frames done, frames in all).
    :return: The folder.
    :raises DatasetError: If the folder exists.
    """
    path = Path(path)
    if path.exists():
        raise DatasetError(f'{path} exists already; remove it or choose another place')
    drive = plan_drive(config, seed)
    part = path.with_name(f'.{path.name}.part') / path.name
    shutil.rmtree(part.parent, ignore_errors=True)
    try:
        with _BagOutput(part) as output:
            _write_mounts(output, drive)
            for number, frame in enumerate(drive.frames(), 1):
                _write_frame(output, drive.config.rig, frame)
                if progress:
                    progress(number, config.num_frames)
        part.rename(path)
    finally:
        shutil.rmtree(part.parent, ignore_errors=True)
    return path


def _write_frame(output: '_BagOutput', rig: StereoRig, frame: DriveFrame) -> None:
    stamp = START_NS + round(frame.time_s * 1e9)

    def image(topic: str, values: np.ndarray, encoding: str, frame_id: str = LEFT_FRAME) -> None:
        output.write(topic, stamp, lambda m: write_image(m, values, encoding, stamp, frame_id))

    image('/stereo/left/image_rect', frame.left, 'rgb8')
    output.write('/stereo/left/camera_info', stamp,
                 lambda m: write_camera_info(m, rig.left, stamp, LEFT_FRAME))
    image('/stereo/right/image_rect', frame.right, 'rgb8', RIGHT_FRAME)
    output.write('/stereo/right/camera_info', stamp,
                 lambda m: write_camera_info(m, rig.right, stamp, RIGHT_FRAME, rig.baseline))
    output.write('/points', stamp, lambda m: _fill_scan(m, frame, stamp))
    image('/ground_truth/depth', frame.depth, '32FC1')
    output.write('/ground_truth/disparity', stamp, lambda m: write_disparity_image(
        m, frame.disparity, rig, *DEPTH_LIMITS, stamp, LEFT_FRAME))
    image('/ground_truth/disparity_occluded', _mask(frame.hidden_in_right), 'mono8')
    if frame.flow is not None:
        image('/ground_truth/flow', frame.flow, '32FC2')
        image('/ground_truth/flow_occluded', _mask(frame.hidden_in_left), 'mono8')
    output.write('/ground_truth/odom', stamp, lambda m: write_odometry(
        m, frame.T_odom_base, VARIANCE * np.eye(6), frame.twist, VARIANCE * np.eye(6), stamp,
        ODOM_FRAME, BASE_FRAME))


def _mask(hidden: np.ndarray) -> np.ndarray:
    return np.where(hidden, 255, 0).astype(np.uint8)


def _fill_scan(message: Any, frame: DriveFrame, stamp: int) -> Any:
    """Fill an unorganised cloud with x, y, z, intensity (FLOAT32) and ring (UINT16)."""
    scan = frame.scan
    layout = [('x', 7), ('y', 7), ('z', 7), ('intensity', 7), ('ring', 4)]   # FLOAT32, UINT16
    points = np.zeros(len(scan.points), [
        (name, '<f4' if code == 7 else '<u2') for name, code in layout])
    for i, name in enumerate('xyz'):
        points[name] = scan.points[:, i]
    points['intensity'], points['ring'] = scan.intensity, scan.ring
    set_header(message, stamp, LIDAR_FRAME)
    message.height, message.width = 1, len(points)
    message.fields = [SimpleNamespace(name=name, offset=points.dtype.fields[name][1],
                                      datatype=code, count=1) for name, code in layout]
    message.is_bigendian, message.is_dense = False, True
    message.point_step = points.itemsize
    message.row_step = points.nbytes
    message.data = points.view(np.uint8)
    return message


def _write_mounts(output: '_BagOutput', drive: Drive) -> None:
    frames = {'left': LEFT_FRAME, 'right': RIGHT_FRAME, 'lidar': LIDAR_FRAME}

    def fill(message: Any) -> Any:
        message.transforms = []
        for name, T in drive.config.mounts().items():
            transform = blank_message(output.typestore, 'geometry_msgs/msg/TransformStamped')
            set_header(transform, START_NS, BASE_FRAME)
            transform.child_frame_id = frames[name]
            for axis, value in zip('xyz', T[:3, 3]):
                setattr(transform.transform.translation, axis, float(value))
            for axis, value in zip('xyzw', quat_xyzw_from_rotation(T[:3, :3])):
                setattr(transform.transform.rotation, axis, float(value))
            message.transforms.append(transform)
        return message

    output.write('/tf_static', START_NS, fill)


class _BagOutput:
    """An open bag with the connections of `TOPICS`."""

    def __init__(self, path: Path):
        from rosbags.rosbag2 import StoragePlugin, Writer
        from rosbags.rosbag2.enums import CompressionFormat, CompressionMode
        from rosbags.typesys import get_typestore, Stores
        self.typestore = get_typestore(Stores.ROS2_HUMBLE)
        # version 8: the last whose QoS Humble can read
        self.writer = Writer(path, version=8, storage_plugin=StoragePlugin.MCAP)
        self.writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)

    def __enter__(self) -> '_BagOutput':
        self.writer.open()
        self.connections = {
            topic: self.writer.add_connection(topic, kind, typestore=self.typestore,
                                              offered_qos_profiles=[offered_quality(topic)])
            for topic, kind in TOPICS.items()}
        return self

    def __exit__(self, *error: object) -> None:
        self.writer.__exit__(*error)

    def write(self, topic: str, stamp: int, fill: Callable[[Any], Any]) -> None:
        kind = TOPICS[topic]
        message = fill(blank_message(self.typestore, kind))
        self.writer.write(self.connections[topic], stamp,
                          serialise(self.typestore, kind, message))
