# SPDX-License-Identifier: Apache-2.0
"""Check the launch file: its arguments without ROS, what it starts where `launch` is installed."""
import ast
import importlib.util
from pathlib import Path
import sys

from launch_recorder import make_prefix, pairs_after, recorded, RECORDER, run_launch
import pytest

ROOT = Path(__file__).resolve().parent.parent
LAUNCH_FILE = ROOT / 'launch' / 'perception.launch.py'
INPUTS = {'left_image': 'left/image_rect', 'left_info': 'left/camera_info',
          'right_image': 'right/image_rect', 'right_info': 'right/camera_info',
          'image': 'image_rect', 'camera_info': 'camera_info', 'points_in': 'points_in'}
REQUIRED = {'namespace', 'params_file', 'use_sim_time', 'log_level', 'backend', 'model', 'device',
            'mode', 'image_transport', 'rectify', 'depth_topic', 'publish_tf', 'rviz', 'bag',
            'camera', 'odom_frame', 'base_frame', *INPUTS}
# Stands for the node: says twice that it is active, and ends once the bag is played.
ACTIVE = f"""{RECORDER}
import time
from lifecycle_msgs.msg import TransitionEvent
import rclpy
rclpy.init(args=sys.argv)
node = rclpy.create_node('x')
publisher = node.create_publisher(TransitionEvent, '~/transition_event', 10)
while not publisher.get_subscription_count():
    time.sleep(0.02)
for _ in range(2):
    event = TransitionEvent()
    event.goal_state.id, event.goal_state.label = 3, 'active'
    publisher.publish(event)
played = pathlib.Path(__file__).parents[2] / 'bin' / 'ros2.json'
end_s = time.monotonic() + 20
while not played.exists() and time.monotonic() < end_s:
    time.sleep(0.02)
"""


@pytest.fixture
def prefix(tmp_path, monkeypatch):
    """Return an ament prefix where every executable is a recorder."""
    return make_prefix(tmp_path, monkeypatch)


def launch_file():
    """Import the launch file as a module."""
    spec = importlib.util.spec_from_file_location('perception_launch', LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_required_argument_is_declared_with_default_and_description():
    calls = [node for node in ast.walk(ast.parse(LAUNCH_FILE.read_text()))
             if isinstance(node, ast.Call)
             and getattr(node.func, 'id', '') == 'DeclareLaunchArgument']
    literal = {call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)}
    # these come from tables
    assert literal == REQUIRED - set(INPUTS) - {'depth_topic', 'odom_frame', 'base_frame'}
    for call in calls:
        assert {'default_value', 'description'} <= {keyword.arg for keyword in call.keywords}


def test_show_args_lists_exactly_the_required_arguments(prefix):
    listed = launch_file().generate_launch_description().get_launch_arguments()
    assert {argument.name for argument in listed} == REQUIRED
    assert all(argument.description and argument.default_value for argument in listed
               if argument.name not in ('namespace', 'bag', 'camera', 'odom_frame',
                                        'base_frame'))   # empty by default


def test_the_node_starts_with_the_documented_defaults(prefix):
    assert run_launch(LAUNCH_FILE) == 0
    words, parameters = recorded(prefix, 'lib/crossview_ros/perception_node')
    remaps = pairs_after(words, '-r')
    assert remaps.pop('__node') == 'perception_node'
    assert remaps.pop('__ns', '/') == '/'
    assert remaps == {topic: topic for topic in [*INPUTS.values(), 'depth/image']}
    assert parameters == {'model': 'crossview_tiny', 'backend': 'auto', 'device': 'auto',
                          'mode': 'stereo', 'image_transport': 'raw', 'rectify': False,
                          'publish_tf': True}
    assert pairs_after(words, '-p') == {'use_sim_time': 'False'}
    assert words[words.index('--log-level') + 1] == 'info'
    assert not (prefix / 'bin' / 'ros2.json').exists()
    assert not (prefix / 'lib/crossview_ros/crossview.json').exists()


