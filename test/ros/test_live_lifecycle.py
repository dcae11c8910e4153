# SPDX-License-Identifier: Apache-2.0
"""Starting, parameters, lifecycle, and a clean end by a signal at any moment."""
import re
import signal
import time

from asker import Asker, until_done
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from lifecycle_msgs.msg import Transition
from live_node import LiveNode, NUMBERS, until_logged
import pytest
from rcl_interfaces.srv import DescribeParameters, GetParameters

pytestmark = pytest.mark.ros


@pytest.fixture(scope='module')
def running():
    with LiveNode({'max_depth': 20}) as live:
        with Asker(live) as asker:
            yield live.until_answering(), asker


def test_a_whole_number_serves_for_a_parameter_with_a_fraction(running):
    _, asker = running
    assert asker.set(max_depth=30)[0].successful


@pytest.mark.parametrize('values, reason', [
    ({'min_depth': 50.0}, 'min_depth must be less than max_depth'),
    ({'min_confidence': 2.0}, 'out of range|from 0 to 1'),
    ({'point_cloud_stride': 0}, 'out of range|from 1 to 64'),
    ({'max_depth': 'far'}, 'max_depth must be a number'),
    ({'model': 'other'}, 'read.only'),
    ({'approx_sync': True}, 'read.only'),
])
def test_a_change_that_cannot_be_used_is_refused_with_the_reason(running, values, reason):
    live, asker = running
    (result,) = asker.set(**values)
    assert not result.successful
    assert any(part in result.reason.replace('-', '.').replace(' ', ' ')
               for part in reason.split('|')) or 'read' in reason and 'read' in result.reason
    assert live.answers_a_good_pair()


def test_a_change_of_a_limit_reaches_the_engine(running):
    live, asker = running
    assert asker.set(max_depth=1.0)[0].successful   # the wall stands at 1.5 m
    assert live.answer(live.send()).data[-4:].tobytes() == b'\x00\x00\x80\x7f'   # +Inf
    assert asker.set(max_depth=20.0)[0].successful
    assert live.answer(live.send()).data[-4:].tobytes() != b'\x00\x00\x80\x7f'


def test_every_parameter_is_described_to_ros(running):
    _, asker = running
    names = list(PerceptionNodeParameters().as_dict())
    described = asker.ask('describe_parameters', DescribeParameters,
                          DescribeParameters.Request(names=names)).descriptors
    assert [item.name for item in described] == names
    assert all(item.description for item in described)
    dynamic = {item.name for item in described if not item.read_only}
    assert {'min_depth', 'max_depth', 'min_confidence', 'point_cloud_stride'} <= dynamic
    assert 'model' not in dynamic
    values = {item.name: item for item in described}
    assert values['max_depth'].floating_point_range[0].to_value == 10000.0
    assert values['point_cloud_stride'].integer_range[0].to_value == 64


def test_the_shipped_file_is_taken_as_it_is(root):
    file = root / 'config' / 'nodes' / 'perception.yaml'
    with LiveNode(arguments=['--params-file', str(file)]) as live, Asker(live) as asker:
        live.until_active()
        assert 'unknown parameter' not in live.log
        names = list(PerceptionNodeParameters().as_dict())
        values = asker.ask('get_parameters', GetParameters,
                           GetParameters.Request(names=names)).values
    assert all(value.type for value in values)   # 0: not set


@pytest.mark.parametrize('parameters, text', [
    ({'max_depth': 0.05}, 'min_depth must be less than max_depth'),
    ({'backend': 'caffe'}, 'backend must be one of'),
    ({'point_cloud_stride': 1.5}, "point_cloud_stride: .*type 'DOUBLE', expecting type 'INTEGER'"),
    ({'base_frame': 'odom'}, "two different names, got 'odom' and 'odom'"),
    ({'extrinsics.base_camera': [1.0]}, 'must hold 7 finite numbers'),
    ({'extrinsics.base_camera': [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]}, 'must have length 1'),
    (dict.fromkeys(('depth.enabled', 'flow.enabled', 'odometry.enabled'), False),
     'nothing to do'),
])
def test_a_start_that_cannot_work_ends_with_one_line_and_exit_code_1(parameters, text):
    with LiveNode(parameters) as live:
        assert live.exit_code == 1
    assert re.search(text, live.log)
    assert 'Traceback' not in live.log


