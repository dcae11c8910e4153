# SPDX-License-Identifier: Apache-2.0
"""Verb export: write a model or a training run as a model folder, ONNX or official file."""
import argparse
from pathlib import Path
from typing import Any

from crossview_ros.cli import export_engines
from crossview_ros.cli.export_engines import ENGINE_FORMATS

HELP = 'write a model or a training run as a model folder, ONNX or official file'
FORMATS = ('model', 'onnx', *ENGINE_FORMATS, 'official', 'simipu-backbone')
CHECKPOINT = 'last.pt'   # what makes a folder a run
MODEL_HW = (240, 320)    # [px]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('source', metavar='MODEL|RUN', type=Path,
                        help='name or folder of a model, .safetensors, official .pth, or folder '
                             'of a training run')
    parser.add_argument('--format', default='model', choices=FORMATS,
                        help='model: folder with weights and manifest, of a run (default); onnx: '
                             'one graph per step, checked against PyTorch; tensorrt, '
                             'tensorrt-rtx: engines, into the cache; official: .pth file '
                             'with the key names of CroCo; simipu-backbone: .pth file with the '
                             'ResNet alone, for official detection and depth configs')
    parser.add_argument('--out', type=Path,
                        help='folder to write (model: models/<name>), or official file; engines '
                             'need none, onnx without one goes where the backends find it')
    parser.add_argument('--size', metavar='HxW', action='append',
                        help='model: largest working size [px] (default: 240x320); onnx and '
                             "engines: size of the images [px] (default: the model's own); "
                             'may be repeated for engines, and for onnx without --out')
    parser.add_argument('--precision', choices=('fp32', 'fp16', 'bf16', 'int8'),
                        help="onnx and engines: of the network's products (default: fp32; "
                             'engines: fp16)')
    parser.add_argument('--calibration', metavar='BAG', type=Path,
                        help='int8: bag whose images show the ranges of values (default: '
                             'rendered frames)')
    parser.add_argument('--pixels', action='store_true',
                        help='onnx with --out: images go in as (B, H, W, 3) uint8 RGB, the graph '
                             'normalises them; without --out and in engines they always do')
    parser.add_argument('--best', action='store_true',
                        help='of a run: the weights of its best validation, not the last ones')
    parser.add_argument('--task', help='write this task only; onnx: as one graph from images')
    export_engines.add_arguments(parser)
    parser.add_argument('--prefix', default='none', choices=('none', 'backbone', 'img_backbone'),
                        help='simipu-backbone: before each key: none (depth, torchvision; '
                             'default), backbone (FCOS3D), img_backbone (MoCa, MVX-Net)')
    parser.add_argument('--command', dest='trained_by', default='crossview finetune',
                        metavar='TEXT',
                        help='command that trained it, for the provenance')


def run(args: argparse.Namespace) -> int:
    """Write what was asked for and say what is in it."""
    from crossview_ros.errors import ConfigError
    if args.calibration is not None and args.precision != 'int8':
        raise ConfigError('--calibration goes with --precision int8; nothing else needs it')
    sizes = [_size(text) for text in args.size or ()]
    if args.format in ENGINE_FORMATS:
        return export_engines.run(args, sizes or [None])
    if args.format == 'onnx' and args.out is None and args.task is None:
        return _onnx_beside(args, sizes)
    if len(sizes) > 1:
        raise ConfigError(f'--format {args.format} with --out takes one --size, got {len(sizes)}')
    args.size = sizes[0] if sizes else None
    if args.out is None:
        raise ConfigError(f'--format {args.format} needs --out, the folder or file to write')
    return {'model': _model, 'onnx': _onnx, 'official': _official,
            'simipu-backbone': _simipu_backbone}[args.format](args)


def _model(args: argparse.Namespace) -> int:
    from crossview_ros.cli.run_origin import origin_of
    from crossview_ros.config import to_dict
    from crossview_ros.export.model_folder import TrainedModel, write_model_folder
    from crossview_ros.export.pretraining import without_points
    from crossview_ros.training.setup import load_run
    size_hw = args.size or MODEL_HW
    config, architecture, weights, history = load_run(args.source, args.best)
    architecture, weights = without_points(architecture, weights)
    origin = origin_of(args.source)
    provenance = {'data': '; '.join(origin.data), 'command': args.trained_by,
                  'legs': origin.legs, 'validation_score': round(history['best_score'], 3),
                  'config': to_dict(config)}
    trained = TrainedModel(architecture, weights, config.model.preset, provenance, origin.licence,
                           metric=config.data.source == 'datasets')
    manifest = write_model_folder(trained, args.out, size_hw)
    print(f'model     {args.out}')
    for name, digest in manifest['files'].items():
        size_mb = (args.out / name).stat().st_size / 1e6
        print(f'file      {name}  {size_mb:.1f} MB  sha256 {digest[:16]}')
    return 0