def test_arguments_reach_the_node_with_their_types(prefix):
    status = run_launch(
        LAUNCH_FILE, namespace='stereo', use_sim_time='true', log_level='debug', model='42',
        publish_tf='false', left_image='/zed/left/image_rect', depth_topic='depth/image_raw')
    assert status == 0
    words, parameters = recorded(prefix, 'lib/crossview_ros/perception_node')
    remaps = pairs_after(words, '-r')
    assert remaps['__ns'] == '/stereo'
    assert remaps['left/image_rect'] == '/zed/left/image_rect'
    assert remaps['depth/image'] == 'depth/image_raw'
    assert parameters['model'] == '42'   # text, although it looks like a number
    assert parameters['publish_tf'] is False
    assert pairs_after(words, '-p') == {'use_sim_time': 'True'}
    assert words[words.index('--log-level') + 1] == 'debug'


def test_launch_arguments_win_over_the_params_file(prefix):
    params_file = prefix / 'mine.yaml'
    params_file.write_text('/**: {ros__parameters: {device: cuda, max_depth: 12.5}}\n')
    assert run_launch(LAUNCH_FILE, params_file=str(params_file), device='cpu') == 0
    words, parameters = recorded(prefix, 'lib/crossview_ros/perception_node')
    assert parameters['max_depth'] == 12.5
    assert parameters['device'] == 'cpu'


def test_frames_given_at_launch_win_over_the_params_file_and_others_stay(prefix):
    params_file = prefix / 'mine.yaml'
    params_file.write_text('/**: {ros__parameters: {odom_frame: odom, base_frame: base}}\n')
    assert run_launch(LAUNCH_FILE, params_file=str(params_file), odom_frame='front/odom') == 0
    _, parameters = recorded(prefix, 'lib/crossview_ros/perception_node')
    assert parameters['odom_frame'] == 'front/odom'
    assert parameters['base_frame'] == 'base'


def test_a_bag_is_played_once_with_a_clock_when_the_node_is_active(prefix):
    (prefix / 'lib/crossview_ros/perception_node').write_text(ACTIVE)
    assert run_launch(LAUNCH_FILE, 'robot', bag='some/bag', use_sim_time='true',
                      namespace='stereo') == 0
    words = recorded(prefix, 'bin/ros2')[0]
    assert words == ['bag', 'play', 'some/bag', '--clock', '--delay', '2']
    words = recorded(prefix, 'lib/crossview_ros/crossview')[0]
    assert words[:3] == ['info', 'some/bag', '--extrinsics']
    words, parameters = recorded(prefix, 'lib/crossview_ros/perception_node')
    assert pairs_after(words, '-r')['__ns'] == '/robot/stereo'
    assert pairs_after(words, '-p') == {'use_sim_time': 'True'}
    # the recorder writes no extrinsics: the node starts without them
    assert parameters['model'] == 'crossview_tiny'


def test_a_bag_waits_for_a_node_that_is_not_active(prefix):
    assert run_launch(LAUNCH_FILE, bag='some/bag') == 0
    assert (prefix / 'lib/crossview_ros/perception_node.json').exists()
    assert not (prefix / 'bin/ros2.json').exists()


def test_the_extrinsics_of_a_bag_reach_the_node_of_this_launch_only(prefix):
    crossview = prefix / 'lib/crossview_ros/crossview'
    crossview.write_text(f"""#!{sys.executable}
import pathlib, sys
pathlib.Path(sys.argv[-1]).write_text('/**: {{ros__parameters: {{base_frame: body}}}}')
""")
    assert run_launch(LAUNCH_FILE, bag='some/bag') == 0
    node = 'lib/crossview_ros/perception_node'
    assert recorded(prefix, node)[1]['base_frame'] == 'body'
    crossview.write_text(RECORDER)
    assert run_launch(LAUNCH_FILE, bag='other/bag') == 0
    assert 'base_frame' not in recorded(prefix, node)[1]


def test_an_unknown_choice_is_refused_before_anything_starts(prefix):
    assert run_launch(LAUNCH_FILE, backend='caffe') == 1
    assert not (prefix / 'lib/crossview_ros/perception_node.json').exists()
