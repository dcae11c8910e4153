# SPDX-License-Identifier: Apache-2.0
"""Odometry survives the message; covariances that consumers misread are refused."""
from crossview_ros.errors import MessageError
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.messages.odometry import (
    read_pose, transform_from_pose, write_lost_odometry, write_odometry, write_transform)
import numpy as np
import pytest

ODOMETRY = 'nav_msgs/msg/Odometry'
STAMP = 1_500_000_000


def covariance(rng):
    root = rng.normal(size=(6, 6))
    return root @ root.T + 0.01 * np.eye(6)


def write(message, T=np.eye(4), pose_covariance=np.eye(6), twist=np.zeros(6),
          twist_covariance=np.eye(6)):
    return write_odometry(message, T, pose_covariance, twist, twist_covariance, STAMP, 'odom',
                          'base_link')


def test_odometry_survives_the_message(messages, rng):
    T = exp_se3(rng.normal(size=6))
    pose_covariance, twist_covariance = covariance(rng), covariance(rng)
    twist = rng.normal(size=6)
    message = messages.blank(ODOMETRY)
    assert write(message, T, pose_covariance, twist, twist_covariance) is message
    sent = messages.sent(message, ODOMETRY)
    np.testing.assert_allclose(read_pose(sent.pose.pose), T, atol=1e-14)
    np.testing.assert_array_equal(np.reshape(sent.pose.covariance, (6, 6)), pose_covariance)
    np.testing.assert_array_equal(np.reshape(sent.twist.covariance, (6, 6)), twist_covariance)
    linear, angular = sent.twist.twist.linear, sent.twist.twist.angular
    np.testing.assert_array_equal((linear.x, linear.y, linear.z, angular.x, angular.y, angular.z),
                                  twist)
    assert (sent.header.frame_id, sent.child_frame_id) == ('odom', 'base_link')
    assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (1, 500_000_000)


def test_the_quaternion_is_x_y_z_w(plain):
    quarter_turn = exp_se3([1, 2, 3, 0, 0, np.pi / 2])
    orientation = write(plain.blank(ODOMETRY), quarter_turn).pose.pose.orientation
    half = np.sqrt(0.5)
    assert (orientation.x, orientation.y, orientation.z, orientation.w) == pytest.approx(
        (0, 0, half, half))


def test_a_variance_of_exactly_one_is_not_taken_for_unset(plain):
    message = write(plain.blank(ODOMETRY))
    assert message.pose.covariance[0] != 1 and message.pose.covariance[0] == pytest.approx(1)
    assert message.pose.covariance[7] == 1


@pytest.mark.parametrize('matrix, text', [
    (np.zeros((6, 6)), 'pose covariance must have a positive diagonal'),
    (np.diag([1, 1, 0, 1, 1, 1.0]), 'pose covariance must have a positive diagonal'),
    (np.full((6, 6), np.nan), r'pose covariance must be \(6, 6\) and finite'),
    (np.eye(3), r'pose covariance must be \(6, 6\) and finite, got shape \(3, 3\)'),
    (np.eye(6) + 0.5 * np.eye(6, k=1), 'pose covariance is not symmetric'),
    (np.eye(6) + 2 * (np.eye(6, k=1) + np.eye(6, k=-1)), 'pose covariance has a negative eigen'),
])
def test_a_covariance_that_is_none_is_refused(plain, matrix, text):
    with pytest.raises(MessageError, match=text):
        write(plain.blank(ODOMETRY), pose_covariance=matrix)


@pytest.mark.parametrize('change, text', [
    ({'T': np.full((4, 4), np.nan)}, 'pose and twist of odometry must be finite'),
    ({'twist': np.full(6, np.inf)}, 'pose and twist of odometry must be finite'),
    ({'T': np.eye(3)}, r'needs a \(4, 4\) pose and a \(6,\) twist, got \(3, 3\)'),
    ({'twist': np.zeros(3)}, r'got \(4, 4\) and \(3,\)'),
])
def test_a_pose_or_twist_that_is_none_is_refused(plain, change, text):
    with pytest.raises(MessageError, match=text):
        write(plain.blank(ODOMETRY), **change)


def test_a_zero_quaternion_means_lost(plain):
    pose = plain.blank('geometry_msgs/msg/Pose')
    with pytest.raises(MessageError, match='the pose has no orientation: quaternion .* is no rot'):
        read_pose(pose)
    pose.orientation.w = 1.0
    pose.position.y = float('nan')
    with pytest.raises(MessageError, match=r'position \[0.0, nan, 0.0\] of the pose is not fin'):
        read_pose(pose)


def test_a_pose_of_a_real_bag_is_rigid(bag_messages):
    T = read_pose(bag_messages('kitti_raw_residential_a', '/ground_truth/odom').pose.pose)
    np.testing.assert_allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(T[:3, :3]) == pytest.approx(1)


def test_a_lost_pose_has_variances_that_say_so(messages, rng):
    T = exp_se3(rng.normal(size=6))
    sent = messages.sent(write_lost_odometry(messages.blank(ODOMETRY), T, STAMP, 'odom',
                                             'base_link'), ODOMETRY)
    np.testing.assert_allclose(read_pose(sent.pose.pose), T, atol=1e-14)
    for part in (sent.pose, sent.twist):
        np.testing.assert_array_equal(np.reshape(part.covariance, (6, 6)), 9999 * np.eye(6))


def test_a_lost_pose_that_is_null_is_no_pose(messages):
    sent = messages.sent(write_lost_odometry(messages.blank(ODOMETRY), None, STAMP, 'odom',
                                             'base_link'), ODOMETRY)
    with pytest.raises(MessageError, match='no orientation'):
        read_pose(sent.pose.pose)


def test_a_transform_survives_the_message(messages, rng):
    T = exp_se3(rng.normal(size=6))
    kind = 'geometry_msgs/msg/TransformStamped'
    sent = messages.sent(write_transform(messages.blank(kind), T, STAMP, 'odom', 'base_link'),
                         kind)
    at, turn = sent.transform.translation, sent.transform.rotation
    given = transform_from_pose((at.x, at.y, at.z, turn.x, turn.y, turn.z, turn.w))
    np.testing.assert_allclose(given, T, atol=1e-14)
    assert (sent.header.frame_id, sent.child_frame_id) == ('odom', 'base_link')
