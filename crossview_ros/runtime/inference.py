# SPDX-License-Identifier: Apache-2.0
"""Encode images and predict from their features, in one piece (inference.mode 'single')."""
from dataclasses import dataclass
from typing import Any

from crossview_ros.runtime.backends import Backend, ENCODE, OUTPUT_OF_TASK
from crossview_ros.runtime.input_adapter import InputAdapter
from crossview_ros.runtime.manifest import ModelManifest
import numpy as np


@dataclass(frozen=True)
class PreparedImage:
    """An image as the network takes it."""

    network_input: np.ndarray   # (1, 3, h, w) float32, normalised
    adapter: InputAdapter


@dataclass(frozen=True)
class EncodedImage:
    """Features of one image; they stay on the device."""

    features: Any
    adapter: InputAdapter


@dataclass(frozen=True)
class DensePrediction:
    """A head's output at the network's resolution, on the host."""

    value: np.ndarray              # (1, C, h, w) float32
    log_scale: np.ndarray | None   # (1, 1, h, w) float32
    adapter: InputAdapter


class SingleInference:
    """
    The network on whole images: prepare, encode, predict, restore.

    Keeps nothing between calls but the backend. One thread at a time may call.
    """

    def __init__(self, backend: Backend, manifest: ModelManifest,
                 inference_size: tuple[int, int] | None = None):
        """Remember the backend and the largest working size (h, w) [px]."""
        self._backend = backend
        self._manifest = manifest
        self._inference_size = inference_size

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """Scale, normalise and pad an (H, W, 3) uint8 RGB image."""
        adapter = InputAdapter.create(self._manifest, image.shape[:2], self._inference_size)
        return PreparedImage(adapter.prepare(image), adapter)

    def encode(self, image: PreparedImage) -> EncodedImage:
        """Encode an image, once for all tasks."""
        outputs = self._backend.run(ENCODE, {'image': image.network_input})
        return EncodedImage(outputs['features'], image.adapter)

    def predict(self, task: str, view1: EncodedImage, view2: EncodedImage) -> DensePrediction:
        """Run a task's head from view 1 to view 2, which have one size."""
        outputs = self._backend.run(task, {'features1': view1.features,
                                           'features2': view2.features})
        value = self._backend.to_numpy(outputs[OUTPUT_OF_TASK[task]])
        log_scale = self._backend.to_numpy(outputs['log_scale']) if 'log_scale' in outputs \
            else None
        return DensePrediction(value, log_scale, view1.adapter)

    def restore(self, task: str,
                prediction: DensePrediction) -> tuple[np.ndarray, np.ndarray | None]:
        """
        Bring a prediction back to the image's resolution.

        :return: Disparity (H, W) or flow (H, W, 2) [image px], and log scale (H, W)
            [log image px] or None; float32.
        """
        adapter = prediction.adapter
        restore = {'stereo': adapter.restore_disparity, 'flow': adapter.restore_flow}[task]
        log_scale = prediction.log_scale
        if log_scale is not None:
            log_scale = adapter.restore_log_scale(log_scale, prediction.value.shape[1])
        return restore(prediction.value), log_scale
