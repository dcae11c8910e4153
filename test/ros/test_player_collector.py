# SPDX-License-Identifier: Apache-2.0
"""The bag player publishes what was recorded, the collector keeps what comes."""
import threading
import time
from types import SimpleNamespace

from crossview_ros.errors import ConfigError, CrossviewError, MessageError
from crossview_ros.ros.collector import OutputCollector
from crossview_ros.ros.player import BagPlayer, message_class
from crossview_ros.ros.session import NodeSession
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros

TYPES = get_typestore(Stores.ROS2_HUMBLE)
START_NS, STEP_NS, NUM_FRAMES = 1_700_000_000_000_000_000, 100_000_000, 5
LEFT, RIGHT = '/left/image_rect', '/right/image_rect'
IMAGE = 'sensor_msgs/msg/Image'
STAMPS = [START_NS + index * STEP_NS for index in range(NUM_FRAMES)]
SIZE_HW = 24, 32
LIMIT_S = 10.0


def image_message(stamp_ns):
    """Return an image whose pixels tell its stamp."""
    kinds = TYPES.types
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    header = kinds['std_msgs/msg/Header'](
        kinds['builtin_interfaces/msg/Time'](sec, nanosec), 'camera')
    level = stamp_ns // STEP_NS % 256
    data = np.full(SIZE_HW[0] * SIZE_HW[1] * 3, level, np.uint8)
    return kinds[IMAGE](header, *SIZE_HW, 'rgb8', 0, SIZE_HW[1] * 3, data)


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    """Write a bag of two image topics at 10 Hz, and one of a type that is not installed."""
    folder = tmp_path_factory.mktemp('player') / 'bag'
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        images = [writer.add_connection(topic, IMAGE, typestore=TYPES)
                  for topic in (LEFT, RIGHT)]
        other = writer.add_connection('/velocity', 'geometry_msgs/msg/Vector3', typestore=TYPES)
        for stamp_ns in STAMPS:
            for connection in images:
                writer.write(connection, stamp_ns, TYPES.serialize_cdr(image_message(stamp_ns),
                                                                       IMAGE))
            vector = TYPES.types['geometry_msgs/msg/Vector3'](1.0, 2.0, 3.0)
            writer.write(other, stamp_ns,
                         TYPES.serialize_cdr(vector, 'geometry_msgs/msg/Vector3'))
    return folder


