# SPDX-License-Identifier: Apache-2.0
"""From the input topics to the outputs: subscriptions, matching, worker, publishers."""
from contextlib import ExitStack
import time
from typing import Any

from crossview_ros.ros.camera_transforms import CameraTransforms
from crossview_ros.ros.depth_outputs import DepthOutputs
from crossview_ros.ros.flow_outputs import FlowOutputs
from crossview_ros.ros.frame_input import FrameInput, InputReader, SequentialReader, StereoReader
from crossview_ros.ros.inference_worker import (
    BAD_CALIBRATION, BAD_MESSAGE, INFERENCE_FAILED, InferenceWorker)
from crossview_ros.ros.input_topics import InputTopics
from crossview_ros.ros.lidar_monitor import LidarMonitor
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.odometry_outputs import OdometryOutputs
from crossview_ros.ros.output_group import OutputGroup
from crossview_ros.ros.rate_limiter import RateLimiter
from crossview_ros.ros.streams import streams
from crossview_ros.ros.synchronizer import MatchedSet, Synchronizer
from crossview_ros.ros.task_health import missing_tasks
from crossview_ros.ros.throttled_log import ThrottledLog
from rclpy.lifecycle import LifecycleNode
import sensor_msgs.msg

LIDAR = 'points_in'
COMPRESSED = '/compressed'
ERROR_TITLES = {BAD_MESSAGE: 'set dropped', BAD_CALIBRATION: 'calibration refused',
                INFERENCE_FAILED: 'inference failed'}
WORKER_LIMIT_S = 30.0


