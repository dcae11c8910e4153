# SPDX-License-Identifier: Apache-2.0
"""Build small stereo bags whose truth is known by construction, and a Perception to answer."""
from types import SimpleNamespace

from crossview_ros.runtime.results import PerceptionResult, TrackingStatus
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
        from crossview_ros.data.rosbags_messages import blank_message
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


def write_moving_bag(folder, poses_x, flow_x=3.0, hidden=False, stereo=True):
    """
    Write a bag whose image moves by flow_x to the right each frame, with true flow and poses.

    :param poses_x: Forward positions of the base [m], one a frame; the camera looks along it.
    """
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (HEIGHT, WIDTH + 200, 3), dtype=np.uint8)
    with BagMaker(folder) as bag:
        bag.add('/tf_static', 'tf2_msgs/msg/TFMessage', 1, transforms=[transform_edge(
            'base_link', 'left', (0.1, 0.0, 1.0), (-0.5, 0.5, -0.5, 0.5))])
        for index, x in enumerate(poses_x):
            stamp, start = 10**9 + index * 10**8, 150 - int(index * flow_x)
            bag.info('/left/camera_info', stamp)
            bag.image('/left/image_rect', stamp, wide[:, start:start + WIDTH], 'rgb8')
            if stereo:
                bag.info('/right/camera_info', stamp, -FX * BASELINE, 'right')
                bag.image('/right/image_rect', stamp,
                          wide[:, start + DISPARITY:start + DISPARITY + WIDTH], 'rgb8', 'right')
            pose = SimpleNamespace(position=xyz(x, 0, 0), orientation=xyzw(0, 0, 0, 1))
            bag.add('/ground_truth/odom', 'nav_msgs/msg/Odometry', stamp,
                    header=header(stamp, 'map'), child_frame_id='base_link',
                    pose=SimpleNamespace(pose=pose, covariance=np.zeros(36)))
            if index:
                flow = np.zeros((HEIGHT, WIDTH, 2), np.float32)
                flow[..., 0] = flow_x
                bag.image('/ground_truth/flow', stamp, flow, '32FC2')
            if index and hidden:
                mask = np.zeros((HEIGHT, WIDTH), np.uint8)
                mask[:, WIDTH // 2:] = 255
                bag.image('/ground_truth/flow_occluded', stamp, mask, 'mono8')
    return folder


def xyz(x, y, z):
    """Return a vector message."""
    return SimpleNamespace(x=float(x), y=float(y), z=float(z))


def xyzw(x, y, z, w):
    """Return a quaternion message."""
    return SimpleNamespace(x=float(x), y=float(y), z=float(z), w=float(w))


def transform_edge(parent, child, translation, rotation):
    """Return a TransformStamped."""
    return SimpleNamespace(header=header(0, parent), child_frame_id=child,
                           transform=SimpleNamespace(translation=xyz(*translation),
                                                     rotation=xyzw(*rotation)))


class FakePerception:
    """Answer every pair with the true disparity plus ``error_px``; the first row is invalid."""

    def __init__(self, error_px=0.0, odometry=False):
        """Start without history."""
        self.error_px, self.odometry = error_px, odometry
        self.backend_name, self.device = 'fake', 'cpu'
        self.tasks = ('stereo', 'odometry') if odometry else ('stereo',)
        self.manifest = SimpleNamespace(name='fake_tiny', default_size_hw=(32, 48),
                                        licence='Apache-2.0', files={'weights': 'ab' * 32})
        self.calls, self.num_resets = [], 0

    def reset(self):
        """Count the calls."""
        self.num_resets += 1

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
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


class MovingPerception(FakePerception):
    """
    Answer as FakePerception, with a flow to the right and equal steps forward.

    Pairs whose number is in ``lost`` have no motion. One image alone gets a flow only.
    """

    def __init__(self, flow_x=3.0, step_m=0.5, lost=()):
        """Start without history."""
        super().__init__(odometry=True)
        self.tasks = ('stereo', 'flow', 'odometry')
        self.flow_x, self.step_m, self.lost = flow_x, step_m, lost
        self.before_ns, self.T_odom_camera = None, np.eye(4)

    def reset(self):
        """Forget the frame before."""
        super().reset()
        self.before_ns = None

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
        """Return a PerceptionResult."""
        fields, number, before_ns = {}, len(self.calls), self.before_ns
        if right is None:
            self.calls.append((stamp_ns, cloud))
        else:
            answer = super().process(left, right, rig, stamp_ns, cloud)
            fields = {name: getattr(answer, name)
                      for name in ('depth', 'disparity', 'confidence', 'timing_ms')}
            fields.update(self._motion(number, before_ns))
        if before_ns is not None:
            flow = np.zeros((*left.shape[:2], 2), np.float32)
            flow[..., 0] = self.flow_x
            fields.update(flow=flow, flow_confidence=np.full(left.shape[:2], 0.5, np.float32),
                          previous_stamp_ns=before_ns)
        self.before_ns = stamp_ns
        return PerceptionResult(stamp_ns, **fields)

    def _motion(self, number, before_ns):
        if before_ns is None:
            return {'status': TrackingStatus.INITIALISING, 'T_odom_camera': np.eye(4)}
        if number in self.lost:
            return {'status': TrackingStatus.LOST}
        T_prev_cur = np.eye(4)
        T_prev_cur[2, 3] = self.step_m
        self.T_odom_camera = self.T_odom_camera @ T_prev_cur
        return {'status': TrackingStatus.OK, 'T_prev_cur': T_prev_cur,
                'T_odom_camera': self.T_odom_camera, 'covariance': 1e-4 * np.eye(6),
                'covariance_rel': 1e-5 * np.eye(6)}


@pytest.fixture
def make_moving_bag(tmp_path):
    """Return `write_moving_bag` on a fresh folder."""
    return lambda *args, **options: write_moving_bag(tmp_path / 'moving', *args, **options)


@pytest.fixture
def moving_perception():
    """Return the class of the fake that moves."""
    return MovingPerception


@pytest.fixture
def images_of():
    """Return the function that makes the stereo images of a frame."""
    return stereo_images