def test_everything_arrives_as_it_was_recorded(bag):
    published = []
    with OutputCollector({LEFT: IMAGE, RIGHT: IMAGE}) as collector, BagPlayer(bag) as player:
        assert player.wait_for_subscribers([LEFT, RIGHT], LIMIT_S)
        start_s = time.monotonic()
        assert player.play(published.append) == 3 * NUM_FRAMES
        elapsed_s = time.monotonic() - start_s
        assert collector.wait_for(LEFT, NUM_FRAMES, LIMIT_S)
        assert collector.wait_for(RIGHT, NUM_FRAMES, LIMIT_S)
    assert list(collector.received(LEFT)) == STAMPS
    received = collector.received(LEFT)[STAMPS[3]]
    assert set(received.message.data) == {STAMPS[3] // STEP_NS % 256}
    (sent,) = [item for item in published if item.topic == LEFT and item.stamp_ns == STAMPS[3]]
    assert sent.monotonic_s < received.monotonic_s < sent.monotonic_s + LIMIT_S
    assert {item.stamp_ns for item in published if item.topic == '/velocity'} == {None}
    assert elapsed_s >= (NUM_FRAMES - 1) * STEP_NS * 1e-9   # at the pace of the recording
    assert player.counts == dict.fromkeys((LEFT, RIGHT, '/velocity'), NUM_FRAMES)


def test_topics_are_chosen_renamed_and_cut_off(bag):
    with OutputCollector({'/cam0': IMAGE}) as collector, \
            BagPlayer(bag, rate=50.0, remap={LEFT: '/cam0'}, topics=[LEFT, '/velocity'],
                      max_frames=2) as player:
        assert player.topics == {LEFT: '/cam0', '/velocity': '/velocity'}
        assert player.wait_for_subscribers([LEFT], LIMIT_S)
        player.play()
        assert collector.wait_for('/cam0', 2, LIMIT_S)
    assert list(collector.received('/cam0')) == STAMPS[:2]
    assert player.counts == {LEFT: 2, '/velocity': 2}


def test_a_loop_goes_on_until_it_is_stopped_and_the_clock_jumps_back(bag):
    clock_ns, passes = [], []

    def on_published(published):
        passes.append(published.stamp_ns)
        if len(passes) == 3 * NUM_FRAMES - 1:
            player.stop()

    with NodeSession('clock_listener', spin=True) as session, \
            BagPlayer(bag, rate=10.0, loop=True, clock=True, topics=[LEFT]) as player:
        session.node.create_subscription(
            Clock, '/clock', lambda message: clock_ns.append(
                message.clock.sec * 1_000_000_000 + message.clock.nanosec), 10)
        player.wait_for_subscribers([LEFT], 0.2)   # nobody: the time serves discovery
        player.play(on_published)
        time.sleep(0.1)
    assert passes == (STAMPS * 3)[:-1]
    assert min(np.diff(clock_ns)) < -0.2e9
    assert STAMPS[0] <= min(clock_ns) <= max(clock_ns) <= STAMPS[-1]


def test_a_looping_player_can_be_stopped_from_another_thread(bag):
    with BagPlayer(bag, loop=True) as player:
        timer = threading.Timer(0.2, player.stop)
        timer.start()
        player.play()
        timer.join()
    assert 0 < player.counts[LEFT] < 10


def test_topics_of_unknown_types_are_left_out_and_told(bag, monkeypatch):
    monkeypatch.setattr('crossview_ros.ros.player.message_class',
                        lambda name: None if 'Vector3' in name else message_class(name))
    with BagPlayer(bag, rate=1000.0) as player:
        assert player.skipped == {
            '/velocity': 'message type geometry_msgs/msg/Vector3 is not installed'}
        assert player.play() == 2 * NUM_FRAMES


@pytest.mark.parametrize('options, error, text', [
    ({'rate': 0.0}, ConfigError, 'rate must be greater than 0'),
    ({'max_frames': 0}, ConfigError, 'max_frames must be at least 1'),
    ({'topics': ['/lef']}, ConfigError, 'no topic /lef; the bag holds /left/image_rect'),
    ({'remap': {'/nothing': '/cam0'}}, ConfigError, 'no topic /nothing'),
])
def test_what_cannot_be_played_is_refused(bag, options, error, text):
    with pytest.raises(error, match=text), BagPlayer(bag, **options):
        pass


def test_a_missing_bag_is_refused(tmp_path):
    with pytest.raises(MessageError, match='no such bag'), BagPlayer(tmp_path / 'none'):
        pass


def test_message_types_are_found_by_name():
    assert message_class('sensor_msgs/msg/Image') is Image
    assert message_class('sensor_msgs/msg/Nothing') is None
    assert message_class('no_such_msgs/msg/Image') is None


def test_a_collector_refuses_types_that_are_not_installed():
    with pytest.raises(ConfigError, match='no_such_msgs/msg/Image is not installed'), \
            OutputCollector({'/a': 'no_such_msgs/msg/Image'}):
        pass


def test_waiting_for_a_node_that_is_not_there_ends():
    with OutputCollector() as collector:
        with pytest.raises(CrossviewError, match='not active after 0.3 s; its state: no answer'):
            collector.wait_until_active('nobody', 0.3)
        dead = SimpleNamespace(check=lambda: pytest.fail('checked'))
        with pytest.raises(pytest.fail.Exception, match='checked'):
            collector.wait_until_active('nobody', 5.0, dead.check)
