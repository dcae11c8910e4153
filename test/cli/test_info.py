# SPDX-License-Identifier: Apache-2.0
"""Verb info: what a bag holds, in a table and as JSON."""
import json

from crossview_ros.cli.main import main
from crossview_ros.config import load_yaml
from crossview_ros.geometry.se3 import rotation_from_quat_xyzw
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores


@pytest.fixture
def bag_path(shared_dir):
    """Return a recorded stereo bag."""
    return shared_dir / 'data' / 'bags' / 'kitti_raw_residential_a'


@pytest.fixture
def make_bag(tmp_path):
    """Return a function that writes one camera without transforms."""
    def write():
        from crossview_ros.data.rosbags_messages import blank_message
        types = get_typestore(Stores.ROS2_HUMBLE)
        with Writer(tmp_path / 'bag', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
            for topic, kind in (('image_rect', 'Image'), ('camera_info', 'CameraInfo')):
                name = f'sensor_msgs/msg/{kind}'
                connection = writer.add_connection(f'/mono/{topic}', name, typestore=types)
                message = blank_message(types, name)
                message.header.frame_id = 'camera'
                writer.write(connection, 1, types.serialize_cdr(message, name))
        return tmp_path / 'bag'
    return write


def test_bag_as_json(bag_path, capsys):
    assert main(['info', str(bag_path), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['kind'] == 'bag' and facts['storage'] == 'mcap' and facts['messages'] == 226
    topics = {topic['name']: topic for topic in facts['topics']}
    assert topics['/stereo/left/image_rect']['count'] == 45
    assert topics['/stereo/left/image_rect']['rate_hz'] == pytest.approx(9.69, abs=0.01)
    pair, = facts['stereo_pairs']
    assert pair['left'] == '/stereo/left/image_rect' and pair['pairs'] == 45
    assert pair['baseline_m'] == pytest.approx(0.5372, abs=1e-4)   # 193.7872 / 360.76885
    assert pair['problem'] is None
    left = facts['cameras'][0]
    assert (left['width'], left['height'], left['rectified']) == (621, 187, True)


def test_bag_as_table(bag_path, capsys):
    assert main(['info', str(bag_path)]) == 0
    text = capsys.readouterr().out
    for part in ('storage   mcap', '4.54 s', 'sensor_msgs/msg/CameraInfo', '621x187',
                 '/stereo/left/image_rect + /stereo/right/image_rect: 45 pairs, baseline 0.5372'):
        assert part in text, part


def test_raw_cameras_are_said_to_be_not_rectified(shared_dir, capsys):
    path = shared_dir / 'data' / 'bags' / 'euroc_v101_static_a'
    assert main(['info', str(path)]) == 0
    assert 'no, plumb_bob' in capsys.readouterr().out


def test_one_camera_bag_has_no_pair(shared_dir, capsys):
    assert main(['info', str(shared_dir / 'data' / 'bags' / 'tum_fr1_desk')]) == 0
    assert 'no pair found' in capsys.readouterr().out


def test_extrinsics_of_a_bag_become_a_parameter_file(shared_dir, tmp_path, capsys):
    file = tmp_path / 'extrinsics.yaml'
    bag = shared_dir / 'data' / 'bags' / 'kitti00_mini'
    assert main(['info', str(bag), '--extrinsics', str(file)]) == 0
    assert 'base_frame, extrinsics.base_camera, extrinsics.camera_lidar' in capsys.readouterr().err
    parameters = load_yaml(file)['/**']['ros__parameters']
    assert parameters['base_frame'] == 'base_link'
    base_camera = parameters['extrinsics.base_camera']
    # the base of this bag is the camera with body axes: x forward is the camera's z
    np.testing.assert_allclose(base_camera[:3], 0.0, atol=1e-9)
    np.testing.assert_allclose(rotation_from_quat_xyzw(base_camera[3:]),
                               [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-9)
    # the LiDAR looks along its x, sits 0.27 m behind the camera and 0.08 m above it
    camera_lidar = parameters['extrinsics.camera_lidar']
    assert len(camera_lidar) == 7
    np.testing.assert_allclose(camera_lidar[:3], [0.0, -0.08, -0.27], atol=0.03)
    np.testing.assert_allclose(rotation_from_quat_xyzw(camera_lidar[3:]) @ [1, 0, 0], [0, 0, 1],
                               atol=0.03)


def test_parameters_are_those_that_the_node_knows(shared_dir, tmp_path):
    from crossview_ros.ros.node_parameters import PerceptionNodeParameters
    file = tmp_path / 'extrinsics.yaml'
    main(['info', str(shared_dir / 'data' / 'bags' / 'kitti00_mini'), '--extrinsics', str(file)])
    written = load_yaml(file)['/**']['ros__parameters']
    assert set(written) <= set(PerceptionNodeParameters().as_dict())


def test_a_bag_without_tf_gives_no_extrinsics(make_bag, tmp_path, capsys):
    file = tmp_path / 'extrinsics.yaml'
    assert main(['info', str(make_bag()), '--extrinsics', str(file)]) == 1
    assert '/tf_static says neither' in capsys.readouterr().err and not file.exists()


def test_what_is_neither_bag_nor_model_is_one_line(tmp_path, capsys):
    assert main(['info', str(tmp_path / 'absent.mcap')]) == 1
    assert main(['info', str(tmp_path)]) == 1
    assert main(['info', 'no_such_model']) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith('crossview: ') for line in lines)
    assert 'no such bag' in lines[0] and 'metadata.yaml' in lines[1]
    assert "no model 'no_such_model'" in lines[2]
