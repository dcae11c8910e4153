# SPDX-License-Identifier: Apache-2.0
"""Say from /tf_static of a bag where camera and LiDAR sit, as parameters of the node."""
from typing import Any

from crossview_ros.errors import CalibrationError
from crossview_ros.geometry.se3 import quat_xyzw_from_rotation
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.static_transforms import StaticTransforms
from crossview_ros.replay.topics import InputTopics
from crossview_ros.replay.truth import ODOM_TOPIC
import numpy as np

BASE_FRAME = 'base_link'


def base_frame_of(bag: Bag, transforms: StaticTransforms, camera_frame: str) -> str | None:
    """
    Return the frame of the robot's base.

    It is base_link where the camera hangs on it, else the body of the true odometry, else the
    root of the tree that holds the camera; None where there is no other frame than the camera's.
    """
    candidates = [BASE_FRAME]
    if any(topic.name == ODOM_TOPIC and topic.count for topic in bag.topics):
        candidates.append(bag.first(ODOM_TOPIC).child_frame_id)
    candidates.append(transforms.root_of(camera_frame))
    for frame in candidates:
        if frame != camera_frame.lstrip('/') and transforms.connects(frame, camera_frame):
            return frame
    return None


def extrinsic_parameters(bag: Bag, topics: InputTopics) -> dict[str, Any]:
    """
    Return base_frame, extrinsics.base_camera and extrinsics.camera_lidar, as the bag says.

    What the bag does not say is left out. Poses are x y z [m] qx qy qz qw of the left optical
    frame in the base frame, and of the LiDAR in the left optical frame.
    """
    transforms = StaticTransforms.of_bag(bag)
    camera_frame = bag.first(topics.left.image).header.frame_id
    parameters = {}
    base_frame = base_frame_of(bag, transforms, camera_frame)
    if base_frame is not None:
        parameters['base_frame'] = base_frame
        parameters['extrinsics.base_camera'] = _numbers(
            transforms.lookup(base_frame, camera_frame))
    if topics.cloud is not None:
        try:
            T_camera_lidar = transforms.lookup(camera_frame,
                                               bag.first(topics.cloud).header.frame_id)
            parameters['extrinsics.camera_lidar'] = _numbers(T_camera_lidar)
        except CalibrationError:
            pass   # left out: the caller tells what was found
    return parameters


def _numbers(T: np.ndarray) -> list[float]:
    return [float(value) for value in (*T[:3, 3], *quat_xyzw_from_rotation(T[:3, :3]))]
