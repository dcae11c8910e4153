# SPDX-License-Identifier: Apache-2.0
"""
Start a Nav2 costmap from the points of perception_node, which starts too, with the EKF.

Heights of obstacles are measured in odom, so its z must not drift: the EKF keeps it at 0. Takes
the arguments of ekf.launch.py and perception.launch.py. All arguments with their defaults:
ros2 launch crossview_ros nav2_costmap.launch.py --show-args
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

EKF = str(Path(__file__).with_name('ekf.launch.py'))
SETTINGS = PathJoinSubstitution(
    [FindPackageShare('crossview_ros'), 'config', 'integration', 'nav2_costmap.yaml'])


def generate_launch_description() -> LaunchDescription:
    """Include the perception with the filter and start what takes their outputs."""
    # the costmap resolves relative topics in its own namespace, in each release another one
    points = PythonExpression(["('/' + '", LaunchConfiguration('namespace'),
                               "'.strip('/')).rstrip('/') + '/points'"])
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(EKF)),
        DeclareLaunchArgument(
            'costmap_params_file', default_value=SETTINGS,
            description='YAML file with parameters of the costmap and of depthimage_to_laserscan'),
        DeclareLaunchArgument(
            'points', default_value=points,
            description='full name of the cloud; by default the one of perception_node'),
        DeclareLaunchArgument(
            'scan', default_value='false', choices=['true', 'false'],
            description='also make /scan of the depth image, for slam_toolbox or AMCL'),
        DeclareLaunchArgument(
            'scan_frame', default_value='base_link',
            description='frame of /scan: at the camera, x forward, z up, not the optical one'),
        *_costmap(),
        _scan(),
    ])


def _costmap() -> list[Node]:
    """Return the costmap alone, /costmap/costmap, and what activates it."""
    points = ParameterValue(LaunchConfiguration('points'), value_type=str)
    topics = {f'voxel_layer.{source}.topic': points for source in ('mark', 'clear')}
    return [
        Node(package='nav2_costmap_2d', executable='nav2_costmap_2d', output='screen',
             parameters=[LaunchConfiguration('costmap_params_file'), topics, _sim_time()]),
        Node(package='nav2_lifecycle_manager', executable='lifecycle_manager',
             name='lifecycle_manager_costmap', output='screen',
             parameters=[{'node_names': ['costmap/costmap'], 'autostart': True,
                          'bond_timeout': 0.0}, _sim_time()]),
    ]


def _scan() -> Node:
    return Node(
        package='depthimage_to_laserscan',
        executable='depthimage_to_laserscan_node',
        name='depthimage_to_laserscan',
        namespace=LaunchConfiguration('namespace'),
        output='screen',
        parameters=[LaunchConfiguration('costmap_params_file'), _sim_time(),
                    {'output_frame': LaunchConfiguration('scan_frame')}],
        remappings=[('depth', LaunchConfiguration('depth_topic')),
                    ('depth_camera_info', 'depth/camera_info'),
                    ('scan', '/scan')],
        condition=IfCondition(LaunchConfiguration('scan')),
    )


def _sim_time() -> dict:
    return {'use_sim_time': ParameterValue(LaunchConfiguration('use_sim_time'), value_type=bool)}
