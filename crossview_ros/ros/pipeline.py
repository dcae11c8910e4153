# SPDX-License-Identifier: Apache-2.0
"""From the input topics to the outputs: subscriptions, matching, worker, publishers."""
from contextlib import ExitStack
import time
from typing import Any

from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.event_rate import EventRate
from crossview_ros.ros.inference_worker import (
    BAD_CALIBRATION, BAD_MESSAGE, INFERENCE_FAILED, InferenceWorker)
from crossview_ros.ros.input_topics import InputTopics
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.publishers import Outputs
from crossview_ros.ros.stereo_input import (
    LEFT_IMAGE, LEFT_INFO, RIGHT_IMAGE, RIGHT_INFO, StereoInput, StereoReader)
from crossview_ros.ros.synchronizer import MatchedSet, Synchronizer
from crossview_ros.ros.throttled_log import ThrottledLog
from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, Image

STREAMS = {
    LEFT_IMAGE: ('left/image_rect', Image),
    LEFT_INFO: ('left/camera_info', CameraInfo),
    RIGHT_IMAGE: ('right/image_rect', Image),
    RIGHT_INFO: ('right/camera_info', CameraInfo),
}
INFO_STREAMS = (LEFT_INFO, RIGHT_INFO)
ERROR_TITLES = {BAD_MESSAGE: 'pair dropped', BAD_CALIBRATION: 'calibration refused',
                INFERENCE_FAILED: 'inference failed'}
WORKER_LIMIT_S = 30.0


class StereoPipeline:
    """
    Everything between configure and cleanup.

    Made, switched and closed in the executor's thread, where messages come in too; results go
    out in the worker's thread. The engine is its own: closed with it, and where it cannot start.
    """

    def __init__(self, node: LifecycleNode, engine: Any, settings: PerceptionNodeParameters,
                 log: ThrottledLog) -> None:
        """
        Subscribe, advertise and start the worker; nothing is answered before `activate`.

        :param engine: Perception, or something with its methods.
        """
        self.engine = engine
        self.settings = settings
        self.age_s: float | None = None   # of the newest answered input, when it went out
        self._node, self._log = node, log
        self.active = False
        self._start_s = time.monotonic()
        self._last_info: dict[str, Any] = {}
        self._matched_s: float | None = None
        self.output_rate = EventRate(self._start_s)
        self.sync = new_synchronizer(settings)
        self._transforms = CameraTransforms(node, settings.stereo_baseline)
        with ExitStack() as made:   # nothing stays behind where a later part fails
            made.callback(engine.close)
            self.outputs = Outputs(node, settings.depth_encoding)
            made.callback(self.outputs.destroy)
            self.inputs = InputTopics(node, STREAMS, settings.sync_queue_size, self._on_message,
                                      log)
            made.pop_all()
        self.worker = InferenceWorker(
            engine, StereoReader(self.inputs.names, self._transforms.baseline), self._publish,
            self._on_error)

    def activate(self) -> None:
        """Begin to answer."""
        self._start_s = time.monotonic()
        self._matched_s = None
        self.output_rate = EventRate(self._start_s)
        self.inputs.start_counting()
        self.sync = new_synchronizer(self.settings)
        self.worker.resume()
        self.active = True

    def deactivate(self) -> None:
        """Drop all input; returns once nothing is being answered."""
        self.active = False
        self.worker.pause()

    def close(self) -> bool:
        """Leave the topics and free the engine; False if an answer does not end."""
        self.active = False
        self.inputs.destroy()
        ended = self.worker.close(WORKER_LIMIT_S)
        self._transforms.close()
        self.outputs.destroy()
        if ended:
            self.engine.close()
        return ended

    def change(self, settings: PerceptionNodeParameters, options: dict[str, float]) -> None:
        """Use other settings for the frames to come."""
        self.engine.set_options(**options)
        self.settings = settings

    def restart(self) -> None:
        """Forget what waits: the clock has jumped back."""
        self.sync.restart()
        self._last_info.clear()
        self.worker.clear()

    def silent_s(self, now_s: float) -> float:
        """Return the time without a matched set [s]."""
        return now_s - (self._start_s if self._matched_s is None else self._matched_s)

    def is_cached(self, stream: str) -> bool:
        """Tell whether the last message of a stream serves until the next."""
        return self.settings.cache_camera_info and stream in INFO_STREAMS

    def clock_is_zero(self) -> bool:
        """Tell whether the node waits for a simulated clock."""
        return self._node.get_clock().now().nanoseconds == 0

    def _on_message(self, stream: str, stamp_ns: int, message: Any) -> None:
        if not self.active:
            return
        if self.is_cached(stream):
            self._last_info[stream] = message
            return
        for matched in self.sync.add(stream, stamp_ns, message):
            if self.settings.cache_camera_info:
                matched = self._with_cached_info(matched)
            if matched is not None:
                self._matched_s = time.monotonic()
                self.worker.put(matched)

    def _with_cached_info(self, matched: MatchedSet) -> MatchedSet | None:
        if len(self._last_info) < len(INFO_STREAMS):
            return None
        return MatchedSet(matched.stamp_ns, {**matched.messages, **self._last_info},
                          matched.epoch)

    def _publish(self, result: Any, data: StereoInput) -> None:
        if not data.frame_id:
            self._log.warning_once('frame_id', 'the left image has an empty frame_id; outputs '
                                               'have it too, so nobody can place them')
        if not data.stamp_ns:
            self._log.warning_once('stamp', 'the left image has a zero stamp; depth is published '
                                            'with it, odometry is not possible')
        self.outputs.publish(result, data, self.settings)
        self.age_s = (self._node.get_clock().now().nanoseconds - data.stamp_ns) * 1e-9
        self.output_rate.add(time.monotonic())

    def _on_error(self, kind: str, text: str) -> None:
        self._log.error(kind, f'{ERROR_TITLES[kind]}: {text}')


def new_synchronizer(settings: PerceptionNodeParameters) -> Synchronizer:
    """Return a synchroniser of what has to match by stamp."""
    cached = INFO_STREAMS if settings.cache_camera_info else ()
    max_interval_s = settings.approx_sync_max_interval if settings.approx_sync else 0.0
    return Synchronizer([stream for stream in STREAMS if stream not in cached],
                        round(max_interval_s * 1e9), settings.sync_queue_size)
