# SPDX-License-Identifier: Apache-2.0
"""
Poses of a LiDAR by KISS-ICP, as pseudo ground truth where a bag has nothing better.

Source: Vizzo et al., KISS-ICP: In Defense of Point-to-Point ICP, RA-L 2023; package kiss-icp.
"""
from collections.abc import Callable
from typing import Any

from crossview_ros.errors import ConfigError
from crossview_ros.geometry.trajectory import Trajectory
from crossview_ros.messages.header import stamp_ns
from crossview_ros.messages.point_cloud2 import read_points
from crossview_ros.replay.bag import Bag
import numpy as np

MAX_RANGE_M = 100.0
VOXEL_SHARE = 0.01   # side of the map's voxels, of the range: KISS-ICP's own choice
FEWEST_SCANS = 2


def kiss_icp_trajectory(bag: Bag, cloud: str) -> tuple[Trajectory, str]:
    """
    Register every scan of a bag.

    Scans are taken as they are: without motion compensation within a scan, which few bags have
    the times for.

    :param cloud: PointCloud2 topic.
    :return: T_first_scan, one for each scan, and the frame of the LiDAR.
    :raises ConfigError: If kiss-icp is not installed, or there are too few scans.
    """
    register = _registration()
    poses, stamps_ns, frame = [], [], ''
    for _, _, message in bag.messages([cloud]):
        stamp = stamp_ns(message)
        if stamps_ns and stamp <= stamps_ns[-1]:
            continue   # the bag starts again: the first pass counts
        points = np.asarray(read_points(message), np.float64)
        poses.append(register(points[np.isfinite(points).all(axis=1)]))
        stamps_ns.append(stamp)
        frame = message.header.frame_id
    if len(poses) < FEWEST_SCANS:
        raise ConfigError(f'{cloud} holds {len(poses)} scans; KISS-ICP needs {FEWEST_SCANS} or '
                          'more')
    return Trajectory(np.stack(poses), np.array(stamps_ns, np.int64)), frame


def _registration() -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that takes one scan (N, 3) after the other and returns its pose."""
    try:
        from kiss_icp.config import KISSConfig
        from kiss_icp.kiss_icp import KissICP
    except ImportError as error:
        raise ConfigError(f'--truth kiss-icp needs the package kiss-icp: pip install kiss-icp '
                          f'({error})') from error
    config: Any = KISSConfig()
    config.data.deskew, config.data.max_range = False, MAX_RANGE_M
    config.mapping.voxel_size = VOXEL_SHARE * MAX_RANGE_M
    config.registration.max_num_threads = 1   # the same answer on every machine
    odometry = KissICP(config=config)

    def register(points: np.ndarray) -> np.ndarray:
        odometry.register_frame(points, np.zeros(len(points)))
        return np.array(odometry.last_pose, np.float64)
    return register
