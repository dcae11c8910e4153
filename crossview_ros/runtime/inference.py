# SPDX-License-Identifier: Apache-2.0
"""Encode images and predict from their features, in one piece (inference.mode 'single')."""
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from crossview_ros.runtime.backends import (
    Backend, encoder_of, OUTPUT_OF_TASK, POSE_BESIDE_FLOW, takes_pixels)
from crossview_ros.runtime.confidence import laplace_log_scale
from crossview_ros.runtime.input_adapter import InputAdapter
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.options import PerceptionOptions
import numpy as np


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network takes it."""

    # (1, h, w, 3) uint8 RGB, or (1, 3, h, w) float32 normalised, as the backend takes it
    network_input: np.ndarray
    adapter: InputAdapter


@dataclass(frozen=True)
class EncodedImage:
    """Features of one image; they stay on the device."""

    features: dict[str, Any]   # by task; tasks of one network have the same ones
    adapter: InputAdapter

    def only(self, *tasks: str) -> 'EncodedImage':
        """Return what some tasks need of it."""
        return replace(self, features={task: self.features[task] for task in tasks})


@dataclass(frozen=True)
class DensePrediction:
    """A head's output at the network's resolution, on the host."""

    value: np.ndarray              # (1, C, h, w) float32
    log_scale: np.ndarray | None   # (1, 1, h, w) float32, raw
    adapter: InputAdapter
    T_1_2: np.ndarray | None = None   # (4, 4) of the pose head that shares the pass of the flow


class SingleInference:
    """
    The networks on whole images: prepare, encode, predict, restore.

    Keeps nothing between calls but the backend. One thread at a time may call.
    """

    def __init__(self, backend: Backend, manifest: ModelManifest, options: PerceptionOptions):
        """Remember the backend and the largest working size."""
        self._backend = backend
        self._manifest = manifest
        self._inference_size = options.inference_size

    @property
    def blank_hw(self) -> tuple[int, int]:
        """Return the size [px] of an image that warms the networks up."""
        return self._manifest.default_size_hw

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """Scale, normalise and pad an (H, W, 3) uint8 RGB image."""
        adapter = InputAdapter.create(self._manifest, image.shape[:2], self._inference_size)
        return PreparedImage(network_input(self._backend, adapter, image), adapter)

    def encode(self, image: PreparedImage, tasks: Iterable[str]) -> EncodedImage:
        """Encode an image for some tasks, once for each network that they need."""
        graph_of = {task: encoder_of(self._manifest, task) for task in tasks}
        features = {graph: self._backend.run(graph, {'image': image.network_input})['features']
                    for graph in dict.fromkeys(graph_of.values())}
        return EncodedImage({task: features[graph] for task, graph in graph_of.items()},
                            image.adapter)

    def predict(self, task: str, *views: EncodedImage) -> DensePrediction:
        """Run a task's head on one view, or from view 1 to view 2, which have one size."""
        value, log_scale, T_1_2 = run_head(self._backend, task, *(
            view.features[task] for view in views))
        return DensePrediction(value, log_scale, views[0].adapter,
                               None if T_1_2 is None else T_1_2[0])

    def restore(self, task: str,
                prediction: DensePrediction) -> tuple[np.ndarray, np.ndarray | None]:
        """Bring a prediction back to the image; as `restore_prediction`."""
        return restore_prediction(self._manifest, task, prediction)


def network_input(backend: Backend, adapter: InputAdapter, image: np.ndarray) -> np.ndarray:
    """Fit an (H, W, 3) uint8 RGB image to the network, in the form that a backend takes."""
    return adapter.fit(image) if takes_pixels(backend) else adapter.prepare(image)


def run_head(backend: Backend, task: str, *features: Any) -> tuple[
        np.ndarray, np.ndarray | None, np.ndarray | None]:
    """
    Run a task's graph.

    :return: Value (B, C, h, w), raw log_scale (B, 1, h, w) and `POSE_BESIDE_FLOW` (B, 4, 4), or
        None where the graph has no such output; on the host, float32.
    """
    outputs = backend.run(task, {f'features{i}': view for i, view in enumerate(features, 1)})
    return tuple(backend.to_numpy(outputs[name]) if name in outputs else None
                 for name in (OUTPUT_OF_TASK[task], 'log_scale', POSE_BESIDE_FLOW))


def restore_prediction(manifest: ModelManifest, task: str,
                       prediction: DensePrediction) -> tuple[np.ndarray, np.ndarray | None]:
    """
    Bring a prediction back to the image's resolution.

    :return: Disparity (H, W) or flow (H, W, 2) [image px], and log of the Laplace scale (H, W)
        [log image px] or None; float32. Of task depth: metres (H, W), canonical ones of a focal
        length in image px, and log of the Laplace scale of their logarithm.
    """
    adapter, spec, log_scale = prediction.adapter, manifest.outputs[task], prediction.log_scale
    if log_scale is not None:
        log_scale = laplace_log_scale(log_scale, spec)
    if task == 'depth':
        depth = adapter.restore(prediction.value) if spec.focal_px is None \
            else adapter.restore_canonical_depth(prediction.value)
        return depth, None if log_scale is None else adapter.restore(log_scale)
    restore = {'stereo': adapter.restore_disparity, 'flow': adapter.restore_flow}[task]
    if log_scale is not None:
        log_scale = adapter.restore_log_scale(log_scale, prediction.value.shape[1])
    return restore(prediction.value), log_scale
