# SPDX-License-Identifier: Apache-2.0
"""Find the cloud that was taken nearest to an image, to guide its depth or to judge it."""
from dataclasses import replace
import threading
from typing import Any

from crossview_ros.errors import CrossviewError
from crossview_ros.metrics.lidar import depth_vs_lidar
from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.frame_input import FrameInput
from crossview_ros.ros.lidar_input import cloud_in_camera, CloudBuffer
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.task_health import LidarFacts
from crossview_ros.ros.throttled_log import ThrottledLog
import numpy as np

MAX_AGE_S = 2.0   # answers come that late at worst
WAIT_S = 0.1      # a cloud is larger than its image, and comes later
CAMERA_LIDAR = 'extrinsics.camera_lidar'


class LidarMonitor:
    """
    Keeps the newest clouds as they came and converts only one that belongs to an image.

    `add` is called from the executor's thread, `points_for` and `compare` from the worker's,
    `facts` from any.
    """

    def __init__(self, transforms: CameraTransforms, settings: PerceptionNodeParameters,
                 topic: str, log: ThrottledLog) -> None:
        """
        Keep nothing yet.

        :param transforms: Knows where the LiDAR sits.
        :param topic: Where clouds come from, for messages.
        """
        self.used = False   # a cloud has come
        self._transforms, self._topic, self._log = transforms, topic, log
        self._clouds = CloudBuffer(MAX_AGE_S, settings.lidar_stamp_reference)
        self._arrived = threading.Condition()   # holds the lock of the clouds
        self._num_clouds = 0
        self._silent_since: int | None = None   # number of clouds when none came in time
        self._facts = LidarFacts()      # replaced as a whole

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a cloud."""
        with self._arrived:
            self._clouds.add(stamp_ns, message)
            self._num_clouds += 1
            self._arrived.notify_all()
        self.used = True

    def points_for(self, data: FrameInput,
                   settings: PerceptionNodeParameters) -> np.ndarray | None:
        """
        Return the points of the cloud that belongs to an image, in its optical frame [m].

        Waits shortly for one that may still be on its way; None where there is none near enough.
        """
        if not data.stamp_ns:
            return None
        with self._arrived:
            self._wait_for_cloud(data.stamp_ns)
            nearest = self._clouds.nearest(data.stamp_ns)
        if not self.used:
            return None
        message = self._near_enough(nearest, settings)
        points = None if message is None else self._points(data, message, settings)
        if points is not None:
            facts = self._facts
            self._facts = replace(facts, num_guided=facts.num_guided + 1, problem='',
                                  delta_s=nearest[1] * 1e-9)
        return points

    def compare(self, depth: np.ndarray | None, data: FrameInput,
                settings: PerceptionNodeParameters) -> None:
        """Compare a depth image with its cloud, if clouds come at all."""
        if depth is None or not self.used or not data.stamp_ns:
            return
        with self._arrived:
            nearest = self._clouds.nearest(data.stamp_ns)
        message = self._near_enough(nearest, settings)
        points = None if message is None else self._points(data, message, settings)
        if points is None:
            return
        agreement = depth_vs_lidar(depth, points, data.camera, settings.min_depth,
                                   settings.max_depth)
        facts = self._facts
        if not agreement.num_points:
            self._facts = replace(facts, problem=f'{self._topic}: no point of the cloud lies in '
                                                 'the image')
            return
        self._facts = replace(facts, agreement=agreement, delta_s=nearest[1] * 1e-9, problem='',
                              num_compared=facts.num_compared + 1)

    def facts(self) -> LidarFacts:
        """Return what is known."""
        return self._facts

    def _wait_for_cloud(self, stamp_ns: int) -> None:
        """Wait for a cloud that is not older than an image; not again before another has come."""
        def has_come() -> bool:
            nearest = self._clouds.nearest(stamp_ns)
            return nearest is not None and (nearest[1] >= 0 or self._clouds.newest_ns > stamp_ns)

        if self._silent_since == self._num_clouds:
            return
        in_time = self._arrived.wait_for(has_come, WAIT_S)
        self._silent_since = None if in_time else self._num_clouds

    def _near_enough(self, nearest: tuple[Any, int] | None,
                     settings: PerceptionNodeParameters) -> Any:
        """Return the cloud; None, and noted, if it is too far in time."""
        if nearest is not None and abs(nearest[1]) <= settings.lidar_max_delay * 1e9:
            return nearest[0]
        facts = self._facts
        self._facts = replace(facts, num_unmatched=facts.num_unmatched + 1,
                              problem=self._no_cloud(nearest, settings.lidar_max_delay))
        return None

    def _points(self, data: FrameInput, message: Any,
                settings: PerceptionNodeParameters) -> np.ndarray | None:
        """Return the points of a cloud in the optical frame; None, and noted, if that fails."""
        frame = message.header.frame_id
        T_camera_lidar = self._transforms.find(data.frame_id, frame, settings.camera_lidar,
                                               CAMERA_LIDAR)
        if T_camera_lidar is None:
            self._facts = replace(self._facts, problem=(
                f"no transform from '{frame}' to '{data.frame_id}': publish it on /tf_static, or "
                f'set {CAMERA_LIDAR}'))
            return None
        try:
            return cloud_in_camera(message, T_camera_lidar, self._topic)
        except CrossviewError as error:
            self._log.error('cloud', f'cloud dropped: {error}')
            facts = self._facts
            self._facts = replace(facts, num_damaged=facts.num_damaged + 1, problem=str(error))
            return None

    def _no_cloud(self, nearest: tuple[Any, int] | None, max_delay_s: float) -> str:
        found = 'none is near' if nearest is None else \
            f'the nearest is {abs(nearest[1]) * 1e-9:.3f} s away'
        return f'{self._topic}: no cloud within {max_delay_s:g} s of the image; {found}'
