# SPDX-License-Identifier: Apache-2.0
"""Launch files for consumers and cameras: arguments without ROS, what they start with `launch`."""
import ast
import importlib.util
from pathlib import Path

from launch_recorder import make_prefix, pairs_after, recorded, run_launch
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
LAUNCH = ROOT / 'launch'
NODE = 'lib/crossview_ros/perception_node'
EXECUTABLES = (
    'rtabmap_slam/rtabmap', 'rtabmap_viz/rtabmap_viz', 'robot_localization/ekf_node',
    'nav2_costmap_2d/nav2_costmap_2d', 'nav2_lifecycle_manager/lifecycle_manager',
    'depthimage_to_laserscan/depthimage_to_laserscan_node')
OWN_ARGUMENTS = {
    'rtabmap': {'rtabmap_params_file', 'rgb_image', 'delete_db_on_start', 'rtabmap_viz'},
    'ekf': {'ekf_params_file'},
    'nav2_costmap': {'ekf_params_file', 'costmap_params_file', 'points', 'scan', 'scan_frame'}}
STARTED = {
    'rtabmap': {'rtabmap_slam/rtabmap'},
    'ekf': {'robot_localization/ekf_node'},
    'nav2_costmap': {'robot_localization/ekf_node', 'nav2_costmap_2d/nav2_costmap_2d',
                     'nav2_lifecycle_manager/lifecycle_manager'}}


def launch_file(name):
    """Return the path of a launch file."""
    return LAUNCH / f'{name}.launch.py'


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """Return an ament prefix with the config of this package and recorders of the consumers."""
    config = [(str(path.relative_to(ROOT)), path.read_text())
              for folder in ('cameras', 'integration')
              for path in (ROOT / 'config' / folder).glob('*.yaml')]
    return make_prefix(tmp_path, monkeypatch, EXECUTABLES, config)


def started(prefix):
    """Return the executables of consumers that ran."""
    return {name for name in EXECUTABLES if (prefix / 'lib' / f'{name}.json').exists()}


