# SPDX-License-Identifier: Apache-2.0
"""docs/topics.md names each topic of the code with its type, and no other."""
import ast
import re
from types import SimpleNamespace

from crossview_ros.ros.depth_outputs import DepthOutputs
from crossview_ros.ros.flow_outputs import FlowOutputs
from crossview_ros.ros.node_parameters import DEPTH_ENCODINGS, MODES, PerceptionNodeParameters
from crossview_ros.ros.odometry_outputs import OdometryOutputs
from crossview_ros.ros.pipeline import LIDAR
from crossview_ros.ros.streams import TOPICS
from fake_publishers import FakeNode
import pytest

pytestmark = pytest.mark.ros

ABSOLUTE = {'/tf': 'tf2_msgs/TFMessage', '/diagnostics': 'diagnostic_msgs/DiagnosticArray'}


@pytest.fixture(scope='module')
def page(root):
    """Return the page."""
    return (root / 'docs' / 'topics.md').read_text()


def rows(page, heading):
    """Return the cells of the rows of the table below a heading."""
    section = page.split(f'\n## {heading}\n')[1].split('\n## ')[0]
    return [[cell.strip() for cell in line.strip('|').split('|')]
            for line in section.splitlines() if line.startswith('| `')]


def advertised():
    """Return {topic: type} of everything that the outputs advertise in any mode."""
    settings = PerceptionNodeParameters(publish_tf=False)
    node = FakeNode(())
    for encoding in DEPTH_ENCODINGS:
        for mode in MODES:
            DepthOutputs(node, encoding, mode)
    FlowOutputs(node)
    OdometryOutputs(node, settings, SimpleNamespace(), None)
    return {topic: f"{publisher.kind.__module__.split('.')[0]}/{publisher.kind.__name__}"
            for topic, publisher in node.publishers.items()}


def test_every_output_is_named_with_its_type(page):
    documented = {re.findall('`([^`]+)`', cells[0])[0]: cells[1].split(',')[0]
                  for cells in rows(page, 'Outputs')}
    offered = advertised()
    assert offered.pop('depth/image_raw') == documented['depth/image']   # instead of it
    assert 'instead `depth/image_raw`: millimetres' in page
    assert documented == {**offered, **ABSOLUTE}


def test_every_input_is_named_with_its_type_mode_and_launch_argument(page, root):
    documented = {tuple(cell.strip('`') for cell in cells) for cells in rows(page, 'Inputs')}
    arguments = topic_arguments(root)
    expected = {(topic, f'sensor_msgs/{kind}', mode, arguments[topic])
                for mode in MODES for topic, kind in TOPICS[mode].values()}
    assert documented == expected | {
        (LIDAR, 'sensor_msgs/PointCloud2', 'both, optional', arguments[LIDAR])}


def topic_arguments(root):
    """Return {topic: launch argument} of TOPIC_ARGUMENTS in the launch file, without launch."""
    tree = ast.parse((root / 'launch' / 'perception.launch.py').read_text())
    (table,) = [node.value for node in tree.body if isinstance(node, ast.Assign)
                and node.targets[0].id == 'TOPIC_ARGUMENTS']
    return {topic: argument for argument, (topic, _) in ast.literal_eval(table).items()}
