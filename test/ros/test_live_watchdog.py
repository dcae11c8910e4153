# SPDX-License-Identifier: Apache-2.0
"""When nothing comes out the node says why; and what it takes to make inputs match."""
from array import array
import re
import time

from crossview_ros.ros.session import NodeSession
from live_node import LIMIT_S, LiveNode, NUMBERS, TOPICS
import pytest
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage, Image

pytestmark = pytest.mark.ros

QUICK = {'input_timeout': 0.5}
MS = 1_000_000
RELIABLE_LEFT = 'qos_overrides.{}/left/image_rect.subscription.reliability:=reliable'


def cause_of(live, part=''):
    """Return the likely cause that diagnostics tell, once it has some part: topics take time."""
    level, text, values = live.wait_for('sync', lambda level, text, values: level == 2 and
                                        part in values.get('Likely cause', ''))
    assert text.startswith('no matched set for')
    return values['Likely cause']


def delayed(delay_ns):
    """Return an edit that moves a stamp."""
    def edit(message):
        stamp_ns = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(
            stamp_ns + delay_ns, 1_000_000_000)
    return edit


def test_without_any_publisher_the_missing_topic_is_named_once():
    with LiveNode(QUICK, camera={'topics': {}}) as live:
        live.until_active()
        assert f'nobody publishes {live.namespace}/left/image_rect' in cause_of(live)
        live.wait_for('sync', lambda level, text, values: re.search(r'for \d+ s$', text))
        assert live.log.count('no matched set of inputs') == 1
        level, text, _ = live.wait_for(f'{live.namespace}/left/image_rect frequency',
                                       lambda level, text, values: level == 2)
        assert text.startswith('nothing for')


def test_a_topic_of_another_name_is_proposed():
    topics = {**TOPICS, 'right_image': (Image, 'infra2/image_rect')}
    with LiveNode(QUICK, camera={'topics': topics}) as live:
        live.until_active()
        cause = cause_of(live, 'there is')
        assert f'nobody publishes {live.namespace}/right/image_rect; there is' in cause
        assert f'{live.namespace}/infra2/image_rect' in cause


def test_a_topic_of_another_type_is_named():
    with LiveNode(QUICK, camera={'topics': {}}) as live:
        with NodeSession('other_camera', live.namespace) as session:
            session.node.create_publisher(CompressedImage, 'left/image_rect', 1)
            live.until_active()
            live.wait_for('sync', lambda level, text, values: 'CompressedImage, expected' in
                          values.get('Likely cause', ''))


def test_incompatible_qos_is_an_error_in_diagnostics_and_named():
    # the override makes the subscription ask for more than the camera offers
    override = RELIABLE_LEFT.format(f'/live{next(NUMBERS) + 1}')
    with LiveNode(QUICK, camera={'reliable': False}, arguments=['-p', override]) as live:
        live.until_active()
        live.send()
        level, text, values = live.wait_for(
            f'{live.namespace}/left/image_rect frequency',
            lambda level, text, values: text == 'a publisher offers incompatible QoS')
        assert level == 2
        assert values['QoS requested'] == 'RELIABLE VOLATILE'
        live.wait_for('sync', lambda level, text, values: 'incompatible QoS on' in
                      values.get('Likely cause', ''))
        assert 'RELIABILITY' in live.log


def test_best_effort_cameras_are_heard_without_any_setting():
    with LiveNode(camera={'reliable': False}) as live:
        assert live.until_answering().answers_a_good_pair()


def test_stamps_that_differ_are_named_with_the_difference():
    with LiveNode(QUICK) as live:
        live.until_connected()
        for _ in range(5):
            live.send(right_image=delayed(3 * MS), right_info=delayed(3 * MS))
        live.wait_for('sync', lambda level, text, values: 'differ by at least 0.003000 s: set '
                      'approx_sync: true' in values.get('Likely cause', ''))


