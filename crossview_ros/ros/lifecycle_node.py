# SPDX-License-Identifier: Apache-2.0
"""The lifecycle node: loads the model, runs the pipeline, reports about both."""
from collections.abc import Callable
from functools import wraps
import threading
import time
from typing import Any

from crossview_ros.errors import ConfigError, CrossviewError
from crossview_ros.ros.diagnostics import DiagnosticsPublisher
from crossview_ros.ros.health import ERROR, Health, OK
from crossview_ros.ros.model_loader import (
    dynamic_options, EngineFactory, ModelLoader, open_perception)
from crossview_ros.ros.node_parameters import defaults_of, PerceptionNodeParameters
from crossview_ros.ros.node_reports import about, NodeReports
from crossview_ros.ros.parameter_server import ParameterServer
from crossview_ros.ros.pipeline import Pipeline
from crossview_ros.ros.task_health import missing_tasks
from crossview_ros.ros.throttled_log import ThrottledLog
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleNodeMixin, LifecycleState
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.node import Node
from std_srvs.srv import Trigger

JUMP_BACK_S = 1.0
WATCHDOG_REPEAT_S = 30.0
LOAD_POLL_S = 0.1
LOAD_END_LIMIT_S = 30.0

Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Turn an exception of a transition into a log line and FAILURE: rclpy swallows it."""
    @wraps(transition)
    def guarded(self: 'PerceptionNode', state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(self, state)
        except CrossviewError as error:
            self.get_logger().error(f'{transition.__name__}: {error}')
        except Exception as error:   # anything that ROS or a driver throws
            self.get_logger().error(
                f'{transition.__name__}: {type(error).__name__}: {error}')
        return TransitionCallbackReturn.FAILURE
    return guarded


class PerceptionNode(LifecycleNode):
    """
    Images in; metric depth, optical flow and odometry out.

    Callbacks run in one executor thread, inference in the pipeline's worker. `failed` and
    `request_stop` may be used from any thread.
    """

    def __init__(self, engine_factory: EngineFactory = open_perception,
                 task: str | None = None) -> None:
        """
        Declare parameters and begin to report; the model is loaded by configure.

        :param task: The only one that is on by default, which the model must have; it names the
            node. None: all that the model has.
        :raises ConfigError: If a parameter cannot be used.
        """
        # LifecycleNode.__init__ has no way to pass a group; services must be answered while a
        # transition waits for the model
        Node.__init__(self, f"{task or 'perception'}_node")
        self._transitions = ReentrantCallbackGroup()
        LifecycleNodeMixin.__init__(self, callback_group=self._transitions)
        self.failed = threading.Event()     # autostart has not worked: nothing more will happen
        self._stopping = threading.Event()
        self._engine_factory = engine_factory
        self._log = ThrottledLog(self.get_logger())
        self._task = task
        self._server = ParameterServer(self, defaults_of(task), self._on_change)
        self._loader: ModelLoader | None = None
        self._pipeline: Pipeline | None = None
        self._reports: NodeReports | None = None
        self._diagnostics = DiagnosticsPublisher(self)
        self._load_error = ''
        # steady: with sim time and no /clock a timer of the node's clock would never fire
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(self.settings.diagnostic_period, self._report, clock=steady)
        self._autostart = self.create_timer(0.01, self._start, self._transitions, steady)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self._jump = self.get_clock().create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=Duration(seconds=-JUMP_BACK_S)),
            post_callback=self._on_clock_jump)

    @property
    def settings(self) -> PerceptionNodeParameters:
        """Return the settings in force."""
        return self._server.current

    def request_stop(self) -> None:
        """Make a transition that waits for the model give up."""
        self._stopping.set()

    def close(self) -> None:
        """Free everything; to be called once nothing spins the node any more."""
        self.request_stop()
        self._close_pipeline()
        if self._loader is not None:
            self._loader.discard(LOAD_END_LIMIT_S)
        self.destroy_node()

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, then subscribe and advertise."""
        self.get_logger().info('parameters: ' + ', '.join(
            f'{name}={value}' for name, value in self.settings.as_dict().items()))
        for name in self._server.unknown():
            self.get_logger().warning(f'unknown parameter {name}')
        engine = self._load_model()
        if engine is None:
            return TransitionCallbackReturn.FAILURE
        refuse_missing(self._task, self.settings, engine)
        self._pipeline = Pipeline(self, engine, self.settings, self._log)
        for task, reason in self._pipeline.missing_tasks.items():
            self.get_logger().warning(f'{task}: {reason}')
        self._reports = NodeReports(self, self._pipeline)
        self.get_logger().info('model loaded: ' + ', '.join(
            f'{name} {value}' for name, value in about(engine).items()))
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Begin to answer."""
        result = super().on_activate(state)
        self._pipeline.activate()
        self.get_logger().info('active; inputs: ' + ', '.join(
            self._pipeline.inputs.names.values()))
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop all input."""
        self._pipeline.deactivate()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and leave the topics."""
        result = super().on_cleanup(state)
        self._close_pipeline()
        return result

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the model and leave the topics, for good."""
        result = super().on_shutdown(state)
        self._close_pipeline()
        return result

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to unconfigured."""
        self._close_pipeline()
        return TransitionCallbackReturn.SUCCESS

    def _start(self) -> None:
        """Walk to active, where autostart asks for it."""
        self._autostart.cancel()
        if not self.settings.autostart:
            return
        success = TransitionCallbackReturn.SUCCESS
        started = self.trigger_configure() == success and self.trigger_activate() == success
        if not started and not self._stopping.is_set():
            self.failed.set()

    def _load_model(self) -> Any:
        """Return the engine; None if it failed or the node is to stop."""
        self._load_error = ''
        self._loader = loader = ModelLoader(self._engine_factory, self.settings)
        while not loader.wait(0.0):
            if self._stopping.is_set():
                return None   # `close` waits for the loader
            self._spin_meanwhile()
        self._loader = None
        try:
            return loader.take()
        except CrossviewError as error:
            self._load_error = str(error)
            self.get_logger().error(f'the model cannot be used: {error}')
            return None

    def _spin_meanwhile(self) -> None:
        """Answer services and report, from within a transition."""
        if self.executor is None:
            time.sleep(LOAD_POLL_S)
            return
        try:
            self.executor.spin_once(timeout_sec=LOAD_POLL_S)
        except Exception as error:   # another callback's failure must not end the transition
            self.get_logger().error(f'callback failed: {type(error).__name__}: {error}')

    def _close_pipeline(self) -> None:
        pipeline, self._pipeline, self._reports = self._pipeline, None, None
        if pipeline is not None and not pipeline.close():
            self.get_logger().error('inference does not end; its memory is not freed')

    def _on_change(self, settings: PerceptionNodeParameters) -> None:
        if self._pipeline is not None:
            self._pipeline.change(settings, dynamic_options(settings))

    def _on_clock_jump(self, jump: Any) -> None:
        if self._pipeline is not None:
            self._log.warning('clock', 'the clock has jumped back: starting anew')
            self._pipeline.restart()

    def _on_reset(self, request: Any, response: Any) -> Any:
        response.success = self._pipeline is not None and self._pipeline.active
        response.message = 'tracking begins anew' if response.success else 'not active'
        if response.success:
            self._pipeline.worker.reset()
        return response

    def _report(self) -> None:
        now_s = time.monotonic()
        if self._reports is None or not self._pipeline.active:
            self._diagnostics.publish([self._idle_health()], '')
            return
        text = self._reports.watchdog_text(now_s, WATCHDOG_REPEAT_S)
        if text is not None:
            self.get_logger().warning(text)
        self._diagnostics.publish(self._reports.findings(now_s), self._reports.hardware_id())

    def _idle_health(self) -> Health:
        if self._loader is not None:
            return Health('inference', OK, ': '.join(filter(None, (
                f'loading the model {self.settings.model}', self._loader.progress))))
        if self._load_error:
            return Health('inference', ERROR, self._load_error)
        return Health('inference', OK,
                      'not configured' if self._pipeline is None else 'not active')


def refuse_missing(task: str | None, settings: PerceptionNodeParameters, engine: Any) -> None:
    """
    Close a model that cannot do what the node is for.

    :param task: What it is for; None: whatever the model can do.
    :raises ConfigError: With the reason.
    """
    missing = missing_tasks(settings, engine.tasks)
    needed = settings.tasks if task is None else (task,)
    if needed and all(name in missing for name in needed):
        engine.close()
        raise ConfigError('; '.join(f'{name}: {missing[name]}' for name in needed))
