# SPDX-License-Identifier: Apache-2.0
"""What a graph gets to see of real images: the inputs that its quantisation is calibrated with."""
from collections.abc import Iterable, Iterator
from dataclasses import replace

from crossview_ros.export.onnx import IMAGES, OnnxGraph, take_parts
from crossview_ros.runtime.input_adapter import normalise
from crossview_ros.runtime.manifest import InputNormalisation
import numpy as np
import torch
from torch import nn, Tensor

Pair = tuple[np.ndarray, np.ndarray]
SECOND = ('image2', 'reference')   # inputs that are the second view


def calibration_inputs(model: nn.Module, graph: OnnxGraph, pairs: Iterable[Pair],
                       normalisation: InputNormalisation) -> Iterator[dict[str, np.ndarray]]:
    """
    Yield inputs of a graph, one for each pair; of the encoder one for each view.

    :param model: That the graph was made from; computes features.
    :param pairs: Two views, (1, H, W, 3) uint8 RGB each.
    """
    for pair in pairs:
        for views in ([pair] if len(graph.inputs) > 1 else [pair[:1], pair[1:]]):
            yield _inputs(model, graph, views, normalisation)


def with_frame(model: nn.Module, graph: OnnxGraph, pair: Pair,
               normalisation: InputNormalisation) -> OnnxGraph:
    """Return a graph whose example inputs are those of real views."""
    inputs = next(calibration_inputs(model, graph, [pair], normalisation))
    return replace(graph, inputs={name: torch.from_numpy(value)
                                  for name, value in inputs.items()})


def _inputs(model: nn.Module, graph: OnnxGraph, views: tuple[np.ndarray, ...],
            normalisation: InputNormalisation) -> dict[str, np.ndarray]:
    images = [normalise(view, normalisation) for view in views]
    features = []
    if any(name.startswith('features') for name in graph.inputs):
        with torch.inference_mode():
            features = [model.encode(torch.from_numpy(image)) for image in images]

    def value(name: str, example: Tensor) -> np.ndarray:
        if name in IMAGES:
            source = views if example.dtype == torch.uint8 else images
            return source[name in SECOND]
        if not name.startswith('features'):   # a mask
            return example.numpy()
        view, _, part = name.removeprefix('features').partition('.')
        return take_parts(features[int(view) - 1], [part])[0].numpy()

    return {name: value(name, example) for name, example in graph.inputs.items()}
