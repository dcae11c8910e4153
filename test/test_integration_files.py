# SPDX-License-Identifier: Apache-2.0
"""Config for cameras and for consumers: names that exist, and values that agree with the node."""
from pathlib import Path
import re

from consumer_parameters import (
    COSTMAP, EKF, EKF_SENSOR, INFLATION_LAYER, LASERSCAN, OBSERVATION_SOURCE, RTABMAP, VOXEL_LAYER)
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
import pytest
import yaml

CONFIG = Path(__file__).resolve().parent.parent / 'config'
CAMERAS = sorted((CONFIG / 'cameras').glob('*.yaml'))
STEREO = {'left_image', 'left_info', 'right_image', 'right_info'}
ONE_CAMERA = {'image', 'camera_info'}
DEFAULTS = PerceptionNodeParameters()
VELOCITY = slice(6, 12)   # of x y z, roll pitch yaw, their velocities, acceleration


def sections(path):
    """Return {node name: its parameters}."""
    nodes = yaml.safe_load(path.read_text())
    assert all(set(node) == {'ros__parameters'} for node in nodes.values())
    return {name: node['ros__parameters'] for name, node in nodes.items()}


def integration(name, node='/**'):
    """Return the parameters of a node in a file of config/integration."""
    return sections(CONFIG / 'integration' / f'{name}.yaml')[node]


def test_there_is_a_file_for_each_of_the_common_cameras():
    assert {path.stem for path in CAMERAS} == {'oak', 'realsense', 'zed'}


@pytest.mark.parametrize('path', CAMERAS, ids=lambda path: path.stem)
def test_a_camera_names_every_image_and_its_calibration_beside_it(path):
    topics = sections(path)['launch_arguments']
    assert set(topics) == STEREO | ONE_CAMERA
    assert all(re.fullmatch(r'(/[a-z][a-z0-9_]*)+', topic) for topic in topics.values())
    assert len({topics[name] for name in STEREO}) == 4
    for image, info in (('left_image', 'left_info'), ('right_image', 'right_info'),
                        ('image', 'camera_info')):
        # image_transport's rule: camera_info lies in the namespace of its image
        assert topics[info] == topics[image].rpartition('/')[0] + '/camera_info'


@pytest.mark.parametrize('path', CAMERAS, ids=lambda path: path.stem)
def test_the_parameters_of_a_camera_are_those_of_the_node(path):
    given = sections(path)['/**/perception_node']
    assert given and DEFAULTS.changed(given).as_dict().items() >= given.items()


def test_rtabmap_gets_parameters_that_it_has():
    given = integration('rtabmap')
    assert set(given) <= RTABMAP
    # those of the library are texts, whatever they hold
    assert all(isinstance(value, str) == (name[0].isupper() or name.endswith('frame_id'))
               for name, value in given.items())


def test_rtabmap_takes_what_the_node_gives():
    given = integration('rtabmap')
    assert given['subscribe_depth'] and not given['subscribe_odom_info']
    assert given['approx_sync'] is False
    assert given['frame_id'] == DEFAULTS.base_frame
    assert given['odom_frame_id'] == ''   # TF has no covariance
    assert given['map_frame_id'] not in (DEFAULTS.odom_frame, DEFAULTS.base_frame)


def test_the_ekf_gets_parameters_that_it_has():
    given = integration('ekf')
    sensor = {name: re.fullmatch(r'(?:odom|imu|pose|twist)\d+(?:_(\w+))?', name)
              for name in given}
    assert {name for name, match in sensor.items() if match is None} <= EKF
    assert {match[1] for match in sensor.values() if match} <= EKF_SENSOR | {None}


def test_the_ekf_takes_the_velocity_and_owns_the_transform():
    given = integration('ekf')
    assert given['odom0'] == 'odom'
    taken = given['odom0_config']
    assert len(taken) == 15 and all(taken[VELOCITY])
    assert sum(taken) == 6   # a pose that drifts is no measurement
    assert given['publish_tf']
    assert given['world_frame'] == given['odom_frame'] == DEFAULTS.odom_frame
    assert given['base_link_frame'] == DEFAULTS.base_frame


def test_the_costmap_gets_parameters_that_it_has():
    given = integration('nav2_costmap', '/**/costmap')
    voxels, inflation = given['voxel_layer'], given['inflation_layer']
    sources = voxels['observation_sources'].split()
    assert set(given) <= COSTMAP | set(given['plugins'])
    assert set(given['plugins']) == {'voxel_layer', 'inflation_layer'}
    assert set(voxels) <= VOXEL_LAYER | set(sources)
    assert all(set(voxels[source]) <= OBSERVATION_SOURCE for source in sources)
    assert set(inflation) <= INFLATION_LAYER
    scan = integration('nav2_costmap', '/**/depthimage_to_laserscan')
    assert set(scan) <= LASERSCAN
    assert type(given['width']) is type(given['height']) is int   # as Nav2 declares them


def test_the_costmap_marks_above_the_floor_and_clears_with_it():
    given = integration('nav2_costmap', '/**/costmap')
    mark, clear = (given['voxel_layer'][name] for name in ('mark', 'clear'))
    assert (mark['marking'], mark['clearing']) == (True, False)
    assert (clear['marking'], clear['clearing']) == (False, True)
    # points of the floor scatter about 0
    assert mark['min_obstacle_height'] > 0 > clear['min_obstacle_height']
    assert clear['max_obstacle_height'] > mark['max_obstacle_height']
    assert clear['raytrace_max_range'] > mark['obstacle_max_range']   # what is marked can go
    assert {mark['data_type'], clear['data_type']} == {'PointCloud2'}
    voxels = given['voxel_layer']
    assert voxels['z_voxels'] <= 16   # Nav2's limit
    top = voxels['origin_z'] + voxels['z_voxels'] * voxels['z_resolution']
    assert top >= mark['max_obstacle_height']
    assert given['global_frame'] == DEFAULTS.odom_frame
    assert given['robot_base_frame'] == DEFAULTS.base_frame
