# SPDX-License-Identifier: Apache-2.0
"""
Clouds beside images: which belongs to an image, and where its points lie in the camera.

Knows nothing of ROS: messages are read by attribute.
"""
from collections import deque
from typing import Any

from crossview_ros.geometry.se3 import transform_points
from crossview_ros.messages.point_cloud2 import read_points
import numpy as np

# shift of the middle of a scan from its stamp, in periods
MIDDLE_OF_SCAN = {'start': 0.5, 'middle': 0.0, 'end': -0.5}
RESTART_NS = 1_000_000_000   # a stamp so much earlier means that time began anew


class CloudBuffer:
    """
    The clouds of the last seconds, unread; not for use from two threads.

    A spinning LiDAR measures for a whole period. What counts as the moment of a cloud is the
    middle of its scan, found from the stamp and the time between the stamps.
    """

    def __init__(self, max_age_s: float, stamp_reference: str = 'middle') -> None:
        """
        Keep nothing yet.

        :param max_age_s: Clouds so much older than the newest are forgotten [s].
        :param stamp_reference: Moment of the scan that a stamp tells; a key of MIDDLE_OF_SCAN.
        """
        self._max_age_ns = round(max_age_s * 1e9)
        self._shift = MIDDLE_OF_SCAN[stamp_reference]
        self._clouds: deque[tuple[int, Any]] = deque()

    def __len__(self) -> int:
        """Return how many clouds are kept."""
        return len(self._clouds)

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a cloud; one that is out of order is dropped, a jump back in time starts anew."""
        if self._clouds and stamp_ns <= self._clouds[-1][0]:
            if self._clouds[-1][0] - stamp_ns < RESTART_NS:
                return
            self._clouds.clear()
        self._clouds.append((stamp_ns, message))
        while stamp_ns - self._clouds[0][0] > self._max_age_ns:
            self._clouds.popleft()

    def nearest(self, stamp_ns: int) -> tuple[Any, int] | None:
        """
        Return the cloud measured nearest to a moment.

        :return: The message, and the middle of its scan minus the moment [ns]; None if empty.
        """
        if not self._clouds:
            return None
        shift_ns = round(self._shift * self._period_ns())
        delta_ns, message = min(((stamp + shift_ns - stamp_ns, message)
                                 for stamp, message in self._clouds), key=lambda c: abs(c[0]))
        return message, delta_ns

    @property
    def newest_ns(self) -> int:
        """Return the stamp of the newest cloud; 0 if empty."""
        return self._clouds[-1][0] if self._clouds else 0

    def _period_ns(self) -> float:
        """Return the usual time between two clouds; 0 while there is only one."""
        stamps = [stamp for stamp, _ in self._clouds]
        return float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0


def cloud_in_camera(message: Any, T_camera_lidar: np.ndarray,
                    topic: str = 'cloud') -> np.ndarray:
    """
    Read a cloud and move it into the camera's optical frame.

    :param message: sensor_msgs/PointCloud2.
    :param T_camera_lidar: (4, 4) pose of the cloud's frame in the optical frame.
    :return: (N, 3) float32 [m]; points that are not finite are left out.
    :raises MessageError: If the cloud is damaged or has no x, y, z.
    """
    points = read_points(message, topic)
    return transform_points(T_camera_lidar, points).astype(np.float32)
