# SPDX-License-Identifier: Apache-2.0
"""
Write models as ONNX graphs of one image size, with the batch left open.

A multi-task model becomes the graphs that `crossview_ros.runtime.backends` names: ``encode``,
whose outputs are ``features.<part>``, and one graph for each task, whose inputs are those parts
of the two views, ``features1.<part>`` and ``features2.<part>``. A task reads only the parts that
its head needs. Any other model becomes one graph. Inputs and outputs are float32 in every
precision; images may be uint8 as a camera gives them, which the graph normalises.
"""
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
import warnings

from crossview_ros.errors import BackendError
from crossview_ros.export.precision import to_half
from crossview_ros.export.quantisation import save_int8
from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoEncoder, EncoderFeatures
from crossview_ros.networks.downstream import (
    MultiTaskModel, ONE_VIEW_TASKS, OneViewModel, TwoViewModel)
from crossview_ros.networks.heads import PosePrediction, Prediction
from crossview_ros.networks.patches import random_mask
from crossview_ros.runtime.backends import ENCODE, OUTPUT_OF_TASK
from crossview_ros.runtime.backends.graph_files import OPSET
from crossview_ros.runtime.manifest import gain_and_bias, InputNormalisation
import numpy as np
import torch
from torch import nn, Tensor

OUTPUTS = {**OUTPUT_OF_TASK, 'depth': 'depth', 'pose': 'T_1_2'}
# millimetres need fp32; the other names are those of graphs from images, and from pixels
FLOAT32_SCOPES = {'pose': ('/head/', '/parts.0/head/', '/parts.0/parts.0/head/'),
                  'flow': ('/parts.1/',)}   # where the pose head is beside that of the flow
IMAGES = ('image', 'image1', 'image2', 'target', 'reference')   # inputs that are one
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


def graphs_of(model: nn.Module, size_hw: tuple[int, int], batch: int = 1, seed: int = 0,
              only: str | None = None, pixels: InputNormalisation | None = None) \
        -> list[OnnxGraph]:
    """
    Take a model apart into the graphs that are exported, with random example inputs.

    A pre-training model takes the mask as an input; it must hide as many patches as the model's
    mask ratio says.

    :param model: As `load_model` or `load_multi_task` returns it.
    :param size_hw: Height and width of the images [px].
    :param only: Of a multi-task model this graph only.
    :param pixels: Take images as (B, H, W, 3) uint8 RGB and normalise them so; None: as
        (B, 3, H, W) float32, normalised.
    :raises BackendError: If there is no export for this kind of model.
    :raises ValueError: If the size does not fit the model.
    """
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn((batch, 3, *size_hw), generator=generator) for _ in range(2)]
    graphs = _graphs(model, images, generator, only)
    return graphs if pixels is None else [_taking_pixels(graph, pixels, generator)
                                          for graph in graphs]


def _graphs(model: nn.Module, images: list[Tensor], generator: torch.Generator,
            only: str | None) -> list[OnnxGraph]:
    if isinstance(model, MultiTaskModel):
        return _multi_task_graphs(model, images, only)
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


def write_onnx(graph: OnnxGraph, folder: Path, precision: str = 'fp32',
               calibration: Iterable[dict[str, np.ndarray]] = ()) -> Path:
    """Write <folder>/<name>.onnx; as `save_onnx`."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f'{graph.name}.onnx'
    save_onnx(graph, path, precision, calibration)
    return path


def save_onnx(graph: OnnxGraph, path: Path, precision: str = 'fp32',
              calibration: Iterable[dict[str, np.ndarray]] = ()) -> None:
    """
    Write a graph: standard operators of one opset, no control flow.

    :param precision: 'fp32', or of its products 'fp16', 'bf16' (`to_half`), 'int8'
        (`save_int8`).
    :param calibration: For int8: inputs that show the range of each tensor.
    :raises BackendError: If the onnx extra is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise BackendError("export needs the package 'onnx': pip install "
                           'crossview_ros[onnx]') from error
    graph.run()   # fills the rotary tables, so that the graph gets them as constants
    names = [*graph.inputs, *graph.outputs]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')   # of sizes that become constants, which is the aim
        torch.onnx.export(
            graph.module, tuple(graph.inputs.values()), str(path), opset_version=OPSET,
            input_names=list(graph.inputs), output_names=list(graph.outputs),
            dynamic_axes={name: {0: 'batch'} for name in names}, dynamo=False)
    scopes = FLOAT32_SCOPES.get(graph.name, ())
    if precision == 'int8':
        save_int8(onnx.load(path), path, calibration, scopes)
    elif precision != 'fp32':
        onnx.save(to_half(onnx.load(path), precision, scopes), path)


class _Call(nn.Module):
    """A function of tensors that uses the weights of ``parts``."""

    def __init__(self, function: Callable[..., tuple[Tensor, ...]], *parts: nn.Module):
        super().__init__()
        self.function = function
        self.parts = nn.ModuleList(parts)
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.function(*inputs)


