# SPDX-License-Identifier: Apache-2.0
"""
Start perception_node with its topics, parameters, and on request RViz and a bag.

camera:=realsense takes the topics of that driver, and the parameters that suit it, from
config/cameras/realsense.yaml. With a bag, what its /tf_static says about the place of the sensors
goes to the node as parameters first, since TF may be missing or late; the bag starts once the node
is active, which may take long where a model is loaded. All arguments with their defaults:
ros2 launch crossview_ros perception.launch.py --show-args
"""
from pathlib import Path
import subprocess
import tempfile

from launch import LaunchContext, LaunchDescription, Substitution
from launch.actions import (
    DeclareLaunchArgument, ExecuteProcess, GroupAction, OpaqueFunction, RegisterEventHandler)
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node, PushRosNamespace, SetParameter
from launch_ros.event_handlers import OnStateTransition
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import ExecutableInPackage, FindPackageShare
import yaml

SHARE = FindPackageShare('crossview_ros')

# Each argument remaps the topic beside it, so that a driver with names of its own needs no edit;
# the file of a camera gives others as defaults.
TOPIC_ARGUMENTS = {
    'left_image': ('left/image_rect', 'stereo input: left image (sensor_msgs/Image)'),
    'left_info': ('left/camera_info', 'stereo input: calibration of the left camera'),
    'right_image': ('right/image_rect', 'stereo input: right image (sensor_msgs/Image)'),
    'right_info': ('right/camera_info', 'stereo input: calibration of the right camera'),
    'image': ('image_rect', 'sequential input: image (sensor_msgs/Image)'),
    'camera_info': ('camera_info', 'sequential input: calibration of the camera'),
    'points_in': ('points_in', 'input: LiDAR cloud (sensor_msgs/PointCloud2)'),
    'depth_topic': ('depth/image', 'output: depth image (32FC1, metres)'),
}
FRAMES = {'odom_frame': 'frame in which the odometry gives the pose, e.g. front/odom',
          'base_frame': 'frame whose pose the odometry gives, e.g. front/base_link'}


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start what they ask for."""
    return LaunchDescription([
        *_deployment_arguments(),
        *_node_arguments(),
        *[DeclareLaunchArgument(name, default_value=[CameraTopic(name)], description=description)
          for name, (_, description) in TOPIC_ARGUMENTS.items()],
        GroupAction([
            PushRosNamespace(LaunchConfiguration('namespace')),
            SetParameter('use_sim_time', ParameterValue(
                LaunchConfiguration('use_sim_time'), value_type=bool)),
            OpaqueFunction(function=_start_node),
            _rviz(),
        ]),
    ])


class CameraTopic(Substitution):
    """The topic of an argument: as the file of the camera says, else that of TOPIC_ARGUMENTS."""

    def __init__(self, argument: str) -> None:
        """Remember which."""
        super().__init__()
        self._argument, self._topic = argument, TOPIC_ARGUMENTS[argument][0]

    def describe(self) -> str:
        """Return what --show-args tells."""
        return f"'{self._topic}', or as the file of the camera says"

    def perform(self, context: LaunchContext) -> str:
        """Return the topic."""
        path = _camera_file(context)
        if path is None:
            return self._topic
        given = yaml.safe_load(path.read_text())['launch_arguments']['ros__parameters']
        return given.get(self._argument, self._topic)


def _camera_file(context: LaunchContext) -> Path | None:
    camera = LaunchConfiguration('camera').perform(context)
    if not camera:
        return None
    folder = Path(SHARE.perform(context)) / 'config' / 'cameras'
    path = Path(camera) if camera.endswith('.yaml') else folder / f'{camera}.yaml'
    if not path.is_file():
        known = ', '.join(sorted(file.stem for file in folder.glob('*.yaml')))
        raise FileNotFoundError(f"camera '{camera}': there is no {path}; expected one of {known}, "
                                'or the path of a .yaml file')
    return path


def _start_node(context: LaunchContext) -> list:
    """
    Return the node, and with a bag what plays it.

    A function, because the handler of an event sees no argument of a launch file that is included
    in a group, and a camera may have a file of parameters or not.
    """
    camera, bag = _camera_file(context), LaunchConfiguration('bag').perform(context)
    given = [str(camera)] if camera else []
    frames = {name: LaunchConfiguration(name).perform(context) for name in FRAMES}
    given += [{name: ParameterValue(frame, value_type=str)}
              for name, frame in frames.items() if frame]
    return _play_bag(context, bag, given) if bag else [_perception_node(Node, given)]


def _play_bag(context: LaunchContext, bag: str, given: list[str | dict]) -> list:
    """Return the node, placed as the bag says, and what plays the bag to it."""
    # colcon puts no executable of a package on the PATH
    crossview = ExecutableInPackage('crossview', 'crossview_ros').perform(context)
    extrinsics = Path(tempfile.mkdtemp(prefix='crossview_')) / 'extrinsics.yaml'
    # without a usable /tf_static it says so, and the node starts without a file
    subprocess.run([crossview, 'info', bag, '--extrinsics', extrinsics],
                   stdout=subprocess.DEVNULL, check=False)
    placed = [str(extrinsics)] if extrinsics.exists() else []
    node = _perception_node(LifecycleNode, [*given, *placed])
    # the delay [s] is for subscribers to find the topics before the first message
    play = ExecuteProcess(cmd=['ros2', 'bag', 'play', bag, '--clock', '--delay', '2'],
                          output='screen')
    return [RegisterEventHandler(OnStateTransition(
        target_lifecycle_node=node, goal_state='active', entities=[play], handle_once=True)), node]


def _deployment_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            'namespace', default_value='',
            description='namespace of the node and of every relative topic, e.g. stereo'),
        DeclareLaunchArgument(
            'params_file',
            default_value=PathJoinSubstitution([SHARE, 'config', 'nodes', 'perception.yaml']),
            description='YAML file with node parameters; camera and launch arguments win over '
                        'it'),
        DeclareLaunchArgument(
            'camera', default_value='',
            description='driver whose topics are the inputs: realsense, zed, oak, or the path of '
                        'a .yaml file like those in config/cameras; empty: the arguments below'),
        DeclareLaunchArgument(
            'use_sim_time', default_value='false', choices=['true', 'false'],
            description='take the time from /clock, e.g. with a bag'),
        DeclareLaunchArgument(
            'log_level', default_value='info',
            choices=['debug', 'info', 'warn', 'error', 'fatal'],
            description='least severe messages that are printed'),
        DeclareLaunchArgument(
            'rviz', default_value='false', choices=['true', 'false'],
            description='also start RViz with the views of this package'),
        DeclareLaunchArgument(
            'bag', default_value='',
            description='also play this bag with --clock, and place the sensors as it says; set '
                        'use_sim_time:=true with it'),
    ]


def _node_arguments() -> list[DeclareLaunchArgument]:
    return [
        DeclareLaunchArgument(
            'model', default_value='crossview_tiny',
            description='name of an installed model, or the path of a model folder'),
        DeclareLaunchArgument(
            'backend', default_value='auto',
            choices=['auto', 'torch', 'onnxruntime', 'tensorrt', 'tensorrt_rtx'],
            description='what runs the network'),
        DeclareLaunchArgument(
            'device', default_value='auto', choices=['auto', 'cpu', 'cuda'],
            description='where the network runs'),
        DeclareLaunchArgument(
            'mode', default_value='stereo', choices=['stereo', 'sequential'],
            description='rectified stereo pair, or one moving camera'),
        DeclareLaunchArgument(
            'image_transport', default_value='raw', choices=['raw', 'compressed'],
            description='compressed: CompressedImage on <image topic>/compressed'),
        DeclareLaunchArgument(
            'rectify', default_value='false', choices=['true', 'false'],
            description='false: the input is rectified; true: rectify it with its calibration'),
        DeclareLaunchArgument(
            'publish_tf', default_value='true', choices=['true', 'false'],
            description='publish the transform odom_frame -> base_frame with the odometry'),
        *[DeclareLaunchArgument(
            name, default_value='', description=f'{what}; empty: as params_file says')
          for name, what in FRAMES.items()],
    ]


def _perception_node(kind: type[Node], given: list[str | dict]) -> Node:
    """Return the action that starts the node; files and values given win over params_file."""
    text = {name: ParameterValue(LaunchConfiguration(name), value_type=str)
            for name in ('model', 'backend', 'device', 'mode', 'image_transport')}
    switches = {name: ParameterValue(LaunchConfiguration(name), value_type=bool)
                for name in ('rectify', 'publish_tf')}
    return kind(
        package='crossview_ros',
        executable='perception_node',
        name='perception_node',
        namespace='',
        output='screen',
        parameters=[LaunchConfiguration('params_file'), *given, text, switches],
        remappings=[(topic, LaunchConfiguration(name))
                    for name, (topic, _) in TOPIC_ARGUMENTS.items()],
        arguments=['--ros-args', '--log-level', LaunchConfiguration('log_level')],
    )


def _rviz() -> Node:
    return Node(
        package='rviz2',
        executable='rviz2',
        arguments=['-d', PathJoinSubstitution([SHARE, 'config', 'rviz', 'perception.rviz'])],
        condition=IfCondition(LaunchConfiguration('rviz')),
    )
