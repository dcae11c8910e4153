# SPDX-License-Identifier: Apache-2.0
"""Load the model in a thread, so that the node answers meanwhile."""
from collections.abc import Callable, Iterable
import threading
from typing import Any

from crossview_ros.errors import BackendError, CrossviewError
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.task_health import ENGINE_TASKS

Progress = Callable[[str], None]   # is told in a few words what takes long
# Settings -> Perception, or something with its methods.
EngineFactory = Callable[[PerceptionNodeParameters, Progress], Any]


def open_perception(settings: PerceptionNodeParameters, progress: Progress) -> Any:
    """
    Open Perception as the settings say.

    :param progress: Told what takes long, such as the build of an engine; may raise to end it.
    :raises CrossviewError: If the model cannot be run so.
    """
    from crossview_ros.runtime.manifest import find_model, load_manifest
    from crossview_ros.runtime.perception import Perception
    possible = engine_tasks_of(load_manifest(find_model(settings.model)).tasks, settings.mode,
                               settings.lidar_guidance)
    perception = Perception.open(
        settings.model, backend=settings.backend, device=settings.device,
        tasks=[task for task in wanted_tasks(settings) if task in possible] or None,
        inference_mode=settings.inference_mode, inference_size=settings.inference_size_hw,
        tile_overlap=settings.tile_overlap or None, tile_batch=settings.tile_batch,
        sharpen=settings.sharpen,
        num_threads=settings.num_threads or None, precision=settings.engine_precision,
        engine_cache_dir=settings.engine_cache_dir or None,
        refine_flow=settings.flow_refine, lidar_guidance=settings.lidar_guidance,
        unscaled_depth=settings.unscaled_depth, progress=progress,
        calibration_error=settings.calibration_error,
        **dynamic_options(settings))
    perception.warm_up()
    return perception


def wanted_tasks(settings: PerceptionNodeParameters) -> list[str]:
    """Return what the engine is asked for: odometry needs depth and flow."""
    names = ENGINE_TASKS[settings.mode]
    tasks = ('depth', 'flow', 'odometry') if 'odometry' in settings.tasks else settings.tasks
    wanted = [names[task][0] for task in tasks]
    return ['stereo', *wanted] if 'depth' in wanted else wanted   # it stands for depth of a LiDAR


def engine_tasks_of(heads: Iterable[str], mode: str, lidar_guidance: bool = False) -> set[str]:
    """
    Return what a model with these heads can do in a mode.

    :param lidar_guidance: With one camera, 'stereo' stands for depth of the LiDAR alone, where
        the model has no head for it.
    """
    from crossview_ros.runtime.task_choice import can_track, heads_of_frame
    usable = set(heads_of_frame(heads, pair=mode == 'stereo'))
    if mode == 'sequential' and lidar_guidance and 'depth' not in usable:
        usable |= {'stereo'} & set(heads)
    return usable | ({'odometry'} if can_track(usable) else set())


def dynamic_options(settings: PerceptionNodeParameters) -> dict[str, float]:
    """Return the options of Perception that may change while it runs."""
    return {'min_depth': settings.min_depth, 'max_depth': settings.max_depth,
            'min_confidence': settings.min_confidence}


class ModelLoader:
    """One attempt to load; every method may be called from any thread."""

    def __init__(self, factory: EngineFactory, settings: PerceptionNodeParameters) -> None:
        """Start loading."""
        self.progress = ''   # what it is at, where that takes long
        self._factory, self._settings = factory, settings
        self._given_up = threading.Event()
        self._engine: Any = None
        self._error: CrossviewError | None = None
        self._thread = threading.Thread(target=self._load, name='model_loader', daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has loaded or failed; False if it still loads."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def take(self) -> Any:
        """
        Return the engine; it belongs to the caller from then on.

        :raises CrossviewError: If it could not be loaded.
        """
        if self._error is not None:
            raise self._error
        engine, self._engine = self._engine, None
        return engine

    def discard(self, timeout_s: float) -> None:
        """End the loading as soon as that can be done, and free what nobody has taken."""
        self._given_up.set()
        if self.wait(timeout_s) and self._engine is not None:
            self.take().close()

    def _load(self) -> None:
        try:
            self._engine = self._factory(self._settings, self._tell)
        except CrossviewError as error:
            self._error = error
        except Exception as error:   # third-party code that promises no type of error
            self._error = BackendError(f'the model {self._settings.model} cannot be loaded: '
                                       f'{type(error).__name__}: {error}')

    def _tell(self, text: str) -> None:
        if self._given_up.is_set():
            raise BackendError('loading was given up')
        self.progress = text