class Pipeline:
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
        self.missing_tasks = missing_tasks(settings, engine.tasks)
        self.limiter = RateLimiter()
        self.active = False
        self._node, self._log = node, log
        self._start_s = time.monotonic()
        self._last_info: dict[str, Any] = {}
        self._matched_s: float | None = None
        self._streams = streams(settings.mode, settings.image_transport)
        self.sync = self._new_synchronizer()
        self.transforms = CameraTransforms(node, settings.stereo_baseline, log)
        with ExitStack() as made:   # nothing stays behind where a later part fails
            made.callback(engine.close)
            made.callback(self.transforms.close)
            self.outputs = self._advertise(made)
            self.inputs = self._subscribe(self._streams, self._on_message)
            made.callback(self.inputs.destroy)
            self.lidar_inputs = self._subscribe({LIDAR: (LIDAR, 'PointCloud2')}, self._on_cloud)
            made.pop_all()
        self.lidar = LidarMonitor(self.transforms, settings, self.lidar_inputs.names[LIDAR], log)
        self.worker = InferenceWorker(engine, self._new_reader(), self._publish, self._on_error,
                                      self._on_reset, self._points_for)

    def activate(self) -> None:
        """Begin to answer."""
        self._start_s = time.monotonic()
        self._matched_s = None
        for counting in (self.inputs, self.lidar_inputs, *self.outputs):
            counting.start_counting()
        self.sync = self._new_synchronizer()
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
        self.lidar_inputs.destroy()
        ended = self.worker.close(WORKER_LIMIT_S)
        self.transforms.close()
        for outputs in self.outputs:
            outputs.destroy()
        if ended:
            self.engine.close()
        return ended

    def change(self, settings: PerceptionNodeParameters, options: dict[str, float]) -> None:
        """Use other settings for the frames to come."""
        self.engine.set_options(**options)
        self.settings = settings

    def restart(self) -> None:
        """Forget what waits: the clock has jumped back, and with it the messages to come."""
        restarts = self.sync.num_restarts
        self.sync.restart(self._node.get_clock().now().nanoseconds)
        if self.sync.num_restarts > restarts:
            self._last_info.clear()
            self.worker.clear()

    def silent_s(self, now_s: float) -> float:
        """Return the time without a matched set [s]."""
        return now_s - (self._start_s if self._matched_s is None else self._matched_s)

    def is_cached(self, stream: str) -> bool:
        """Tell whether the last message of a stream serves until the next."""
        return self.settings.cache_camera_info and stream in self._info_streams

    def clock_is_zero(self) -> bool:
        """Tell whether the node waits for a simulated clock."""
        return self._node.get_clock().now().nanoseconds == 0

    @property
    def _info_streams(self) -> list[str]:
        return [stream for stream, (_, kind) in self._streams.items() if kind == 'CameraInfo']

    def _advertise(self, made: ExitStack) -> list[OutputGroup]:
        """Make the outputs of the tasks that run; ``made`` undoes it."""
        settings = self.settings
        makers = {
            'depth': lambda: DepthOutputs(self._node, settings.depth_encoding,
                                          settings.mode),
            'flow': lambda: FlowOutputs(self._node),
            'odometry': lambda: OdometryOutputs(self._node, settings, self.transforms,
                                                self._log)}
        outputs = []
        for task in settings.tasks:
            if task not in self.missing_tasks:
                outputs.append(makers[task]())
                made.callback(outputs[-1].destroy)
        return outputs

    def _subscribe(self, inputs: dict[str, tuple[str, str]], on_message: Any) -> InputTopics:
        types = {stream: (self._resolved(topic), getattr(sensor_msgs.msg, kind))
                 for stream, (topic, kind) in inputs.items()}
        return InputTopics(self._node, types, self.settings.sync_queue_size, on_message,
                           self._log)

    def _resolved(self, topic: str) -> str:
        """Return the name to subscribe to: a compressed image lies below the remapped topic."""
        base = topic.removesuffix(COMPRESSED)
        return topic if base == topic else self._node.resolve_topic_name(base) + COMPRESSED

    def _new_reader(self) -> InputReader:
        settings, topics = self.settings, self.inputs.names
        compressed = settings.image_transport == 'compressed'
        if settings.mode == 'sequential':
            return SequentialReader(topics, settings.rectify, compressed)
        return StereoReader(topics, self.transforms.baseline, settings.rectify, compressed)

    def _new_synchronizer(self) -> Synchronizer:
        settings = self.settings
        max_interval_s = settings.approx_sync_max_interval if settings.approx_sync else 0.0
        return Synchronizer([stream for stream in self._streams if not self.is_cached(stream)],
                            round(max_interval_s * 1e9), settings.sync_queue_size)

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
                if self.limiter.admits(self._matched_s, self.settings.max_rate):
                    self.worker.put(matched)

    def _on_cloud(self, stream: str, stamp_ns: int, message: Any) -> None:
        if self.active:
            self.lidar.add(stamp_ns, message)

    def _with_cached_info(self, matched: MatchedSet) -> MatchedSet | None:
        if len(self._last_info) < len(self._info_streams):
            return None
        return MatchedSet(matched.stamp_ns, {**matched.messages, **self._last_info},
                          matched.epoch)

    def _publish(self, result: Any, data: FrameInput) -> None:
        if not data.frame_id:
            self._log.warning_once('frame_id', 'the image has an empty frame_id; outputs have it '
                                               'too, so nobody can place them')
        if not data.stamp_ns:
            self._log.warning_once('stamp', 'the image has a zero stamp; depth is published with '
                                            'it, odometry is not possible')
        for note in self.worker.reader.notes:
            self._log.warning_once(note, note)
        for outputs in self.outputs:
            outputs.publish(result, data, self.settings)
        self.age_s = (self._node.get_clock().now().nanoseconds - data.stamp_ns) * 1e-9
        if not self._is_guided:   # else it would be judged by what it is made from
            self.lidar.compare(result.depth, data, self.settings)

    @property
    def _is_guided(self) -> bool:
        """Tell whether depth is made from clouds."""
        return self.settings.mode == 'sequential' and self.settings.lidar_guidance \
            and any(outputs.task != 'flow' for outputs in self.outputs)

    def _points_for(self, data: FrameInput) -> Any:
        """Return the points that belong to an image, where depth is made from clouds."""
        topic = self.lidar_inputs.by_stream[LIDAR].topic
        if not self._is_guided or not (self.lidar.used or self._node.count_publishers(topic)):
            return None
        return self.lidar.points_for(data, self.settings)

    def _on_error(self, kind: str, text: str) -> None:
        self._log.error(kind, f'{ERROR_TITLES[kind]}: {text}')

    def _on_reset(self) -> None:
        for outputs in self.outputs:
            outputs.reset()
