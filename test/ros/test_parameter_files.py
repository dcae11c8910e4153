# SPDX-License-Identifier: Apache-2.0
"""ROS itself reads the files of config/cameras and config/integration, each for its node alone."""
from pathlib import Path

import pytest
import rclpy
from rclpy.context import Context

pytestmark = pytest.mark.ros

CONFIG = Path(__file__).resolve().parents[2] / 'config'
CAMERAS = sorted(path.name for path in (CONFIG / 'cameras').glob('*.yaml'))


def parameters(file, name, namespace=''):
    """Return the parameters that a node of this name gets from a file."""
    context = Context()
    rclpy.init(args=['--ros-args', '--params-file', str(CONFIG / file)], context=context)
    try:
        node = rclpy.create_node(name, namespace=namespace, context=context,
                                 automatically_declare_parameters_from_overrides=True)
        found = {key: value.value for key, value in node.get_parameters_by_prefix('').items()}
        node.destroy_node()
        return found
    finally:
        rclpy.shutdown(context=context)


@pytest.mark.parametrize('file', CAMERAS)
@pytest.mark.parametrize('namespace', ['', '/robot/front'])
def test_the_node_gets_its_section_of_a_camera_in_any_namespace(file, namespace):
    found = parameters(f'cameras/{file}', 'perception_node', namespace)
    assert isinstance(found['approx_sync'], bool)
    assert not {'left_image', 'stereo.i_publish_synced_rect_pair', 'video.publish_left_right'} \
        & set(found)


@pytest.mark.parametrize('file, name, namespace, parameter', [
    ('oak.yaml', 'oak', '', 'stereo.i_publish_synced_rect_pair'),
    ('zed.yaml', 'zed_node', '/zed', 'video.publish_left_right')])
def test_a_driver_gets_its_section_alone(file, name, namespace, parameter):
    found = parameters(f'cameras/{file}', name, namespace)
    assert found[parameter] is True
    assert not {'approx_sync', 'left_image'} & set(found)


@pytest.mark.parametrize('file, name, namespace, parameter, value', [
    ('rtabmap.yaml', 'rtabmap', '/robot', 'Rtabmap/DetectionRate', '1'),
    ('ekf.yaml', 'ekf_filter_node', '', 'odom0', 'odom'),
    ('nav2_costmap.yaml', 'costmap', '/costmap', 'voxel_layer.mark.obstacle_max_range', 4.0),
    ('nav2_costmap.yaml', 'depthimage_to_laserscan', '/robot', 'scan_height', 10)])
def test_a_consumer_gets_its_parameters(file, name, namespace, parameter, value):
    assert parameters(f'integration/{file}', name, namespace)[parameter] == value
