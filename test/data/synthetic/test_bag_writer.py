# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.bag_writer import START_NS, TOPICS, write_drive_bag
from crossview_ros.data.synthetic.drive import DriveConfig, LidarConfig, plan_drive
from crossview_ros.errors import DatasetError
import numpy as np
import pytest
import yaml

CONFIG = DriveConfig(num_frames=24, size_hw=(48, 64), focal_px=52.0, mean_speed=5.0,
                     lidar=LidarConfig(rings=4, azimuth_steps=64))
FRAMES = 3


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return write_drive_bag(tmp_path_factory.mktemp('bags') / 'drive', CONFIG, seed=2)


@pytest.fixture(scope='module')
def messages(bag):
    from rosbags.highlevel import AnyReader
    messages = {}
    with AnyReader([bag]) as reader:
        for connection, time_ns, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            messages.setdefault(connection.topic, []).append((time_ns, message))
    return messages


@pytest.fixture(scope='module')
def truth():
    return list(plan_drive(CONFIG, 2).frames(numbers=range(FRAMES)))


def stamp_ns(header):
    return header.stamp.sec * 10 ** 9 + header.stamp.nanosec


def pixels(message, dtype, channels=1):
    values = np.frombuffer(message.data, dtype).reshape(message.height, message.width, channels)
    return values[..., 0] if channels == 1 else values


def test_every_topic_has_its_messages(messages):
    counts = {topic: len(found) for topic, found in messages.items()}

    fewer = {'/tf_static': 1, '/ground_truth/flow': 23, '/ground_truth/flow_occluded': 23}
    assert counts == {topic: fewer.get(topic, 24) for topic in TOPICS}


def test_all_of_a_frame_carries_one_stamp_and_the_frames_come_at_10_hz(messages):
    expected = [START_NS + i * 10 ** 8 for i in range(24)]
    for topic in set(TOPICS) - {'/tf_static'}:
        found = messages[topic]
        stamps = [stamp_ns(message.header) for _, message in found]
        assert stamps == expected[-len(stamps):]
        assert [time_ns for time_ns, _ in found] == stamps


def test_images_and_truth_are_those_of_the_drive(messages, truth):
    for number, frame in enumerate(truth):
        left = messages['/stereo/left/image_rect'][number][1]
        assert (left.encoding, left.header.frame_id) == ('rgb8', 'camera_left_optical_frame')
        np.testing.assert_array_equal(pixels(left, np.uint8, 3), frame.left)
        right = messages['/stereo/right/image_rect'][number][1]
        assert right.header.frame_id == 'camera_right_optical_frame'
        np.testing.assert_array_equal(pixels(right, np.uint8, 3), frame.right)
        depth = messages['/ground_truth/depth'][number][1]
        assert depth.encoding == '32FC1'
        np.testing.assert_array_equal(pixels(depth, '<f4'), frame.depth)
        disparity = messages['/ground_truth/disparity'][number][1]
        np.testing.assert_array_equal(pixels(disparity.image, '<f4'), frame.disparity)
    flow = messages['/ground_truth/flow'][0][1]
    assert flow.encoding == '32FC2'
    np.testing.assert_array_equal(pixels(flow, '<f4', 2), truth[1].flow)
    hidden = pixels(messages['/ground_truth/flow_occluded'][0][1], np.uint8) == 255
    np.testing.assert_array_equal(hidden, truth[1].hidden_in_left)


def test_camera_info_gives_focal_length_and_baseline(messages):
    left, right = (messages[f'/stereo/{side}/camera_info'][5][1] for side in ('left', 'right'))

    assert left.p[0] == right.p[0] == 52.0
    assert left.p[3] == 0
    assert -right.p[3] / right.p[0] == pytest.approx(0.25)      # REP 104
    assert (left.width, left.height) == (64, 48)
    assert left.p[2] == 31.5


def test_cloud_has_the_fields_of_a_lidar(messages, truth):
    cloud = messages['/points'][0][1]

    assert [(f.name, f.offset, f.datatype) for f in cloud.fields] == [
        ('x', 0, 7), ('y', 4, 7), ('z', 8, 7), ('intensity', 12, 7), ('ring', 16, 4)]
    assert cloud.header.frame_id == 'lidar'
    assert cloud.row_step == cloud.point_step * cloud.width == len(cloud.data)
    rows = np.frombuffer(cloud.data, np.dtype([('xyz', '<f4', 3), ('i', '<f4'), ('ring', '<u2')]))
    np.testing.assert_array_equal(rows['xyz'], truth[0].scan.points)
    np.testing.assert_array_equal(rows['ring'], truth[0].scan.ring)


def test_odometry_is_the_path_of_the_base(messages, truth):
    for number, frame in enumerate(truth):
        odom = messages['/ground_truth/odom'][number][1]
        position = odom.pose.pose.position
        np.testing.assert_allclose((position.x, position.y, position.z), frame.T_odom_base[:3, 3])
        linear = odom.twist.twist.linear
        np.testing.assert_allclose((linear.x, linear.y, linear.z), frame.twist[:3])
    assert (odom.header.frame_id, odom.child_frame_id) == ('odom', 'base_link')
    assert np.diag(odom.pose.covariance.reshape(6, 6)).min() > 0


def test_static_transforms_put_the_sensors_on_the_base(messages):
    transforms = {t.child_frame_id: t for t in messages['/tf_static'][0][1].transforms}

    assert set(transforms) == {'camera_left_optical_frame', 'camera_right_optical_frame', 'lidar'}
    left = transforms['camera_left_optical_frame']
    assert left.header.frame_id == 'base_link'
    rotation, place = left.transform.rotation, left.transform.translation
    # REP 103: the optical frame in the body frame
    quat = np.array((rotation.x, rotation.y, rotation.z, rotation.w))
    np.testing.assert_allclose(quat * np.sign(quat[3]), (-0.5, 0.5, -0.5, 0.5), atol=1e-12)
    assert place.y == pytest.approx(0.125)                      # half the baseline to the left
    assert transforms['camera_right_optical_frame'].transform.translation.y == -place.y


def test_metadata_can_be_read_by_humble(bag):
    facts = yaml.safe_load((bag / 'metadata.yaml').read_text())['rosbag2_bagfile_information']

    assert facts['version'] <= 8                # from 9 on QoS is a list, which Humble refuses
    assert facts['storage_identifier'] == 'mcap'
    assert facts['compression_mode'] == ''      # chunks are compressed, which every reader knows
    quality = {t['topic_metadata']['name']: t['topic_metadata']['offered_qos_profiles']
               for t in facts['topics_with_message_count']}
    assert all(isinstance(text, str) for text in quality.values())
    assert yaml.safe_load(quality['/tf_static'])[0]['durability'] == 1     # transient local
    assert yaml.safe_load(quality['/points'])[0]['durability'] == 2


def test_existing_bags_are_not_overwritten(bag):
    with pytest.raises(DatasetError, match='drive exists already'):
        write_drive_bag(bag, CONFIG)


def test_interrupted_bag_leaves_nothing_behind(tmp_path):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_drive_bag(tmp_path / 'drive', CONFIG, progress=stop)

    assert list(tmp_path.iterdir()) == []
