# SPDX-License-Identifier: Apache-2.0
"""Compare depth images with the clouds that were taken nearest to them."""
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
CAMERA_LIDAR = 'extrinsics.camera_lidar'


class LidarMonitor:
    """
    Keeps the newest clouds as they came and converts only one that belongs to an image.

    `add` is called from the executor's thread, `compare` from the worker's, `facts` from any.
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
        self._lock = threading.Lock()   # of the clouds
        self._facts = LidarFacts()      # replaced as a whole

    def add(self, stamp_ns: int, message: Any) -> None:
        """Take a cloud."""
        with self._lock:
            self._clouds.add(stamp_ns, message)
        self.used = True

    def compare(self, depth: np.ndarray | None, data: FrameInput,
                settings: PerceptionNodeParameters) -> None:
        """Compare a depth image with its cloud, if clouds come at all."""
        if depth is None or not self.used or not data.stamp_ns:
            return
        with self._lock:
            nearest = self._clouds.nearest(data.stamp_ns)
        facts = self._facts
        if nearest is None or abs(nearest[1]) > settings.lidar_max_delay * 1e9:
            self._facts = replace(facts, num_unmatched=facts.num_unmatched + 1,
                                  problem=self._no_cloud(nearest, settings.lidar_max_delay))
            return
        try:
            self._facts = self._compared(depth, data, *nearest, settings)
        except CrossviewError as error:
            self._log.error('cloud', f'cloud dropped: {error}')
            self._facts = replace(facts, num_damaged=facts.num_damaged + 1, problem=str(error))

    def facts(self) -> LidarFacts:
        """Return what is known."""
        return self._facts

    def _compared(self, depth: np.ndarray, data: FrameInput, message: Any, delta_ns: int,
                  settings: PerceptionNodeParameters) -> LidarFacts:
        """Return the facts with one more comparison, or with the reason against it."""
        frame = message.header.frame_id
        T_camera_lidar = self._transforms.find(data.frame_id, frame, settings.camera_lidar,
                                               CAMERA_LIDAR)
        if T_camera_lidar is None:
            return replace(self._facts, problem=(
                f"no transform from '{frame}' to '{data.frame_id}': publish it on /tf_static, or "
                f'set {CAMERA_LIDAR}'))
        points = cloud_in_camera(message, T_camera_lidar, self._topic)
        agreement = depth_vs_lidar(depth, points, data.rig.left, settings.min_depth,
                                   settings.max_depth)
        if not agreement.num_points:
            return replace(self._facts, problem=f'{self._topic}: no point of the cloud lies in '
                                                'the image')
        return replace(self._facts, agreement=agreement, delta_s=delta_ns * 1e-9, problem='',
                       num_compared=self._facts.num_compared + 1)

    def _no_cloud(self, nearest: tuple[Any, int] | None, max_delay_s: float) -> str:
        found = 'none is near' if nearest is None else \
            f'the nearest is {abs(nearest[1]) * 1e-9:.3f} s away'
        return f'{self._topic}: no cloud within {max_delay_s:g} s of the image; {found}'
