# SPDX-License-Identifier: Apache-2.0
"""What the node says about itself: findings once a second, and the warning of the watchdog."""
from typing import Any

from crossview_ros.ros import health
from crossview_ros.ros.health import Health, OK
from crossview_ros.ros.odometry_outputs import OdometryOutputs
from crossview_ros.ros.pipeline import LIDAR, Pipeline
from crossview_ros.ros.task_health import (
    depth_needs_cloud, lidar_health, missing_task_health, tracking_health)
from crossview_ros.ros.watchdog import likely_cause, report, SyncFacts, TopicFacts
from rclpy.node import Node


class NodeReports:
    """
    Judges a pipeline; called from the executor's thread.

    Keeps when the watchdog last spoke.
    """

    def __init__(self, node: Node, pipeline: Pipeline) -> None:
        """Remember whom to judge."""
        self._node, self._pipeline = node, pipeline
        self._warned_s = 0.0
        self._warned_of: tuple[str, str] | None = None

    def findings(self, now_s: float) -> list[Health]:
        """Return one finding per task."""
        pipeline, settings = self._pipeline, self._pipeline.settings
        facts = pipeline.worker.facts()
        silent_s, timeout_s = pipeline.silent_s(now_s), settings.input_timeout
        cause = likely_cause(self._topic_facts(now_s), self._sync_facts()).text \
            if silent_s >= timeout_s else None
        reader = pipeline.worker.reader
        return [
            *self._inputs(now_s),
            *self._tasks(now_s),
            health.age_health(pipeline.age_s, pipeline.clock_is_zero()),
            health.sync_health(pipeline.sync, facts, silent_s, timeout_s, cause,
                               pipeline.limiter.num_dropped),
            health.inference_health(facts, about(pipeline.engine)),
            health.calibration_health(reader.rig, reader.notes, facts),
        ]

    def watchdog_text(self, now_s: float, repeat_s: float) -> str | None:
        """
        Return the warning that nothing matches, when it is due.

        :param repeat_s: The same cause is told again after so long; inputs that ended, never.
        """
        if self._pipeline.silent_s(now_s) < self._pipeline.settings.input_timeout:
            self._warned_of = None
            return None
        topics, sync = self._topic_facts(now_s), self._sync_facts()
        cause = likely_cause(topics, sync)
        if self._warned_of == cause[:2] and (
                cause.kind == 'stopped' or now_s - self._warned_s < repeat_s):
            return None
        self._warned_s, self._warned_of = now_s, cause[:2]
        return report(cause, topics, sync)

    def hardware_id(self) -> str:
        """Return the frame of the camera, and the device of the network before it is known."""
        return self._pipeline.worker.facts().frame_id or about(self._pipeline.engine)['Device']

    def _inputs(self, now_s: float) -> list[Health]:
        """Judge each input; the LiDAR only where there is one."""
        pipeline, settings = self._pipeline, self._pipeline.settings
        entries = list(pipeline.inputs.by_stream.values())
        lidar = pipeline.lidar_inputs.by_stream[LIDAR]
        if pipeline.lidar.used or self._node.count_publishers(lidar.topic):
            entries.append(lidar)
        return [health.input_health(
            entry.input_facts(self._node, pipeline.is_cached(entry.stream)), now_s,
            settings.min_frequency, settings.input_timeout) for entry in entries]

    def _tasks(self, now_s: float) -> list[Health]:
        """Judge each task that is switched on."""
        pipeline, settings = self._pipeline, self._pipeline.settings
        found = [missing_task_health(task, reason)
                 for task, reason in pipeline.missing_tasks.items()]
        waits = not pipeline.lidar.used and depth_needs_cloud(
            settings, pipeline.engine.tasks, getattr(pipeline.engine, 'depth_is_metric', True))
        for outputs in pipeline.outputs:
            if waits and outputs.task != 'flow':
                found.append(Health(f'{outputs.topic} frequency', OK, (
                    f'waits for a cloud on {LIDAR}, which gives the scale (parameter '
                    'depth.unscaled: publish without)')))
                continue
            found.append(health.frequency_health(
                f'{outputs.topic} frequency', outputs.rate, now_s, settings.min_frequency,
                settings.input_timeout, outputs.facts()))
            if isinstance(outputs, OdometryOutputs):
                found.append(tracking_health(outputs.tracking()))
        if pipeline.lidar.used:
            found.append(lidar_health(pipeline.lidar.facts()))
        return found

    def _topic_facts(self, now_s: float) -> list[TopicFacts]:
        nearest_ns = self._pipeline.sync.nearest_ns
        return [entry.facts(self._node, now_s, nearest_ns.get(entry.stream))
                for entry in self._pipeline.inputs.by_stream.values()]

    def _sync_facts(self) -> SyncFacts:
        settings = self._pipeline.settings
        return SyncFacts(settings.approx_sync, settings.approx_sync_max_interval,
                         settings.input_timeout, settings.cache_camera_info,
                         self._pipeline.sync.num_matched)


def about(engine: Any) -> dict[str, str]:
    """Return what is known of the model and of what runs it."""
    manifest = getattr(engine, 'manifest', None)
    values = {'Model': getattr(manifest, 'name', 'unknown'),
              'Backend': getattr(engine, 'backend_name', 'unknown'),
              'Backend chosen': getattr(engine, 'backend_reason', 'unknown'),
              'Device': getattr(engine, 'device', 'unknown'),
              'Precision': getattr(engine, 'precision', 'unknown'),
              'Tasks': ', '.join(getattr(engine, 'tasks', ()))}
    return values
