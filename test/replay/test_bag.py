# SPDX-License-Identifier: Apache-2.0
"""Reading bags: what they hold, and plain words where they are damaged."""
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.replay.bag import Bag
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import get_typestore, Stores


@pytest.fixture
def header_bag(tmp_path):
    """Return a bag with three headers on /a, 0.5 s apart, and one on /b."""
    typestore = get_typestore(Stores.ROS2_HUMBLE)
    folder = tmp_path / 'bag'
    with Writer(folder, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        kind = 'std_msgs/msg/Header'
        a, b = (writer.add_connection(name, kind, typestore=typestore) for name in ('/a', '/b'))
        for index in range(3):
            _write(writer, a, typestore, index * 500_000_000, f'frame{index}')
        _write(writer, b, typestore, 200_000_000, 'other')
    return folder


def _write(writer, connection, typestore, time_ns, text):
    stamp = SimpleNamespace(sec=time_ns // 10**9, nanosec=time_ns % 10**9)
    message = SimpleNamespace(stamp=stamp, frame_id=text)
    writer.write(connection, time_ns, typestore.serialize_cdr(message, 'std_msgs/msg/Header'))


def test_topics_say_name_type_count_and_rate(header_bag):
    with Bag(header_bag) as bag:
        a, b = bag.topics
        assert (a.name, a.type, a.count) == ('/a', 'std_msgs/msg/Header', 3)
        assert a.rate_hz == pytest.approx(2.0)   # two intervals in one second
        assert b.rate_hz is None                 # one message has no rate
        assert bag.duration_s == pytest.approx(1.0)
        assert bag.storage == 'mcap'


@pytest.mark.parametrize('single_file', [False, True])
def test_messages_come_in_order_of_time_from_folder_and_file(header_bag, single_file):
    path = header_bag / 'bag.mcap' if single_file else header_bag
    with Bag(path) as bag:
        found = [(topic, time_ns, message.frame_id) for topic, time_ns, message in bag.messages()]
    assert found == [('/a', 0, 'frame0'), ('/b', 200_000_000, 'other'),
                     ('/a', 500_000_000, 'frame1'), ('/a', 1_000_000_000, 'frame2')]


def test_messages_of_one_topic_only(header_bag):
    with Bag(header_bag) as bag:
        assert [message.frame_id for _, _, message in bag.messages(['/b'])] == ['other']
        assert bag.first('/a').frame_id == 'frame0'


def test_unknown_topic_lists_what_there_is(header_bag):
    with Bag(header_bag) as bag:
        with pytest.raises(MessageError, match=r"no topic '/c'; the bag holds /a, /b"):
            next(bag.messages(['/c']))


def test_missing_bag_and_wrong_kind_of_file(tmp_path):
    with pytest.raises(MessageError, match='no such bag'):
        Bag(tmp_path / 'absent').__enter__()
    text = tmp_path / 'note.txt'
    text.write_text('no bag')
    with pytest.raises(MessageError, match=r"ends in \.mcap or \.db3, got '\.txt'"):
        Bag(text).__enter__()
    with pytest.raises(MessageError, match='no metadata.yaml; is this a bag'):
        Bag(tmp_path).__enter__()


@pytest.mark.parametrize('keep', [0, 4, 40, 0.5, 0.98])
def test_truncated_bag_is_told_in_plain_words(header_bag, keep):
    file = header_bag / 'bag.mcap'
    content = file.read_bytes()
    size = keep if isinstance(keep, int) else int(keep * len(content))
    file.write_bytes(content[:size])
    with pytest.raises(MessageError, match='cannot be read.*truncated or damaged'):
        with Bag(file) as bag:
            list(bag.messages())


def test_corrupt_message_is_told_in_plain_words(header_bag):
    file = header_bag / 'bag.mcap'
    content = file.read_bytes()
    # the length of the frame_id string becomes huge
    file.write_bytes(content.replace(b'\x07\x00\x00\x00frame1', b'\xff\xff\xff\x7fframe1'))
    with pytest.raises(MessageError, match='cannot be read'):
        with Bag(file) as bag:
            list(bag.messages())


def test_bag_without_messages_has_no_duration(tmp_path):
    with Writer(tmp_path / 'empty', version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        writer.add_connection('/a', 'std_msgs/msg/Header',
                              typestore=get_typestore(Stores.ROS2_HUMBLE))
    with Bag(tmp_path / 'empty') as bag:
        assert bag.duration_s == 0.0
        assert list(bag.messages()) == []
        with pytest.raises(MessageError, match='holds no message'):
            bag.first('/a')
