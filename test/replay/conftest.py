# SPDX-License-Identifier: Apache-2.0
"""Build small stereo bags whose truth is known by construction, and a Perception to answer."""
from types import SimpleNamespace

import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores

WIDTH, HEIGHT, FX, BASELINE, DISPARITY = 48, 32, 100.0, 0.2, 8
DEPTH = FX * BASELINE / DISPARITY   # 2.5 m
TYPES = get_typestore(Stores.ROS2_HUMBLE)


class BagMaker:
    """Write messages into a bag folder; every message is given by its fields that matter."""

    def __init__(self, folder):
        """Open the writer."""
        self.folder = folder
        self.writer = Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP)
        self.connections = {}

    def __enter__(self):
        """Open the bag."""
        self.writer.open()
        return self

    def __exit__(self, *_):
        """Close the bag."""
        self.writer.close()

    def add(self, topic, msgtype, time_ns, **fields):
        """Write one message under its stamp as record time."""
        from crossview_ros.replay.outputs import blank_message
        if topic not in self.connections:
            self.connections[topic] = self.writer.add_connection(topic, msgtype, typestore=TYPES)
        message = blank_message(TYPES, msgtype)
        for name, value in fields.items():
            setattr(message, name, value)
        self.writer.write(self.connections[topic], time_ns, TYPES.serialize_cdr(message, msgtype))

    def image(self, topic, stamp_ns, array, encoding, frame_id='left', time_ns=None, **changes):
        """Write an image; ``changes`` break it on purpose."""
        array = np.ascontiguousarray(array)
        fields = {'header': header(stamp_ns, frame_id), 'height': array.shape[0],
                  'width': array.shape[1], 'encoding': encoding,
                  'step': array.strides[0], 'data': array.reshape(-1).view(np.uint8)}
        self.add(topic, 'sensor_msgs/msg/Image', stamp_ns if time_ns is None else time_ns,
                 **{**fields, **changes})

    def info(self, topic, stamp_ns, p3=0.0, frame_id='left', cx=23.5, fx=FX, time_ns=None):
        """Write a CameraInfo of a rectified camera."""
        k = np.array([fx, 0, cx, 0, fx, 15.5, 0, 0, 1.0])
        p = np.array([fx, 0, cx, p3, 0, fx, 15.5, 0, 0, 0, 1.0, 0])
        self.add(topic, 'sensor_msgs/msg/CameraInfo', stamp_ns if time_ns is None else time_ns,
                 header=header(stamp_ns, frame_id), height=HEIGHT, width=WIDTH,
                 distortion_model='plumb_bob', d=np.zeros(5), k=k, r=np.eye(3).reshape(-1), p=p)


def header(stamp_ns, frame_id):
    """Return the fields of a header."""
    stamp = SimpleNamespace(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    return SimpleNamespace(stamp=stamp, frame_id=frame_id)


def stereo_images(seed):
    """Return (left, right) (H, W, 3) uint8: the right one is the left one moved by DISPARITY."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 256, (HEIGHT, WIDTH + DISPARITY, 3), dtype=np.uint8)
    return wide[:, :WIDTH], wide[:, DISPARITY:]   # right(x) = left(x + d)


def write_stereo_bag(folder, num_frames=4, truth=True, p3=-FX * BASELINE, step_ns=10**8,
                     right_offset_ns=0, break_frame=None):
    """Write a bag of a wall DEPTH metres away; ``break_frame`` has an unknown encoding."""
    with BagMaker(folder) as bag:
        for index in range(num_frames):
            stamp = 10**9 + index * step_ns
            left, right = stereo_images(index)
            encoding = 'nonsense' if index == break_frame else 'rgb8'
            bag.info('/stereo/left/camera_info', stamp)
            bag.info('/stereo/right/camera_info', stamp + right_offset_ns, p3, 'right')
            bag.image('/stereo/left/image_rect', stamp, left, encoding)
            bag.image('/stereo/right/image_rect', stamp + right_offset_ns, right, 'rgb8', 'right')
            if truth:
                bag.image('/ground_truth/depth', stamp,
                          np.full((HEIGHT, WIDTH), DEPTH, np.float32), '32FC1')
    return folder


class FakePerception:
    """Answer every pair with the true disparity plus ``error_px``; the first row is invalid."""

    def __init__(self, error_px=0.0, odometry=False):
        """Start without history."""
        self.error_px, self.odometry = error_px, odometry
        self.backend_name, self.device, self.tasks = 'fake', 'cpu', ('stereo',)
        self.manifest = SimpleNamespace(name='fake_tiny', default_size_hw=(32, 48),
                                        licence='Apache-2.0', files={'weights': 'ab' * 32})
        self.calls, self.num_resets = [], 0

    def reset(self):
        """Count the calls."""
        self.num_resets += 1

    def process(self, left, right, rig, stamp_ns, cloud=None):
        """Return a result with the fields of the contract."""
        assert left.shape == right.shape == (HEIGHT, WIDTH, 3)
        self.calls.append((stamp_ns, cloud))
        disparity = np.full((HEIGHT, WIDTH), DISPARITY + self.error_px, np.float32)
        disparity[0] = np.nan
        T_odom_camera = np.eye(4)
        T_odom_camera[2, 3] = 0.25 * len(self.calls)
        return SimpleNamespace(
            depth=(rig.left.fx * rig.baseline / disparity).astype(np.float32),
            disparity=disparity, confidence=np.full((HEIGHT, WIDTH), 0.75, np.float32),
            flow=None, T_odom_camera=T_odom_camera if self.odometry else None,
            timing_ms={'encode': 2.0, 'stereo': 1.0})


@pytest.fixture
def make_bag(tmp_path):
    """Return a function that opens a BagMaker on a fresh folder."""
    return lambda name='bag': BagMaker(tmp_path / name)


@pytest.fixture
def make_stereo_bag(tmp_path):
    """Return `write_stereo_bag` on a fresh folder."""
    return lambda name='bag', **options: write_stereo_bag(tmp_path / name, **options)


@pytest.fixture
def fake_perception():
    """Return the class of the fake."""
    return FakePerception


@pytest.fixture
def images_of():
    """Return the function that makes the stereo images of a frame."""
    return stereo_images