def _onnx(args: argparse.Namespace) -> int:
    from crossview_ros.cli.calibration_frames import frame_pairs
    from crossview_ros.errors import ConfigError
    from crossview_ros.export.calibration import calibration_inputs, with_frame
    from crossview_ros.export.onnx import graphs_of, write_onnx
    from crossview_ros.export.parity import onnx_parity
    from crossview_ros.runtime.parity import DEFAULT_TOLERANCE
    model = _load(args.source, args.task)
    size_hw = args.size or _own_size(model, args.source)
    normalisation = _normalisation(model)
    try:
        graphs = graphs_of(model, size_hw, pixels=normalisation if args.pixels else None)
    except ValueError as error:   # the network refuses the size
        raise ConfigError(f'--size {size_hw[0]}x{size_hw[1]}: {error}') from error
    precision = args.precision or 'fp32'
    frames = frame_pairs(args.calibration, size_hw) if precision == 'int8' else []
    paths = [write_onnx(graph, args.out, precision,
                        calibration_inputs(model, graph, frames, normalisation))
             for graph in graphs]
    if frames:   # random examples leave the ranges that were calibrated
        graphs = [with_frame(model, graph, frames[0], normalisation) for graph in graphs]
    if precision == 'bf16':
        print(f'{len(paths)} graphs, {size_hw[0]}x{size_hw[1]} (h x w), bf16, {args.out}; not '
              'compared with PyTorch: ONNX Runtime has no bf16 convolution on the CPU')
        return 0
    parities = [parity for graph, path in zip(graphs, paths)
                for parity in onnx_parity(graph, path, DEFAULT_TOLERANCE[precision])]
    print(f'{"graph":<12}{"output":<18}{"max abs err":>12}{"relative":>10}{"tolerance":>11}')
    for parity in parities:
        print(f'{parity.graph:<12}{parity.output:<18}{parity.max_error:12.1e}'
              f'{parity.relative:10.1e}{parity.tolerance:11.1e}')
    ok = all(parity.ok for parity in parities)
    print(f'{"ok" if ok else "above tolerance"}: {len(parities)} outputs, '
          f'{size_hw[0]}x{size_hw[1]} (h x w), {precision}, {args.out}')
    return 0 if ok else 1


def _onnx_beside(args: argparse.Namespace, sizes: list[tuple[int, int]]) -> int:
    from crossview_ros.cli.export_graphs import write_beside
    from crossview_ros.model_store import find_model
    from crossview_ros.runtime.input_adapter import InputAdapter
    from crossview_ros.runtime.manifest import load_manifest
    folder = find_model(args.source)
    manifest = load_manifest(folder)
    networks = [InputAdapter.create(manifest, size_hw).network_hw
                for size_hw in sizes or [manifest.default_size_hw]]
    for network_hw in dict.fromkeys(networks):
        write_beside(folder, manifest, network_hw, args.precision or 'fp32', args.calibration)
    return 0


def _official(args: argparse.Namespace) -> int:
    from crossview_ros.export.official import write_official, write_official_network
    from crossview_ros.training.setup import load_run
    if (args.source / CHECKPOINT).is_file():
        _, architecture, weights, _ = load_run(args.source, args.best)
        write_official_network(args.source, architecture, weights, args.out, args.task)
    else:
        write_official(args.source, args.out, args.task)
    print(f'file      {args.out}  {args.out.stat().st_size / 1e6:.1f} MB')
    return 0


def _simipu_backbone(args: argparse.Namespace) -> int:
    from crossview_ros.export.simipu_backbone import write_simipu_backbone
    from crossview_ros.networks.checkpoint import read_checkpoint
    from crossview_ros.training.setup import load_run
    if (args.source / CHECKPOINT).is_file():
        _, architecture, weights, _ = load_run(args.source, args.best)
    else:
        architecture, weights = read_checkpoint(args.source)
    names = write_simipu_backbone(architecture, weights, args.out, args.prefix)
    print(f'file      {args.out}  {args.out.stat().st_size / 1e6:.1f} MB  {len(names)} tensors, '
          f'{names[0]} ...')
    return 0


def _load(source: Path, task: str | None) -> Any:
    """Return the network of a run or a model: whole, or that of one task."""
    from crossview_ros.networks.checkpoint import load_model, load_network
    if (source / CHECKPOINT).is_file():
        return _trained(source, task)
    return load_network(source) if task is None else load_model(source, task)


def _trained(run_dir: Path, task: str | None) -> Any:
    from crossview_ros.errors import CheckpointError
    from crossview_ros.export.pretraining import without_points
    from crossview_ros.networks.croco import CroCo
    from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
    from crossview_ros.training.setup import load_run
    _, architecture, weights, _ = load_run(run_dir)
    architecture, weights = without_points(architecture, weights)
    tasks = isinstance(architecture, ModelConfig)
    if task is not None and not tasks:
        raise CheckpointError(f"{run_dir}: pre-training has no task '{task}'; leave --task out")
    model = MultiTaskModel(architecture) if tasks else CroCo(architecture)
    model.load_state_dict(weights)
    model = model.eval().requires_grad_(False)
    return model if task is None else model.task(task)


def _own_size(model: Any, source: Path) -> tuple[int, int]:
    """Return the manifest's working size, made a valid input, or what the network is made for."""
    from crossview_ros.errors import ConfigError
    from crossview_ros.model_store import find_model, MANIFEST
    from crossview_ros.runtime.manifest import load_manifest
    if not (source / CHECKPOINT).is_file():
        folder = find_model(source)
        if (folder / MANIFEST).is_file():
            manifest = load_manifest(folder)
            step = manifest.size_multiple
            return tuple(-(-side // step) * step for side in manifest.default_size_hw)
    size_hw = getattr(getattr(model, 'encoder', model).config, 'img_size', None)
    if size_hw is None:
        raise ConfigError(f"'{source}' has no image size of its own; pass --size HxW")
    return tuple(size_hw)


def _normalisation(model: Any) -> Any:
    """Return what a network expects of its input; an encoder alone was trained as all are."""
    from crossview_ros.networks.normalisation import Normalisation
    own = getattr(model, 'normalisation', None)
    return own or getattr(model.config, 'normalisation', Normalisation())


def _size(text: str) -> tuple[int, int]:
    from crossview_ros.errors import ConfigError
    rows, separator, cols = text.partition('x')
    if not (separator and rows.isdigit() and cols.isdigit()):
        raise ConfigError(f"--size expects HxW, e.g. 240x320; got '{text}'")
    return int(rows), int(cols)
