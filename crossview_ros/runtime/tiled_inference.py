# SPDX-License-Identifier: Apache-2.0
"""Encode and predict windows of images, and blend what they give (inference.mode 'tiled')."""
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from crossview_ros.errors import ConfigError
from crossview_ros.geometry.tiling import blend, enlarge, TileLayout
from crossview_ros.runtime.backends import Backend, encoder_of
from crossview_ros.runtime.inference import (
    DensePrediction, EncodedImage, network_input, PreparedImage, restore_prediction, run_head,
    SingleInference)
from crossview_ros.runtime.input_adapter import InputAdapter
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.options import PerceptionOptions
import numpy as np


@dataclass(frozen=True)
class _TileFeatures:
    """Features of all windows of one image; they stay on the device."""

    layout: TileLayout
    chunks: list[Any]   # of as many windows as run at once


class TiledInference:
    """
    The networks on windows of the size that they were trained with; see `SingleInference`.

    Keeps nothing between calls but the backend. One thread at a time may call.
    """

    def __init__(self, backend: Backend, manifest: ModelManifest, options: PerceptionOptions):
        """Remember the backend and how images are cut."""
        self._backend = backend
        self._manifest = manifest
        self._options = options

    @property
    def blank_hw(self) -> tuple[int, int]:
        """Return the size [px] of an image that warms the networks up: about a window."""
        rows, cols = zip(*(spec.window_hw for spec in self._manifest.tiling.values()))
        return min(rows), min(cols)

    def prepare(self, image: np.ndarray) -> PreparedImage:
        """Shrink, where the options say so, and normalise an (H, W, 3) uint8 RGB image."""
        adapter = InputAdapter.create(self._manifest, image.shape[:2],
                                      self._options.inference_size, padded=False)
        return PreparedImage(network_input(self._backend, adapter, image), adapter)

    def encode(self, image: PreparedImage, tasks: Iterable[str]) -> EncodedImage:
        """Encode the windows of some tasks, once for each network and size of the windows."""
        key_of = {task: (encoder_of(self._manifest, task), TileLayout.create(
            image.adapter.working_hw, self._manifest.tiling[task], self._options.tile_overlap))
            for task in tasks}
        features = {key: self._encode(image.network_input, *key)
                    for key in dict.fromkeys(key_of.values())}
        return EncodedImage({task: features[key] for task, key in key_of.items()}, image.adapter)

    def predict(self, task: str, *views: EncodedImage) -> DensePrediction:
        """Run a task's head on each window, which lies at the same place in both views."""
        layout = views[0].features[task].layout
        blended = blend(layout, self._manifest.tiling[task].weight,
                        self._tiles(task, *(view.features[task] for view in views)))
        adapter = replace(views[0].adapter, working_hw=layout.scaled_hw,
                          network_hw=layout.scaled_hw)
        return DensePrediction(*blended, adapter)

    def restore(self, task: str,
                prediction: DensePrediction) -> tuple[np.ndarray, np.ndarray | None]:
        """Bring a prediction back to the image; as `restore_prediction`."""
        return restore_prediction(self._manifest, task, prediction)

    def _tiles(self, task: str, *views: _TileFeatures) -> Iterator[
            tuple[tuple[int, int], np.ndarray, np.ndarray]]:
        corners = views[0].layout.chunks(self._options.tile_batch)
        for chunk, *features in zip(corners, *(view.chunks for view in views)):
            yield from zip(chunk, *run_head(self._backend, task, *features)[:2])

    def _encode(self, image: np.ndarray, graph: str, layout: TileLayout) -> _TileFeatures:
        pixels = image.dtype == np.uint8
        planes = enlarge(image.transpose(0, 3, 1, 2) if pixels else image, layout.scaled_hw)
        chunks = []
        for corners in layout.chunks(self._options.tile_batch):
            tiles = layout.cut(planes, corners)
            if pixels:
                tiles = np.ascontiguousarray(tiles.transpose(0, 2, 3, 1))
            chunks.append(self._backend.run(graph, {'image': tiles})['features'])
        return _TileFeatures(layout, chunks)


def make_inference(backend: Backend, manifest: ModelManifest,
                   options: PerceptionOptions) -> SingleInference | TiledInference:
    """Return what runs the networks in the mode of the options."""
    kind = TiledInference if options.inference_mode == 'tiled' else SingleInference
    return kind(backend, manifest, options)


def network_size(manifest: ModelManifest, options: PerceptionOptions) -> tuple[int, int]:
    """Return the (height, width) [px] of the network's input for images of the model's size."""
    if options.inference_mode == 'tiled':
        return next(iter(manifest.tiling.values())).window_hw
    image_hw = options.inference_size or manifest.default_size_hw
    return InputAdapter.create(manifest, image_hw, options.inference_size).network_hw


def check_mode(manifest: ModelManifest, heads: Iterable[str], options: PerceptionOptions) -> None:
    """
    Check that a model can run in the mode of the options.

    :raises ConfigError: If it cannot; the error says which mode or size it can.
    """
    if options.inference_mode == 'tiled':
        untiled = sorted(set(heads) - set(manifest.tiling))
        if untiled:
            raise ConfigError(f"model '{manifest.name}' cannot run {', '.join(untiled)} tiled: "
                              'its manifest has no tiling for it; set the inference mode to '
                              "'single'")
    elif manifest.fixed_size_hw is not None \
            and options.inference_size not in (None, manifest.fixed_size_hw):
        rows, cols = manifest.fixed_size_hw
        raise ConfigError(f"the networks of model '{manifest.name}' take {cols}x{rows} px (w x h) "
                          f'only, got inference size {options.inference_size[1]}x'
                          f'{options.inference_size[0]}; leave it at that, or choose the '
                          "inference mode 'tiled'")