@pytest.mark.parametrize('arguments, text', [
    (['-p', 'nonsense'], 'ROS cannot be started: .*nonsense'),
    (['--params-file', '/no/such.yaml'], 'ROS cannot be started: .*/no/such.yaml'),
    (['--bogus'], 'ROS cannot be started: .*--bogus'),
])
def test_a_command_line_that_ros_refuses_ends_with_one_line_and_exit_code_1(arguments, text):
    with LiveNode(arguments=arguments) as live:
        assert live.exit_code == 1
        assert re.search(text, live.log)
        assert 'Traceback' not in live.log


def test_a_qos_override_that_means_nothing_is_told_and_leaves_nothing_behind():
    name = f'qos_overrides./live{next(NUMBERS) + 1}/right/camera_info.subscription.reliability'
    with LiveNode({'autostart': False, name: 'often'}) as live, Asker(live) as asker:
        assert not asker.change(Transition.TRANSITION_CONFIGURE)
        assert 'policy `reliability`: `often`' in live.log
        assert asker.node.count_subscribers('left/image_rect') == 0
        assert asker.node.count_publishers('depth/image') == 0


def test_a_model_that_cannot_be_loaded_ends_the_node_with_the_reason():
    with LiveNode(engine={'fail_load': True}) as live:
        assert live.exit_code == 1
    assert 'the model cannot be used: no model crossview_tiny' in live.log
    assert 'Traceback' not in live.log


def test_a_misspelt_parameter_is_told():
    with LiveNode({'max_dept': 5.0}) as live:
        live.until_active()
        assert "unknown parameter 'max_dept'; did you mean 'max_depth'?" in live.log


def test_a_lifecycle_manager_walks_the_node_through_all_states():
    engine = {'load_s': 0.5}
    with LiveNode({'autostart': False}, engine) as live, Asker(live) as asker:
        live.wait_for('inference', lambda level, text, values: text == 'not configured')
        assert asker.state() == 'unconfigured'
        loading = asker.begin_change(Transition.TRANSITION_CONFIGURE)
        live.wait_for('inference', lambda level, text, values: 'building stereo: 40 %' in text)
        assert asker.state() == 'configuring'   # answered while the model is loaded
        assert until_done(loading).success
        assert asker.state() == 'inactive'
        assert asker.change(Transition.TRANSITION_ACTIVATE)
        live.until_answering()
        assert asker.change(Transition.TRANSITION_DEACTIVATE)
        dropped = live.send()
        assert asker.change(Transition.TRANSITION_CLEANUP)
        assert asker.change(Transition.TRANSITION_CONFIGURE)
        assert asker.change(Transition.TRANSITION_ACTIVATE)
        live.until_answering()
        assert not live.answered(dropped)
        assert asker.change(Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert asker.state() == 'finalized'
        assert live.end(signal.SIGINT) == 0
    assert 'Traceback' not in live.log


def test_a_failed_configuration_leaves_a_managed_node_alive():
    with LiveNode({'autostart': False}, {'fail_load': True}) as live, Asker(live) as asker:
        assert not asker.change(Transition.TRANSITION_CONFIGURE)
        assert asker.state() == 'unconfigured'
        level, text, _ = live.wait_for('inference', lambda level, text, values: level == 2)
        assert text == 'no model crossview_tiny'


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_model_loads_ends_the_node_cleanly(number):
    with LiveNode(engine={'load_s': 1.0}) as live:
        until_logged(live, 'parameters:')
        assert live.end(number) == 0
    assert 'model loaded' not in live.log
    assert 'Traceback' not in live.log


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_inference_ends_the_node_cleanly(number):
    with LiveNode(engine={'process_s': 0.3}) as live:
        live.until_answering()
        live.send()
        live.send()
        assert live.end(number) == 0
    assert 'Traceback' not in live.log


def test_a_signal_from_a_managed_idle_node_ends_it_cleanly():
    with LiveNode({'autostart': False}) as live, Asker(live) as asker:
        assert asker.state() == 'unconfigured'
        assert live.end(signal.SIGINT) == 0


def test_a_signal_in_the_middle_of_the_imports_ends_the_node_cleanly():
    codes = []
    for delay_s in (0.15, 0.25, 0.35):
        with LiveNode() as live:
            time.sleep(delay_s)
            codes.append(live.end(signal.SIGINT))
        assert 'Traceback' not in live.log
    assert codes == [0, 0, 0]
