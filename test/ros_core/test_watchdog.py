# SPDX-License-Identifier: Apache-2.0
"""The watchdog: for each way in which nothing comes out, the one likely cause."""
from dataclasses import replace

from crossview_ros.ros.watchdog import likely_cause, PublisherFacts, report, SyncFacts, TopicFacts
import pytest

IMAGE, INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
CAMERA = PublisherFacts('/camera', IMAGE, 'RELIABLE VOLATILE', None)
EXACT = SyncFacts(approximate=False, max_interval_s=0.02, timeout_s=5.0)
LEFT = TopicFacts('left_image', '/left/image_rect', IMAGE, 'BEST_EFFORT VOLATILE', (CAMERA,),
                  received=50, age_s=0.1, last_stamp_ns=1_500_000_000)
RIGHT = replace(LEFT, stream='right_image', topic='/right/image_rect')
INFO_TOPIC = replace(LEFT, stream='right_info', topic='/right/camera_info', type=INFO,
                     publishers=(replace(CAMERA, type=INFO),))
MISFIT = replace(CAMERA, mismatch='the publisher is best effort, the subscription asks for '
                                  'reliable')


@pytest.mark.parametrize('second, text', [
    (replace(RIGHT, publishers=(), received=0, age_s=None),
     'nobody publishes /right/image_rect; start the camera driver'),
    (replace(RIGHT, publishers=(), received=0, age_s=None, alternatives=('/cam1/image',)),
     'nobody publishes /right/image_rect; there is /cam1/image: remap'),
    (replace(RIGHT, publishers=(), age_s=60.0), 'nobody publishes /right/image_rect'),
    (replace(RIGHT, publishers=(replace(CAMERA, type='sensor_msgs/msg/CompressedImage'),),
             received=0, age_s=None), 'is published as sensor_msgs/msg/CompressedImage, expected'),
    (replace(RIGHT, publishers=(MISFIT,), received=0, age_s=None),
     'incompatible QoS on /right/image_rect: the publisher is best effort'),
    (replace(RIGHT, received=5, damaged=5), 'unreadable stamp'),
    (replace(RIGHT, received=2, lost=48), 'the middleware lost 48 messages'),
    (replace(RIGHT, received=0, age_s=None), 'no message came: is the camera streaming'),
    (replace(RIGHT, nearest_ns=3_000_000), 'differ by at least 0.003000 s: set approx_sync: true'),
    (replace(RIGHT, nearest_ns=90_000_000_000), 'two recordings, or from two clocks'),
    (replace(INFO_TOPIC, nearest_ns=3_000_000), 'set cache_camera_info: true'),
    (replace(RIGHT, nearest_ns=0), 'is one of them much slower'),
])
def test_the_likely_cause_is_named(second, text):
    assert text in likely_cause([LEFT, second], EXACT).text


def test_with_approximate_matching_the_interval_is_named():
    approximate = replace(EXACT, approximate=True)
    cause = likely_cause([LEFT, replace(RIGHT, nearest_ns=50_000_000)], approximate)
    assert cause.kind == 'stamps_differ'
    assert cause.text.endswith('differ by at least 0.050000 s: more than '
                               'approx_sync_max_interval (0.02 s)')


def test_the_report_lists_every_topic_with_its_facts():
    topics = [LEFT, replace(RIGHT, nearest_ns=3_000_000, lost=4)]
    text = report(likely_cause(topics, EXACT), topics, EXACT)
    first, left, right = text.splitlines()
    assert first.startswith('no matched set of inputs for 5 s. Likely cause: stamps of /right')
    assert left.strip() == ('/left/image_rect (BEST_EFFORT VOLATILE): 1 publisher(s): /camera '
                            '(RELIABLE VOLATILE); 50 message(s), last stamp 1.500000')
    assert right.endswith('smallest stamp difference 3.000 ms, 4 lost by the middleware')


def test_inputs_that_worked_and_ended_have_stopped():
    topics = [replace(LEFT, age_s=7.0), replace(RIGHT, age_s=7.0, nearest_ns=3_000_000)]
    cause = likely_cause(topics, replace(EXACT, matched=9))
    assert cause.text == '/left/image_rect has stopped: the last message came 7.0 s ago'
    assert likely_cause(topics, EXACT).kind == 'stamps_differ'   # it never worked


def test_a_sure_fault_of_one_topic_is_named_before_a_missing_publisher_of_another():
    topics = [replace(LEFT, publishers=(), received=0, age_s=None),
              replace(RIGHT, publishers=(MISFIT,), received=0, age_s=None)]
    assert likely_cause(topics, EXACT).kind == 'qos_mismatch'
