# SPDX-License-Identifier: Apache-2.0
"""Bags of a rig that moves sideways along a textured wall: every overlap follows by counting."""
from crossview_ros.data.rosbags_messages import blank_message, serialise
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import make_transform
from crossview_ros.messages.camera_info import write_camera_info
from crossview_ros.messages.header import set_header
from crossview_ros.messages.image import write_image
from crossview_ros.messages.odometry import write_odometry
from crossview_ros.messages.point_cloud2 import write_cloud
import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

WIDTH, HEIGHT, FX, BASELINE, DEPTH = 320, 240, 300.0, 0.2, 3.0
CAMERA = PinholeCamera(WIDTH, HEIGHT, FX, FX, 159.5, 119.5)
DISPARITY = round(FX * BASELINE / DEPTH)   # 20 px
METRES_PER_PIXEL = DEPTH / FX
START_NS, STEP_NS = 10**9, 10**8
T_CAMERA_LIDAR = make_transform(np.array([[0, -1.0, 0], [0, 0, -1], [1, 0, 0]]), (0, -0.1, 0))
TYPES = get_typestore(Stores.ROS2_HUMBLE)
IMAGE, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'


def wall(width, height=HEIGHT, seed=0, cell=4):
    """Return (height, width, 3) uint8 of smooth random texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // cell + 2, width // cell + 2, 3), dtype=np.uint8)
    return cv2.resize(coarse, None, fx=cell, fy=cell,
                      interpolation=cv2.INTER_CUBIC)[:height, :width]


def write_wall_bag(folder, shifts_px, stereo=True, truth=True, cloud_offset_ns=None,
                   change=None, scale=1):
    """
    Write a bag whose camera moves to the right: image k is the wall from column shifts_px[k].

    :param truth: Write depth and odometry.
    :param cloud_offset_ns: Stamp of each cloud minus that of its image; None writes none.
    :param change: Called with the number and image of each frame; returns the image to write.
    :param scale: Pixels are repeated so often in both directions.
    """
    picture = wall(WIDTH + DISPARITY + max(shifts_px, default=0) + 1)
    camera = CAMERA.scaled(WIDTH * scale, HEIGHT * scale)
    depth = np.full(camera.size_hw, DEPTH, np.float32)
    with _Output(folder) as bag:
        for index, shift in enumerate(shifts_px):
            stamp = START_NS + index * STEP_NS
            for side, at in (('left', shift), ('right', shift + DISPARITY))[:1 + stereo]:
                image = picture[:, at:at + WIDTH].repeat(scale, 0).repeat(scale, 1)
                bag.info(side, stamp, camera)
                bag.image(f'/{side}/image_rect', stamp, change(index, image) if change else image,
                          'rgb8')
            if truth:
                bag.image('/ground_truth/depth', stamp, depth, '32FC1')
                bag.pose(stamp, shift * METRES_PER_PIXEL)
            if cloud_offset_ns is not None:
                bag.cloud(stamp + cloud_offset_ns)
    return folder


def lidar_points():
    """Return (N, 3) float32 [m], LiDAR frame: a grid on the wall that is twice as wide."""
    y, z = np.meshgrid(np.linspace(-3, 3, 61), np.linspace(-1, 1, 21))
    return np.stack((np.full(y.size, DEPTH), y.ravel(), z.ravel()), 1).astype(np.float32)


class _Output:
    """An uncompressed bag."""

    def __init__(self, folder):
        self.writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self.connections = {}

    def __enter__(self):
        self.writer.open()
        self.write('/tf_static', 'tf2_msgs/msg/TFMessage', 1, self._fill_mounts)
        return self

    def __exit__(self, *_):
        self.writer.close()

    def write(self, topic, kind, time_ns, fill):
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, kind, typestore=TYPES)
        message = fill(blank_message(TYPES, kind))
        self.writer.write(self.connections[topic], time_ns, serialise(TYPES, kind, message))

    def info(self, side, stamp, camera):
        baseline = BASELINE if side == 'right' else 0.0
        self.write(f'/{side}/camera_info', INFO, stamp,
                   lambda m: write_camera_info(m, camera, stamp, 'camera', baseline))

    def image(self, topic, stamp, values, encoding):
        self.write(topic, IMAGE, stamp, lambda m: write_image(
            m, np.ascontiguousarray(values), encoding, stamp, 'camera'))

    def pose(self, stamp, x):
        self.write('/ground_truth/odom', 'nav_msgs/msg/Odometry', stamp, lambda m: write_odometry(
            m, make_transform(np.eye(3), (x, 0, 0)), np.eye(6), np.zeros(6), np.eye(6), stamp,
            'odom', 'camera'))

    def cloud(self, stamp):
        def fill(message):
            set_header(message, stamp, 'lidar')
            return write_cloud(message, lidar_points(), stamp_ns=stamp, frame_id='lidar')

        self.write('/points', 'sensor_msgs/msg/PointCloud2', stamp, fill)

    @staticmethod
    def _fill_mounts(message):
        edge = blank_message(TYPES, 'geometry_msgs/msg/TransformStamped')
        set_header(edge, 1, 'camera')
        edge.child_frame_id = 'lidar'
        edge.transform.translation.y = T_CAMERA_LIDAR[1, 3]
        for axis, value in zip('xyzw', (0.5, -0.5, 0.5, 0.5)):   # the rotation of T_CAMERA_LIDAR
            setattr(edge.transform.rotation, axis, value)
        message.transforms = [edge]
        return message
