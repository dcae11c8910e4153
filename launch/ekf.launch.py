# SPDX-License-Identifier: Apache-2.0
"""
Start robot_localization's EKF on the velocity of perception_node, which starts too.

Takes the arguments of perception.launch.py. The EKF gives odometry/filtered and the transform
odom -> base_link, so perception_node does not. All arguments with their defaults:
ros2 launch crossview_ros ekf.launch.py --show-args
"""
from pathlib import Path

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

PERCEPTION = str(Path(__file__).with_name('perception.launch.py'))
SETTINGS = PathJoinSubstitution(
    [FindPackageShare('crossview_ros'), 'config', 'integration', 'ekf.yaml'])


def generate_launch_description() -> LaunchDescription:
    """Include the perception without its transform and start the filter."""
    return LaunchDescription([
        IncludeLaunchDescription(PythonLaunchDescriptionSource(PERCEPTION),
                                 launch_arguments={'publish_tf': 'false'}.items()),
        DeclareLaunchArgument(
            'ekf_params_file', default_value=SETTINGS,
            description='YAML file with parameters of ekf_node'),
        Node(
            package='robot_localization',
            executable='ekf_node',
            name='ekf_filter_node',
            namespace=LaunchConfiguration('namespace'),
            output='screen',
            parameters=[LaunchConfiguration('ekf_params_file'), {'use_sim_time': ParameterValue(
                LaunchConfiguration('use_sim_time'), value_type=bool)}],
        ),
    ])
