# SPDX-License-Identifier: Apache-2.0
"""The engine: images in, depth and flow out; each image is encoded once for all heads."""
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
import threading
from typing import Any

from crossview_ros.config import from_dict
from crossview_ros.errors import BackendError, CheckpointError, ConfigError
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.backends import Backend, NUM_VIEWS
from crossview_ros.runtime.backends.auto import open_chosen
from crossview_ros.runtime.depth import views_to_match
from crossview_ros.runtime.inference import EncodedImage
from crossview_ros.runtime.inputs import check_inputs
from crossview_ros.runtime.learned_motion import with_motion
from crossview_ros.runtime.manifest import find_model, load_manifest, ModelManifest
from crossview_ros.runtime.odometry import seen_depth
from crossview_ros.runtime.one_camera_depth import OneCamera
from crossview_ros.runtime.options import (
    backend_options, DYNAMIC_OPTIONS, PerceptionOptions)
from crossview_ros.runtime.result_fields import flow_fields, matched_fields, without_hidden
from crossview_ros.runtime.results import PerceptionResult, StageTimer
from crossview_ros.runtime.sharpening import sharpen
from crossview_ros.runtime.static_flow import explain_by_motion
from crossview_ros.runtime.task_choice import (
    choose_tasks, DEPTH_HEADS, heads_of, heads_of_frame)
from crossview_ros.runtime.tiled_inference import check_mode, make_inference, network_size
from crossview_ros.runtime.tracking import DenseFlow, SeenView, Tracking
import numpy as np


