# SPDX-License-Identifier: Apache-2.0
"""
Write models as ONNX graphs of one image size, with the batch left open.

A multi-task model becomes the graphs that `crossview_ros.runtime.backends` names: ``encode``,
whose outputs are ``features.<part>``, and one graph for each task, whose inputs are those parts
of the two views, ``features1.<part>`` and ``features2.<part>``. A task reads only the parts that
its head needs. Any other model becomes one graph.
"""
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
import warnings

from crossview_ros.errors import BackendError
from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoEncoder, EncoderFeatures
from crossview_ros.networks.downstream import MultiTaskModel, OneViewModel, TwoViewModel
from crossview_ros.networks.heads import Prediction
from crossview_ros.networks.patches import random_mask
from crossview_ros.runtime.backends import ENCODE, OUTPUT_OF_TASK
import torch
from torch import nn, Tensor

OPSET = 17   # LayerNormalization came with it, GridSample with the one before
TASK_OF_CHANNELS = {1: 'stereo', 2: 'flow'}   # of a two-view model on its own


@dataclass(frozen=True)
class OnnxGraph:
    """A computation with named inputs and outputs, before it is written."""

    name: str                     # of the file, without .onnx
    module: nn.Module             # takes the inputs in order, gives the outputs in order
    inputs: dict[str, Tensor]     # examples, batch first
    outputs: tuple[str, ...]

    def run(self) -> dict[str, Tensor]:
        """Compute the outputs of the example inputs in PyTorch."""
        with torch.inference_mode():
            return dict(zip(self.outputs, self.module(*self.inputs.values())))


def graphs_of(model: nn.Module, size_hw: tuple[int, int], batch: int = 1,
              seed: int = 0) -> list[OnnxGraph]:
    """
    Take a model apart into the graphs that are exported, with random example inputs.

    A pre-training model takes the mask as an input; it must hide as many patches as the model's
    mask ratio says.

    :param model: As `load_model` or `load_multi_task` returns it.
    :param size_hw: Height and width of the images [px].
    :raises BackendError: If there is no export for this kind of model.
    :raises ValueError: If the size does not fit the model.
    """
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn((batch, 3, *size_hw), generator=generator) for _ in range(2)]
    if isinstance(model, MultiTaskModel):
        return _multi_task_graphs(model, images)
    if isinstance(model, TwoViewModel):
        predict = _Call(lambda *views: _outputs(model(*views)), model)
        return [_dense_graph(predict, {'image1': images[0], 'image2': images[1]})]
    if isinstance(model, OneViewModel):
        predict = _Call(lambda image: _outputs(model(image)), model)
        return [_dense_graph(predict, {'image': images[0]}, 'monocular')]
    if isinstance(model, CroCo):
        return [_completion_graph(model, images, generator)]
    if isinstance(model, CroCoEncoder):
        return [OnnxGraph(ENCODE, _Call(lambda image: (model(image).tokens[-1],), model),
                          {'image': images[0]}, ('tokens',))]
    raise BackendError(f'no ONNX export for a {type(model).__name__}; expected an encoder, a '
                       'completion, monocular, two-view or multi-task model')


def write_onnx(graph: OnnxGraph, folder: Path) -> Path:
    """
    Write <folder>/<name>.onnx: standard operators of one opset, no control flow.

    :raises BackendError: If the onnx extra is not installed.
    """
    try:
        import onnx   # noqa: F401  (the exporter wants it)
    except ModuleNotFoundError as error:
        raise BackendError("export needs the package 'onnx': pip install "
                           'crossview_ros[onnx]') from error
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{graph.name}.onnx'
    graph.run()   # fills the rotary tables, so that the graph gets them as constants
    names = [*graph.inputs, *graph.outputs]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')   # of sizes that become constants, which is the aim
        torch.onnx.export(
            graph.module, tuple(graph.inputs.values()), str(path), opset_version=OPSET,
            input_names=list(graph.inputs), output_names=list(graph.outputs),
            dynamic_axes={name: {0: 'batch'} for name in names}, dynamo=False)
    return path