def listed_arguments(path):
    """Return the names that --show-args lists."""
    spec = importlib.util.spec_from_file_location('some_launch', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return {argument.name
            for argument in module.generate_launch_description().get_launch_arguments()}


def test_every_launch_file_is_tested_here_or_with_the_node():
    names = {path.name.removesuffix('.launch.py') for path in LAUNCH.iterdir() if path.is_file()}
    assert names == {*OWN_ARGUMENTS, 'perception'}


@pytest.mark.parametrize('name', OWN_ARGUMENTS)
def test_every_argument_has_a_default_and_a_description(name):
    calls = [node for node in ast.walk(ast.parse(launch_file(name).read_text()))
             if isinstance(node, ast.Call)
             and getattr(node.func, 'id', '') == 'DeclareLaunchArgument']
    assert {call.args[0].value for call in calls} <= OWN_ARGUMENTS[name]
    assert all({'default_value', 'description'} <= {word.arg for word in call.keywords}
               for call in calls)


@pytest.mark.parametrize('name', OWN_ARGUMENTS)
def test_show_args_lists_those_of_the_node_too(prefix, name):
    listed = listed_arguments(launch_file(name))
    assert listed == OWN_ARGUMENTS[name] | listed_arguments(launch_file('perception'))


@pytest.mark.parametrize('name', OWN_ARGUMENTS)
def test_the_node_and_its_consumers_start_in_one_namespace(prefix, name):
    assert run_launch(launch_file(name), namespace='robot', use_sim_time='true') == 0
    assert started(prefix) == STARTED[name]
    for executable in (NODE, *(f'lib/{name}' for name in STARTED[name])):
        words, parameters = recorded(prefix, executable)
        if not executable.startswith('lib/nav2_'):   # Nav2's name themselves
            assert pairs_after(words, '-r')['__ns'] == '/robot'
        assert parameters.get('use_sim_time', pairs_after(words, '-p').get('use_sim_time')) in (
            True, 'True')


def test_rtabmap_takes_the_image_of_the_depth_and_its_calibration(prefix):
    assert run_launch(launch_file('rtabmap'), rectify='true', camera='realsense',
                      rtabmap_viz='true', delete_db_on_start='false') == 0
    assert recorded(prefix, NODE)[1]['rectify'] is False   # depth is that of the rectified image
    assert recorded(prefix, NODE)[1]['publish_tf'] is True
    for executable in ('rtabmap_slam/rtabmap', 'rtabmap_viz/rtabmap_viz'):
        words, parameters = recorded(prefix, f'lib/{executable}')
        remaps = pairs_after(words, '-r')
        assert remaps['rgb/image'] == '/camera/camera/infra1/image_rect_raw'
        assert remaps['rgb/camera_info'] == 'depth/camera_info'
        assert remaps['depth/image'] == 'depth/image'
        assert 'odom' not in remaps   # the node's own name
        assert parameters['approx_sync'] is False
        assert parameters['image_transport'] == 'raw'
    assert recorded(prefix, 'lib/rtabmap_slam/rtabmap')[1]['delete_db_on_start'] is False


@pytest.mark.parametrize('mode, image', [('stereo', 'left/image_rect'),
                                         ('sequential', 'image_rect')])
def test_rtabmap_takes_the_image_of_the_mode(prefix, mode, image):
    assert run_launch(launch_file('rtabmap'), mode=mode) == 0
    words = recorded(prefix, 'lib/rtabmap_slam/rtabmap')[0]
    assert pairs_after(words, '-r')['rgb/image'] == image


@pytest.mark.parametrize('name', ['ekf', 'nav2_costmap'])
def test_one_node_alone_publishes_the_transform_of_the_base(prefix, name):
    assert run_launch(launch_file(name), publish_tf='true') == 0
    assert recorded(prefix, NODE)[1]['publish_tf'] is False
    assert recorded(prefix, 'lib/robot_localization/ekf_node')[1]['publish_tf'] is True


@pytest.mark.parametrize('namespace, points', [('', '/points'), ('robot', '/robot/points'),
                                               ('/a/b', '/a/b/points')])
def test_the_costmap_takes_the_points_of_the_node(prefix, namespace, points):
    assert run_launch(launch_file('nav2_costmap'), namespace=namespace) == 0
    parameters = recorded(prefix, 'lib/nav2_costmap_2d/nav2_costmap_2d')[1]
    assert {parameters[f'voxel_layer.{name}.topic'] for name in ('mark', 'clear')} == {points}
    parameters = recorded(prefix, 'lib/nav2_lifecycle_manager/lifecycle_manager')[1]
    assert parameters['node_names'] == ['costmap/costmap']
    assert parameters['bond_timeout'] == 0.0   # a costmap alone makes no bond


def test_a_scan_is_made_of_depth_on_request(prefix):
    assert run_launch(launch_file('nav2_costmap'), scan='true', scan_frame='camera_link') == 0
    words, parameters = recorded(
        prefix, 'lib/depthimage_to_laserscan/depthimage_to_laserscan_node')
    remaps = pairs_after(words, '-r')
    assert (remaps['depth'], remaps['depth_camera_info'], remaps['scan']) == (
        'depth/image', 'depth/camera_info', '/scan')
    assert parameters['output_frame'] == 'camera_link'


@pytest.mark.parametrize('camera', ['oak', 'realsense', 'zed'])
def test_a_camera_gives_its_topics_and_parameters(prefix, camera):
    assert run_launch(launch_file('perception'), camera=camera, left_info='/mine') == 0
    words, parameters = recorded(prefix, NODE)
    file = yaml.safe_load((ROOT / 'config' / 'cameras' / f'{camera}.yaml').read_text())
    topics = file['launch_arguments']['ros__parameters']
    remaps = pairs_after(words, '-r')
    assert remaps['left/image_rect'] == topics['left_image']
    assert remaps['right/camera_info'] == topics['right_info']
    assert remaps['left/camera_info'] == '/mine'   # given beside it
    assert remaps['depth/image'] == 'depth/image'
    assert parameters['approx_sync'] == file['/**/perception_node']['ros__parameters'][
        'approx_sync']


def test_a_camera_may_be_a_file_of_ones_own(prefix):
    path = prefix / 'mine.yaml'
    path.write_text('launch_arguments: {ros__parameters: {right_image: /other}}\n'
                    '/**/perception_node: {ros__parameters: {max_depth: 9.0}}\n')
    assert run_launch(launch_file('perception'), camera=str(path)) == 0
    words, parameters = recorded(prefix, NODE)
    assert pairs_after(words, '-r')['right/image_rect'] == '/other'
    assert pairs_after(words, '-r')['left/image_rect'] == 'left/image_rect'
    assert parameters['max_depth'] == 9.0


def test_an_unknown_camera_is_refused_with_the_known_ones(prefix, caplog):
    assert run_launch(launch_file('perception'), camera='kinect') == 1
    assert not (prefix / f'{NODE}.json').exists()
    assert "camera 'kinect': there is no" in caplog.text
    assert 'expected one of oak, realsense, zed' in caplog.text


@pytest.mark.parametrize('camera, name, namespace, parameter', [
    ('oak', 'oak', '', 'stereo.i_publish_synced_rect_pair'),
    ('zed', 'zed_node', 'zed', 'video.publish_left_right')])
def test_a_driver_that_is_a_component_gets_its_section_alone(prefix, camera, name, namespace,
                                                             parameter):
    from launch import LaunchContext
    from launch_ros.utilities import to_parameters_list
    path = ROOT / 'config' / 'cameras' / f'{camera}.yaml'
    given = {item.name: item.value
             for item in to_parameters_list(LaunchContext(), name, namespace, [path])}
    assert given[parameter] is True
    assert not {'approx_sync', 'left_image'} & set(given)


def test_a_camera_counts_with_a_bag_too(prefix):
    assert run_launch(launch_file('perception'), camera='oak', bag='some/bag') == 0
    words, parameters = recorded(prefix, NODE)
    assert pairs_after(words, '-r')['left/image_rect'] == '/oak/left/image_raw'
    assert parameters['approx_sync'] is True