def test_with_approx_sync_such_stamps_match_under_the_left_header():
    with LiveNode({'approx_sync': True, 'approx_sync_max_interval': 0.01}) as live:
        live.until_answering()
        stamp_ns = live.send(right_image=delayed(3 * MS), right_info=delayed(3 * MS))
        assert live.answer(stamp_ns) is not None


def test_with_cached_camera_info_one_serves_for_all_images():
    with LiveNode({'cache_camera_info': True}) as live:
        live.until_answering()
        stamp_ns = live.send(only={'left_image', 'right_image'})
        assert live.answer(stamp_ns) is not None


def test_a_missing_clock_is_told_and_stops_nothing():
    with LiveNode({'use_sim_time': True}) as live:
        live.until_answering()
        level, text, _ = live.wait_for('input age', lambda level, text, values: level == 1)
        assert 'nothing comes on /clock' in text
        assert live.answers_a_good_pair()


def test_a_baseline_of_zero_is_replaced_by_the_parameter_and_told():
    def no_baseline(message):
        message.p[3] = 0.0
    with LiveNode({'stereo_baseline': 0.2}) as live:
        live.until_answering()
        assert live.answer(live.send(right_info=no_baseline)) is not None
        level, text, values = live.wait_for('calibration', lambda level, *_: level == 1)
        assert 'gives no baseline' in text
        assert values['Baseline (m)'] == '0.20000'


def test_millimetres_go_to_their_own_topic():
    topics = {'depth/image_raw': 'sensor_msgs/msg/Image'}
    with LiveNode({'depth_encoding': '16UC1'}, topics=topics) as live:
        live.until_answering()
        message = live.answer(live.send(), 'depth/image_raw')
        assert message.encoding == '16UC1'
        values = memoryview(message.data).cast('H')
        assert values[0] == 0 and values[-1] == 1500


def test_two_nodes_in_two_namespaces_do_not_mix():
    with LiveNode() as first, LiveNode() as second:
        first.until_answering()
        second.until_answering()
        stamp_ns = first.next_stamp(step_ns=3600 * 1000 * MS)
        first.camera.send(stamp_ns)
        assert first.answer(stamp_ns) is not None
        assert second.answers_a_good_pair()
        assert not second.answered(stamp_ns)
        names = {f'{live.namespace[1:]}/perception_node: sync' for live in (first, second)}
        assert first.collector.wait_for_status(lambda statuses: names <= set(statuses), LIMIT_S)


def test_a_failing_inference_is_an_error_until_the_next_answer():
    with LiveNode(engine={'fail_on': list(range(3, 6))}) as live:
        live.until_answering()
        for _ in range(5):
            live.answer(live.send(), limit_s=0.3)
        live.wait_for_count('inference', 'Sets that failed', 3)
        assert 'inference failed: RuntimeError: out of memory' in live.log
        assert live.answers_a_good_pair()
        live.wait_for('inference', lambda level, text, values: level == 0)


def test_large_images_come_in_and_go_out_by_best_effort():
    # lost for the most part with the shared memory that Fast DDS takes by default
    def edit_image(message):
        message.width, message.height, message.step = 1280, 720, 3840
        message.data = array('B', bytes(3840 * 720))

    def edit_info(message):
        message.width, message.height = 1280, 720

    edits = {'left_image': edit_image, 'right_image': edit_image, 'left_info': edit_info,
             'right_info': edit_info}
    arrived = []
    with LiveNode() as live, NodeSession('listener', live.namespace, spin=True) as session:
        session.node.create_subscription(Image, 'depth/image', arrived.append,
                                         qos_profile_sensor_data)
        live.until_answering()
        stamps = [live.send(**edits) for _ in range(10) if not time.sleep(0.1)]
        assert live.answer(stamps[-1]) is not None
        assert [stamp for stamp in stamps if not live.answered(stamp)] == []
        large = [message for message in arrived if message.width == 1280]
        assert len(large) >= len(stamps) - 1   # the last may still be under way