def _taking_pixels(graph: OnnxGraph, normalisation: InputNormalisation,
                   generator: torch.Generator) -> OnnxGraph:
    """Put the normalisation of its images into a graph; as `input_adapter.normalise`."""
    gain, bias = (torch.from_numpy(part)[:, None, None]
                  for part in gain_and_bias(normalisation))
    pixels = {}
    for name in IMAGES:
        if name in graph.inputs:
            batch, _, rows, cols = graph.inputs[name].shape
            pixels[name] = torch.randint(256, (batch, rows, cols, 3), generator=generator,
                                         dtype=torch.uint8)
    names = list(graph.inputs)

    def normalise(image: Tensor) -> Tensor:
        # float at once: engines compute nothing in uint8; planes, since runs of three are slow
        planes = image.float().permute(0, 3, 1, 2)
        if normalisation.channels == 'bgr':
            planes = torch.stack(planes.unbind(1)[::-1], 1)
        return planes * gain - bias

    def call(*inputs: Tensor) -> tuple[Tensor, ...]:
        return graph.module(*(normalise(value) if name in pixels else value
                              for name, value in zip(names, inputs)))

    return graph if not pixels else replace(
        graph, module=_Call(call, graph.module), inputs={**graph.inputs, **pixels})


def _multi_task_graphs(model: MultiTaskModel, images: list[Tensor],
                       only: str | None) -> list[OnnxGraph]:
    read = {task: _parts_read(head, model.config.backbone, task in ONE_VIEW_TASKS)
            for task, head in model.heads.items()}
    parts = sorted({part for views in read.values() for view in views for part in view})
    graphs = [] if only not in (None, ENCODE) else [OnnxGraph(
        ENCODE, _Call(lambda image: take_parts(model.encode(image), parts), model.encoder),
        {'image': images[0]}, tuple(f'features.{part}' for part in parts))]
    if only == ENCODE:
        return graphs
    with torch.no_grad():
        features = [model.encode(image) for image in images]
    return graphs + [_task_graph(model, task, views, features)
                     for task, views in read.items() if only in (None, task)]


def _task_graph(model: MultiTaskModel, task: str, read: list[list[str]],
                features: list[EncoderFeatures]) -> OnnxGraph:
    grid_hw = features[0].grid_hw
    inputs = {f'features{number}.{part}': tensor
              for number, (parts, view) in enumerate(zip(read, features), 1)
              for part, tensor in zip(parts, take_parts(view, parts))}

    def predict(*tensors: Tensor) -> tuple[Tensor, ...]:
        left = iter(tensors)
        views = [{part: next(left) for part in parts} for parts in read]
        dense, *pose = model.predict_all(task, *(
            _put_back(view, model.config.backbone, grid_hw) for view in views)).values()
        return *_outputs(dense), *(answer.T_1_2 for answer in pose)

    with_pose = task == 'flow' and 'pose' in model.heads
    graph = _dense_graph(_Call(predict, model.task(task),
                               *([model.heads['pose']] if with_pose else ())), inputs, task)
    return replace(graph, outputs=(*graph.outputs[:-1], OUTPUTS['pose'])) if with_pose else graph


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
    name = name or ('pose' if value.dim() == 3 else TASK_OF_CHANNELS[value.shape[1]])
    return OnnxGraph(name, call, inputs,
                     (OUTPUTS.get(name, 'value'), *['log_scale'] * len(log_scale)))


def _outputs(prediction: Prediction | PosePrediction) -> tuple[Tensor, ...]:
    outputs = (prediction[0], prediction.log_scale)
    return outputs if prediction.log_scale is not None else outputs[:1]


def _parts_read(head: nn.Module, config: CroCoConfig, one_view: bool) -> list[list[str]]:
    """
    Name what decoder and head read of each view.

    Parts are block<i> (B, N, E) and stem<i> (B, C, h, w).
    """
    last = config.enc_num_layers - 1
    stem = ['stem0', 'stem1', *['stem2'] * getattr(head, 'reads_half', False)]
    if head.both_directions:
        return [[f'block{last}', *stem]] * 2
    hooks = {hook for hook in getattr(head, 'hooks', ()) if hook < last}
    parts = [f'block{i}' for i in sorted({*hooks, last})]
    return [[*parts, *stem]] if one_view else [parts, [f'block{last}']]


def take_parts(features: EncoderFeatures, parts: list[str]) -> tuple[Tensor, ...]:
    """Return some of what the encoder gives, by name."""
    every = {f'block{i}': tokens for i, tokens in enumerate(features.tokens)}
    every.update({f'stem{i}': maps for i, maps in enumerate(features.stem)})
    return tuple(every[part] for part in parts)


def _put_back(parts: dict[str, Tensor], config: CroCoConfig,
              grid_hw: tuple[int, int]) -> EncoderFeatures:
    return EncoderFeatures([parts.get(f'block{i}') for i in range(config.enc_num_layers)],
                           [parts.get(f'stem{i}') for i in range(3)], grid_hw)
