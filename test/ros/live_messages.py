# SPDX-License-Identifier: Apache-2.0
"""Messages of small cameras and a LiDAR that look at a wall, and edits that damage them."""
from array import array
from functools import partial

from crossview_ros.messages.point_cloud2 import write_cloud
import cv2
from fake_engine import DISPARITY_PX
import numpy as np
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

WIDTH, HEIGHT, FX, BASELINE = 64, 48, 100.0, 0.12
DEPTH = FX * BASELINE / DISPARITY_PX   # 1.5 m, where the fake engine sees the wall
LEFT_FRAME, RIGHT_FRAME = 'camera_left_optical_frame', 'camera_right_optical_frame'
LIDAR_FRAME = 'lidar'
# a LiDAR with x forward, y left and z up, in the place of the left camera; and so the base
ON_CAMERA = [0.0, 0.0, 0.0, 0.5, -0.5, 0.5, 0.5]         # T_camera_lidar
CAMERA_ON_BASE = [1.0, 0.0, 0.0, -0.5, 0.5, -0.5, 0.5]   # T_base_camera, one metre in front


def image(stamp_ns, frame_id):
    """Return a grey rgb8 image."""
    message = Image(height=HEIGHT, width=WIDTH, encoding='rgb8', step=3 * WIDTH)
    message.data = array('B', bytes([128]) * (3 * WIDTH * HEIGHT))
    return with_header(message, stamp_ns, frame_id)


def compressed_image(stamp_ns, frame_id):
    """Return a grey JPEG."""
    message = CompressedImage(format='rgb8; jpeg compressed bgr8')
    grey = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    message.data = array('B', cv2.imencode('.jpg', grey)[1].tobytes())
    return with_header(message, stamp_ns, frame_id)


def camera_info(stamp_ns, frame_id, baseline):
    """Return the CameraInfo of a rectified camera."""
    cx, cy = (WIDTH - 1) / 2, (HEIGHT - 1) / 2
    message = CameraInfo(height=HEIGHT, width=WIDTH, distortion_model='plumb_bob', d=[0.0] * 5)
    message.k = [FX, 0.0, cx, 0.0, FX, cy, 0.0, 0.0, 1.0]
    message.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    message.p = [FX, 0.0, cx, -FX * baseline, 0.0, FX, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
    return with_header(message, stamp_ns, frame_id)


def cloud(stamp_ns, distance=DEPTH):
    """Return points on the wall; the last one is NaN."""
    across = np.linspace(-0.2, 0.2, 11, dtype=np.float32)
    y, z = (grid.ravel() for grid in np.meshgrid(across, across))
    points = np.stack((np.full_like(y, distance), y, z), axis=1)
    points = np.vstack((points, np.full((1, 3), np.nan, np.float32)))
    return write_cloud(PointCloud2(), points, stamp_ns=stamp_ns, frame_id=LIDAR_FRAME)


def with_header(message, stamp_ns, frame_id):
    """Set stamp and frame."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 1_000_000_000)
    message.header.frame_id = frame_id
    return message


def set_fields(**fields):
    """Return an edit that sets fields of a message."""
    def edit(message):
        for name, value in fields.items():
            setattr(message, name, value)
    return edit


def set_baseline(baseline):
    """Return an edit of the right camera_info."""
    def edit(message):
        message.p[3] = -FX * baseline
    return edit


def set_stamp(nanosec):
    """Return an edit that damages the stamp."""
    def edit(message):
        message.header.stamp.nanosec = nanosec
    return edit


def resize(width, height):
    """Return edits of all messages of cameras to another size."""
    def images(message):
        message.width, message.height, message.step = width, height, 3 * width
        message.data = array('B', bytes(3 * width * height))
    infos = set_fields(width=width, height=height)
    return {'left_image': images, 'right_image': images, 'left_info': infos, 'right_info': infos,
            'image': images, 'camera_info': infos}


# stream: function that makes its message for a stamp [ns]
MESSAGES = {
    'left_info': partial(camera_info, frame_id=LEFT_FRAME, baseline=0.0),
    'left_image': partial(image, frame_id=LEFT_FRAME),
    'right_info': partial(camera_info, frame_id=RIGHT_FRAME, baseline=BASELINE),
    'right_image': partial(image, frame_id=RIGHT_FRAME),
    'left_jpeg': partial(compressed_image, frame_id=LEFT_FRAME),
    'right_jpeg': partial(compressed_image, frame_id=RIGHT_FRAME),
    'image': partial(image, frame_id=LEFT_FRAME),
    'camera_info': partial(camera_info, frame_id=LEFT_FRAME, baseline=0.0),
    'points': cloud,
}