class _Call(nn.Module):
    """A function of tensors that uses the weights of ``parts``."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], *parts: nn.Module):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.function(*inputs)


def _multi_task_graphs(model: MultiTaskModel, images: list[Tensor]) -> list[OnnxGraph]:
    read = {task: _parts_read(head, model.config.backbone) for task, head in model.heads.items()}
    parts = sorted({part for views in read.values() for view in views for part in view})
    encode = OnnxGraph(
        ENCODE, _Call(lambda image: _take(model.encode(image), parts), model.encoder),
        {'image': images[0]}, tuple(f'features.{part}' for part in parts))
    with torch.no_grad():
        features = [model.encode(image) for image in images]
    return [encode, *(_task_graph(model, task, views, features)
                      for task, views in read.items())]


def _task_graph(model: MultiTaskModel, task: str, read: tuple[list[str], list[str]],
                features: list[EncoderFeatures]) -> OnnxGraph:
    two_view, (parts1, parts2) = model.task(task), read
    grid_hw = features[0].grid_hw
    inputs = {f'features{view}.{part}': tensor for view, parts in ((1, parts1), (2, parts2))
              for part, tensor in zip(parts, _take(features[view - 1], parts))}

    def predict(*tensors: Tensor) -> tuple[Tensor, ...]:
        views = (dict(zip(parts1, tensors)), dict(zip(parts2, tensors[len(parts1):])))
        return _outputs(two_view.predict(*(_put_back(view, model.config.backbone, grid_hw)
                                           for view in views)))

    return _dense_graph(_Call(predict, two_view), inputs, task)


def _completion_graph(model: CroCo, images: list[Tensor],
                      generator: torch.Generator) -> OnnxGraph:
    patch, ratio = model.config.patch_size, model.config.mask_ratio
    num_patches = images[0].shape[2] // patch * (images[0].shape[3] // patch)
    mask = random_mask(len(images[0]), num_patches, ratio, generator=generator)
    num_visible = num_patches - int(ratio * num_patches)
    complete = _Call(lambda *inputs: (model.complete(*inputs, num_visible).patches,), model)
    return OnnxGraph('complete', complete,
                     {'target': images[0], 'reference': images[1], 'mask': mask}, ('patches',))


def _dense_graph(call: nn.Module, inputs: dict[str, Tensor],
                 name: str | None = None) -> OnnxGraph:
    with torch.inference_mode():
        value, *log_scale = call(*inputs.values())
    name = name or TASK_OF_CHANNELS[value.shape[1]]
    return OnnxGraph(name, call, inputs,
                     (OUTPUT_OF_TASK.get(name, 'value'), *['log_scale'] * len(log_scale)))


def _outputs(prediction: Prediction) -> tuple[Tensor, ...]:
    outputs = (prediction.value, prediction.log_scale)
    return outputs if prediction.log_scale is not None else outputs[:1]


def _parts_read(head: nn.Module, config: CroCoConfig) -> tuple[list[str], list[str]]:
    """Name what decoder and head read of each view: block<i> (B, N, E), stem<i> (B, C, h, w)."""
    last = config.enc_num_layers - 1
    if head.both_directions:
        parts = [f'block{last}', 'stem0', 'stem1']
        return parts, parts
    hooks = {hook for hook in head.hooks if hook < last}
    return [f'block{i}' for i in sorted({*hooks, last})], [f'block{last}']


def _take(features: EncoderFeatures, parts: list[str]) -> tuple[Tensor, ...]:
    every = {f'block{i}': tokens for i, tokens in enumerate(features.tokens)}
    every.update({f'stem{i}': maps for i, maps in enumerate(features.stem)})
    return tuple(every[part] for part in parts)


def _put_back(parts: dict[str, Tensor], config: CroCoConfig,
              grid_hw: tuple[int, int]) -> EncoderFeatures:
    return EncoderFeatures([parts.get(f'block{i}') for i in range(config.enc_num_layers)],
                           [parts.get(f'stem{i}') for i in range(2)], grid_hw)
