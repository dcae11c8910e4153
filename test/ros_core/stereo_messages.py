# SPDX-License-Identifier: Apache-2.0
"""Messages of a stereo camera as plain objects, for tests without ROS."""
from types import SimpleNamespace

import numpy as np

FX, BASELINE = 200.0, 0.1


def header(stamp_ns, frame_id):
    """Return a std_msgs/Header."""
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    return SimpleNamespace(stamp=SimpleNamespace(sec=sec, nanosec=nanosec), frame_id=frame_id)


def image(stamp_ns=1, frame_id='left_optical', size_hw=(6, 8), encoding='mono8'):
    """Return a sensor_msgs/Image of mono8 zeros."""
    return SimpleNamespace(
        header=header(stamp_ns, frame_id), height=size_hw[0], width=size_hw[1],
        encoding=encoding, is_bigendian=0, step=size_hw[1],
        data=np.zeros(size_hw[0] * size_hw[1], np.uint8))


def camera_info(stamp_ns=1, frame_id='left_optical', size_hw=(6, 8), baseline=0.0):
    """Return a sensor_msgs/CameraInfo of a rectified camera."""
    p = np.array([[FX, 0, 4, -FX * baseline], [0, FX, 3, 0], [0, 0, 1, 0]])
    return SimpleNamespace(
        header=header(stamp_ns, frame_id), height=size_hw[0], width=size_hw[1],
        distortion_model='plumb_bob', d=np.zeros(5), k=p[:, :3].reshape(9).copy(),
        r=np.eye(3).reshape(9), p=p.reshape(12), binning_x=0, binning_y=0,
        roi=SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False))


def stereo_messages(stamp_ns=1, size_hw=(6, 8), baseline=BASELINE):
    """Return {stream: message} of one pair."""
    return {'left_image': image(stamp_ns, size_hw=size_hw),
            'left_info': camera_info(stamp_ns, size_hw=size_hw),
            'right_image': image(stamp_ns, 'right_optical', size_hw),
            'right_info': camera_info(stamp_ns, 'right_optical', size_hw, baseline)}
