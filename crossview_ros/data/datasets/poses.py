# SPDX-License-Identifier: Apache-2.0
"""The pose of a body at a moment between the poses of its ground truth."""
from crossview_ros.geometry.se3 import exp_se3, invert, log_se3
from crossview_ros.geometry.trajectory import Trajectory
import numpy as np

MAX_GAP_NS = 100_000_000   # longer gaps of the ground truth are not bridged


def pose_at(trajectory: Trajectory, stamp_ns: int) -> np.ndarray | None:
    """
    Interpolate between the poses before and after a moment, on the geodesic.

    :param trajectory: With stamps.
    :return: (4, 4) float64; None outside of the trajectory and in gaps of over 0.1 s.
    """
    stamps_ns = trajectory.stamps_ns
    after = int(np.searchsorted(stamps_ns, stamp_ns))
    if after < len(stamps_ns) and stamps_ns[after] == stamp_ns:
        return trajectory.poses[after]
    if after in (0, len(stamps_ns)) or stamps_ns[after] - stamps_ns[after - 1] > MAX_GAP_NS:
        return None
    before_ns, after_ns = (int(stamps_ns[i]) for i in (after - 1, after))
    first, second = trajectory.poses[after - 1:after + 1]
    share = (stamp_ns - before_ns) / (after_ns - before_ns)
    return first @ exp_se3(share * log_se3(invert(first) @ second))