class Perception:
    """
    Depth, flow and odometry of a stream of images, by one network with several heads.

    Keeps features and depth of the previous left image between calls, and the camera's pose.

    Any thread may call any method. Frames are answered one at a time, in the order in which the
    calls get in; `reset` and `set_options` never wait for a frame that is being answered.
    """

    def __init__(self, backend: Backend, manifest: ModelManifest, tasks: list[str] | None = None,
                 options: PerceptionOptions = PerceptionOptions(), reason: str = ''):
        """
        Put the parts together; `open` is the usual way.

        :param tasks: Among stereo, depth (of one view), flow and odometry; None: all that the
            model can do.
        :param reason: Why this backend runs.
        :raises ConfigError: If the model cannot do what is asked for.
        """
        self.manifest = manifest
        self.backend_reason = reason
        self.tasks = choose_tasks(manifest, tasks)
        self._heads = heads_of(manifest, self.tasks)
        check_mode(manifest, self._heads, options)
        self._tracking = Tracking(options.calibration_error)
        self._one_camera = OneCamera(manifest, self._heads)
        self._epoch = 0   # number of resets that the two above have seen
        self._backend = backend
        self._options = self._checked(options)
        self._inference = make_inference(backend, manifest, options)
        self._one_frame = threading.Lock()
        self._state = threading.Lock()   # of the three below; never held for long
        self._previous: SeenView | None = None
        self._num_resets = 0
        self._closed = False

    @classmethod
    def open(cls, model: str | Path, backend: str = 'auto',   # noqa: A003 (the contract's name)
             device: str = 'auto', tasks: list[str] | None = None,
             progress: Callable[[str], None] | None = None, **options: Any) -> 'Perception':
        """
        Load a model.

        :param model: Name in models/, or path of a model folder.
        :param backend: 'auto', or one of `BACKENDS`.
        :param device: 'auto', 'cpu' or 'cuda'.
        :param tasks: As the constructor's.
        :param progress: Told in a few words what takes long, such as an export.
        :param options: Fields of `PerceptionOptions`.
        :raises CheckpointError: If there is no such model, or it is damaged.
        :raises BackendError: If the backend or the device is not there.
        :raises ConfigError: If a task or an option cannot be used.
        """
        settings = from_dict(PerceptionOptions, options, 'options of Perception')
        folder = find_model(model)
        if not folder.is_dir():
            raise CheckpointError(f'{folder}: expected a model folder with its manifest, got a '
                                  'file; pass the folder, or make one with `crossview export`')
        manifest = load_manifest(folder)
        heads = heads_of(manifest, choose_tasks(manifest, tasks))
        check_mode(manifest, heads, settings)   # refused before the weights are read
        opened, reason = open_chosen(
            backend, folder, manifest.for_tasks(heads),
            backend_options(settings, device, progress), network_size(manifest, settings), heads)
        return cls(opened, manifest, tasks, settings, reason)

    @property
    def backend_name(self) -> str:
        """Return the name of the backend that runs, never 'auto'."""
        return self._backend.name

    @property
    def device(self) -> str:
        """Return the device that it runs on, 'cpu' or 'cuda'."""
        return self._backend.device

    @property
    def precision(self) -> str:
        """Return the precision of the products: fp32, fp16, bf16 or int8."""
        return self._backend.precision

    @property
    def depth_is_metric(self) -> bool:
        """Return whether depth of one view, without a cloud, can have the right scale."""
        return 'depth' in self._heads and self.manifest.outputs['depth'].metric

    @property
    def options(self) -> PerceptionOptions:
        """Return the settings that the next frame will be answered with."""
        return self._options

    def process(self, left: np.ndarray, right: np.ndarray | None, rig: StereoRig | PinholeCamera,
                stamp_ns: int, cloud: np.ndarray | None = None,
                visible: np.ndarray | None = None) -> PerceptionResult:
        """
        Answer one frame: a rectified pair, or one image of a moving camera.

        :param left: (H, W, 3) uint8 RGB, any size; the size may change between frames, which
            starts the flow anew.
        :param right: As ``left``, or None for one camera: depth is then that of a depth head.
        :param rig: Calibration of images of this size; a PinholeCamera for one camera.
        :param stamp_ns: Time of the images [ns]; the caller drops frames out of order.
        :param cloud: (N, 3) float32 [m] in the left optical frame, taken with the image. With one
            camera, depth comes from both; beside a pair it is checked and not used.
        :param visible: (H, W) bool, false where the left image shows nothing, as in corners of a
            rectified one: nothing is known there. None: it shows something everywhere.
        :raises MessageError: If an image, the stamp, the cloud or the mask is malformed.
        :raises CalibrationError: If the calibration does not fit the images.
        :raises BackendError: If the network fails, or Perception is closed.
        """
        check_inputs(left, right, rig, stamp_ns, cloud, visible)
        with self._one_frame:
            with self._state:
                self._check_open()
                options, previous, epoch = self._options, self._previous, self._num_resets
            self._forget_before(epoch)
            timer = StageTimer(self._backend.wait)
            views, shift_px = views_to_match(
                left, right if 'stereo' in self._heads else None, rig)
            encoded = self._encode(views, timer)
            predictions = self._predict(encoded, previous, timer)
            with timer.stage('post'):
                dense = {task: self._inference.restore(task, prediction)
                         for task, prediction in predictions.items()}
            sharp, grey = sharpen(dense, views, previous, timer) \
                if options.sharpens(self.manifest) else (dense, None)
            with timer.stage('post'):
                fields = without_hidden(matched_fields(sharp, rig, shift_px, options), visible,
                                        'depth', 'disparity', 'confidence')
            seen, camera = None, rig if right is None else rig.left
            if 'stereo' in dense:
                seen = seen_depth(fields['depth'], fields['disparity'], dense['stereo'][1], rig,
                                  stamp_ns)
            else:
                guided = self._one_camera.answer(dense.get('depth'), left, camera, cloud,
                                                 stamp_ns, options, timer)
                if guided is not None:
                    guided = guided.where(visible)
                    fields.update(depth=guided.depth, confidence=guided.confidence)
                    seen = guided.seen(camera, stamp_ns)
            frame = SeenView(encoded[0].only('flow') if 'flow' in self._heads else encoded[0],
                             int(stamp_ns), seen if stamp_ns else None, visible, grey)
            if 'odometry' in self.tasks and stamp_ns and self._tracking.follows(seen):
                with timer.stage('odometry'):
                    frame = frame.with_corners(left, right, rig)
                    flow = with_motion(dense.get('flow'), predictions.get('flow'), self.manifest)
                    fields.update(self._tracking.step(frame, previous, flow,
                                                      lambda view: self._flow(view, frame)))
                    if options.refine_flow and fields['T_prev_cur'] is not None \
                            and previous.seen is not None:
                        fields.update(flow_fields(*explain_by_motion(
                            *sharp['flow'], previous.seen, fields['T_prev_cur'])))
            if 'flow' in predictions:
                fields['previous_stamp_ns'] = previous.stamp_ns
                fields = without_hidden(fields, previous.visible, 'flow', 'flow_confidence')
            self._remember(frame, epoch)
        return PerceptionResult(int(stamp_ns), **fields, timing_ms=timer.timing_ms)

    def warm_up(self) -> None:
        """
        Run every graph on a blank image, of a size that the model likes.

        The first run of a network allocates and tunes; no real frame should wait for it.

        :raises BackendError: If the network fails, or Perception is closed.
        """
        blank = np.zeros((*self._inference.blank_hw, 3), np.uint8)
        with self._one_frame:
            with self._state:
                self._check_open()
            image = self._inference.encode(self._inference.prepare(blank), self._heads)
            for task in self._heads:
                self._inference.predict(task, *[image] * NUM_VIEWS[task])

    def set_options(self, **changes: Any) -> None:
        """
        Change settings for the frames to come: min_depth, max_depth [m], min_confidence.

        :raises ConfigError: If a value cannot be used, or a setting is fixed once opened.
        """
        fixed = sorted(set(changes) - set(DYNAMIC_OPTIONS))
        if fixed:
            raise ConfigError(f'{", ".join(fixed)}: cannot be changed while running; only '
                              f'{", ".join(DYNAMIC_OPTIONS)} can')
        with self._state:
            self._options = self._checked(replace(self._options, **changes))

    def reset(self) -> None:
        """Forget the previous frame, also one that is being answered: flow starts anew."""
        with self._state:
            self._previous = None
            self._num_resets += 1

    def close(self) -> None:
        """Wait for the frame that is being answered, then free the network's memory."""
        with self._one_frame, self._state:
            if not self._closed:
                self._closed, self._previous = True, None
                self._backend.close()

    def __enter__(self) -> 'Perception':
        """Return itself; leaving the block closes it."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def _encode(self, views: list[np.ndarray], timer: StageTimer) -> list[EncodedImage]:
        with timer.stage('prepare'):
            prepared = [self._inference.prepare(view) for view in views]
        with timer.stage('encode'):
            tasks_of_views = heads_of_frame(self._heads, len(views) == 2), ('stereo',)
            return [self._inference.encode(image, tasks)
                    for image, tasks in zip(prepared, tasks_of_views)]

    def _predict(self, encoded: list[EncodedImage], previous: SeenView | None,
                 timer: StageTimer) -> dict[str, Any]:
        left = encoded[0]
        views_of = {}
        if len(encoded) == 2:
            views_of['stereo'] = (left, encoded[1])
        elif 'depth' in left.features:
            views_of['depth'] = (left,)
        if 'flow' in self._heads and previous is not None \
                and previous.left.adapter == left.adapter:
            views_of['flow'] = (previous.left, left)
        predictions = {}
        for task, of_task in views_of.items():
            with timer.stage(task):
                predictions[task] = self._inference.predict(task, *of_task)
        return predictions

    def _forget_before(self, epoch: int) -> None:
        if epoch != self._epoch:
            self._tracking.reset()
            self._one_camera.reset()
            self._epoch = epoch

    def _flow(self, view: SeenView, frame: SeenView) -> DenseFlow | None:
        """Return the flow from an earlier view; None if images changed their size since."""
        if view.left.adapter != frame.left.adapter:
            return None
        prediction = self._inference.predict('flow', view.left, frame.left)
        return with_motion(self._inference.restore('flow', prediction), prediction, self.manifest)

    def _remember(self, frame: SeenView, epoch: int) -> None:
        with self._state:
            # a reset while the frame was answered holds for this frame too
            if 'flow' in self._heads and epoch == self._num_resets:
                self._previous = frame

    def _check_open(self) -> None:
        if self._closed:
            raise BackendError('this Perception is closed; open another one')

    def _checked(self, options: PerceptionOptions) -> PerceptionOptions:
        for head in set(DEPTH_HEADS) & set(self._heads):
            if options.min_confidence > 0 and self.manifest.outputs[head].log_scale is None:
                raise ConfigError(f"model '{self.manifest.name}' gives no confidence for {head}; "
                                  'min_confidence must be 0')
        return options
