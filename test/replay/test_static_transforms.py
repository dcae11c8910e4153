# SPDX-License-Identifier: Apache-2.0
"""Fixed transforms of a bag: chains, and what they serve for."""
from types import SimpleNamespace

from crossview_ros.errors import CalibrationError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.run import replay_bag, ReplayOptions
from crossview_ros.replay.static_transforms import StaticTransforms
import numpy as np
import pytest

HALF = np.sqrt(0.5)


def edge(parent, child, translation, quat_xyzw=(0.0, 0.0, 0.0, 1.0)):
    """Return a TransformStamped."""
    stamp = SimpleNamespace(sec=0, nanosec=0)
    return SimpleNamespace(
        header=SimpleNamespace(stamp=stamp, frame_id=parent), child_frame_id=child,
        transform=SimpleNamespace(
            translation=SimpleNamespace(**dict(zip('xyz', map(float, translation)))),
            rotation=SimpleNamespace(**dict(zip('xyzw', map(float, quat_xyzw))))))


def tree(*edges):
    """Return StaticTransforms of edges."""
    return StaticTransforms([SimpleNamespace(transforms=list(edges))])


def test_a_chain_is_composed_in_both_directions():
    # base -> mast: 1 m up, turned by 90 degrees about z; mast -> camera: 2 m along the mast's x
    frames = tree(edge('base', 'mast', (0, 0, 1), (0, 0, HALF, HALF)),
                  edge('/mast', '/camera', (2, 0, 0)), edge('base', 'lidar', (0, 0, 3)))
    expected = np.array([[0, -1, 0, 0], [1, 0, 0, 2], [0, 0, 1, 1], [0, 0, 0, 1.0]])
    np.testing.assert_allclose(frames.lookup('base', 'camera'), expected, atol=1e-12)
    np.testing.assert_allclose(frames.lookup('camera', 'base'), np.linalg.inv(expected),
                               atol=1e-12)
    T_lidar_camera = frames.lookup('lidar', 'camera')   # through the common parent
    np.testing.assert_allclose(T_lidar_camera[:3, 3], [0, 2, -2], atol=1e-12)
    np.testing.assert_allclose(frames.lookup('camera', 'camera'), np.eye(4), atol=1e-12)


def test_frames_that_nothing_connects_are_refused():
    frames = tree(edge('base', 'camera', (0, 0, 0)))
    with pytest.raises(CalibrationError, match="no fixed transform from 'lidar' to 'camera'"):
        frames.lookup('camera', 'lidar')
    with pytest.raises(CalibrationError, match='it connects nothing'):
        StaticTransforms().lookup('a', 'b')


def test_a_loop_is_refused():
    with pytest.raises(CalibrationError, match='loop'):
        tree(edge('a', 'b', (0, 0, 0)), edge('b', 'a', (0, 0, 0))).lookup('a', 'c')


def test_transforms_of_a_recorded_bag(shared_dir):
    with Bag(shared_dir / 'data' / 'bags' / 'kitti_raw_residential_a') as bag:
        T = StaticTransforms.of_bag(bag).lookup('left_camera_optical_frame',
                                                'right_camera_optical_frame')
    np.testing.assert_allclose(T[:3, 3], [0.53715, 0, 0], atol=1e-4)


def write_pair(bag, images_of, p3):
    """Write one stereo pair at 1 s."""
    left, right = images_of(0)
    bag.info('/left/camera_info', 10**9)
    bag.info('/right/camera_info', 10**9, p3, 'right')
    bag.image('/left/image_rect', 10**9, left, 'rgb8')
    bag.image('/right/image_rect', 10**9, right, 'rgb8', 'right')


def test_a_missing_baseline_is_taken_from_tf_and_told(make_bag, images_of, fake_perception,
                                                      tmp_path):
    with make_bag() as bag:
        bag.add('/tf_static', 'tf2_msgs/msg/TFMessage', 1,
                transforms=[edge('left', 'right', (0.2, 0, 0))])
        write_pair(bag, images_of, 0.0)
    data = replay_bag(bag.folder, fake_perception(), ReplayOptions(), tmp_path, title='t',
                      command='c')
    assert data.facts['Input']['baseline'] == '0.2000 m'
    assert any('0.2000 m were taken from /tf_static' in note for note in data.notes)


def test_a_missing_baseline_without_tf_is_refused(make_bag, images_of, fake_perception,
                                                  tmp_path):
    with make_bag() as bag:
        write_pair(bag, images_of, 0.0)
    with pytest.raises(CalibrationError, match='baseline'):
        replay_bag(bag.folder, fake_perception(), ReplayOptions(), tmp_path, title='t',
                   command='c')


@pytest.mark.parametrize('with_tf', [False, True])
def test_the_cloud_arrives_in_the_left_frame_or_is_left_out_and_told(
        make_bag, images_of, fake_perception, tmp_path, with_tf):
    points = np.array([[1, 2, 3], [4, 5, 6]], np.float32)
    fields = [SimpleNamespace(name=name, offset=4 * i, datatype=7, count=1)
              for i, name in enumerate('xyz')]
    stamp = SimpleNamespace(sec=1, nanosec=0)
    with make_bag() as bag:
        if with_tf:
            bag.add('/tf_static', 'tf2_msgs/msg/TFMessage', 1,
                    transforms=[edge('left', 'lidar', (0, 0, 0.5))])
        bag.add('/points', 'sensor_msgs/msg/PointCloud2', 10**9 - 1,
                header=SimpleNamespace(stamp=stamp, frame_id='lidar'), height=1, width=2,
                fields=fields, is_bigendian=False, point_step=12, row_step=24,
                data=points.reshape(-1).view(np.uint8), is_dense=True)
        write_pair(bag, images_of, -20.0)
    perception = fake_perception()
    data = replay_bag(bag.folder, perception, ReplayOptions(), tmp_path, title='t', command='c')
    (_, cloud), = perception.calls
    if with_tf:
        np.testing.assert_allclose(cloud, points + [0, 0, 0.5])
        assert data.facts['Input']['cloud'] == '/points'
    else:
        assert cloud is None
        assert any('The cloud is not used' in note for note in data.notes)
