# SPDX-License-Identifier: Apache-2.0
"""
Start RTAB-Map with depth and odometry of perception_node, which starts too.

Takes the arguments of perception.launch.py. The image must be the rectified one that depth belongs
to, so rectify stays false. All arguments with their defaults:
ros2 launch crossview_ros rtabmap.launch.py --show-args
"""
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PERCEPTION = str(Path(__file__).with_name('perception.launch.py'))
SETTINGS = PathJoinSubstitution(
    [FindPackageShare('crossview_ros'), 'config', 'integration', 'rtabmap.yaml'])


def generate_launch_description() -> LaunchDescription:
    """Include the perception and start what takes its outputs."""
    one_camera = ["'", LaunchConfiguration('mode'), "' == 'sequential'"]
    image = PythonExpression(["'", LaunchConfiguration('image'), "' if ", *one_camera, " else '",
                              LaunchConfiguration('left_image'), "'"])
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(PERCEPTION),
                                 launch_arguments={'rectify': 'false'}.items()),
        DeclareLaunchArgument(
            'rtabmap_params_file', default_value=SETTINGS,
            description='YAML file with parameters of rtabmap'),
        DeclareLaunchArgument(
            'rgb_image', default_value=image,
            description='rectified image that depth belongs to; by default the (left) input'),
        DeclareLaunchArgument(
            'delete_db_on_start', default_value='true', choices=['true', 'false'],
            description='begin a map; false: go on with the one in ~/.ros/rtabmap.db'),
        DeclareLaunchArgument(
            'rtabmap_viz', default_value='false', choices=['true', 'false'],
            description="also start RTAB-Map's own viewer"),
        _node('rtabmap_slam', 'rtabmap',
              {'delete_db_on_start': _switch('delete_db_on_start')}),
        _node('rtabmap_viz', 'rtabmap_viz', {},
              condition=IfCondition(LaunchConfiguration('rtabmap_viz'))),
    ])


def _node(package: str, name: str, parameters: dict, **options: IfCondition) -> Node:
    common = {'use_sim_time': _switch('use_sim_time'),
              'image_transport': ParameterValue(LaunchConfiguration('image_transport'),
                                                value_type=str)}
    return Node(
        package=package,
        executable=name,
        name=name,
        namespace=LaunchConfiguration('namespace'),
        output='screen',
        parameters=[LaunchConfiguration('rtabmap_params_file'), {**common, **parameters}],
        remappings=[('rgb/image', LaunchConfiguration('rgb_image')),
                    ('rgb/camera_info', 'depth/camera_info'),
                    ('depth/image', LaunchConfiguration('depth_topic'))],
        **options,
    )


def _switch(name: str) -> ParameterValue:
    return ParameterValue(LaunchConfiguration(name), value_type=bool)
