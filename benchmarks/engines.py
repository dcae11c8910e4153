# SPDX-License-Identifier: Apache-2.0
"""
Build engines ahead of time with TensorRT-RTX, which needs no GPU for that, and print a table.

    python benchmarks/engines.py [--models crossview_tiny crossview_small stereo_base ...] \
        [--precisions fp32 fp16] [--targets 8.6 8.9 12.0 | --together]

`crossview_tiny` and `crossview_small` are the shipped models at 256x320 and 320x448.
`stereo_base` and `stereo_large` are CroCo-Stereo with ViT-B and ViT-L encoders, random weights,
at 352x704; their graphs take some GB of memory, so each graph and precision has a process of its
own: where one is killed for its memory, or its build fails, the row says so and the others go on.
The exit code is then 1.

Columns: size of the ONNX graph and of the engine; time to read the graph and to build; the
largest memory that the process had until then.
"""
import argparse
import itertools
from pathlib import Path
import resource
import subprocess
import sys
import tempfile
import time

SHIPPED = {'crossview_tiny': (256, 320), 'crossview_small': (320, 448)}   # size [px]
MODELS = (*SHIPPED, 'stereo_base', 'stereo_large')
TILE_HW = (352, 704)   # [px]


def main() -> int:
    """Build in one process for each graph and precision."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--models', nargs='+', default=MODELS, choices=MODELS)
    parser.add_argument('--precisions', nargs='+', default=('fp32', 'fp16'),
                        choices=('fp32', 'fp16', 'bf16', 'int8'))
    parser.add_argument('--targets', nargs='+', default=('8.6', '8.9', '12.0'),
                        help='compute capabilities')
    parser.add_argument('--together', action='store_true',
                        help='one engine for all of them, as the backend builds it')
    parser.add_argument('--graph', help='of the only model, in the only precision: build this '
                                        'one here')
    args = parser.parse_args()
    if args.graph:
        return build(args)
    print(f'{"model":<16}{"graph":<8}{"type":<6}{"for":<14}{"ONNX":>8}{"engine":>8}{"build":>8}'
          f'{"peak":>8}\n{"":<44}{"MB":>8}{"MB":>8}{"s":>8}{"MB":>8}', flush=True)
    failed = 0
    for model in args.models:
        for precision, graph in itertools.product(args.precisions, graphs_of_model(model)):
            code = subprocess.run([
                sys.executable, __file__, '--models', model, '--precisions', precision, '--graph',
                graph, '--targets', *args.targets, *['--together'] * args.together]).returncode
            failed += code != 0
            if code < 0:   # what the kernel does to the largest process when memory runs out
                print(f'{heading(model, graph, precision)}killed by signal {-code}, '
                      'for its memory if it is 9', flush=True)
    return int(failed > 0)


def build(args: argparse.Namespace) -> int:
    """Build one graph of one model in one precision; return 1 if a build failed."""
    from crossview_ros.errors import BackendError
    from crossview_ros.export.tensorrt import build_engine, EngineOptions
    from crossview_ros.runtime.backends.tensorrt_module import load_tensorrt
    (name,), (precision,) = args.models, args.precisions
    trt = load_tensorrt('tensorrt_rtx')
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        path = write_graph(name, args.graph, precision, Path(folder))
        graph_mb = sum(file.stat().st_size for file in path.parent.iterdir()) / 1e6
        for target in [tuple(args.targets)] if args.together else [(t,) for t in args.targets]:
            row = f'{heading(name, args.graph, precision)}{" ".join(target):<14}{graph_mb:8.1f}'
            start_s = time.perf_counter()
            try:
                engine = build_engine(trt, path, EngineOptions(targets=target))
                peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f'{row}{len(engine) / 1e6:8.1f}{time.perf_counter() - start_s:8.1f}'
                      f'{peak_mb:8.0f}', flush=True)
            except BackendError as error:
                failed += 1
                print(f'{row}  {error}', flush=True)
    return int(failed > 0)


def heading(model: str, graph: str, precision: str) -> str:
    """Return the first columns of a row."""
    return f'{model:<16}{graph:<8}{precision:<6}'


def write_graph(name: str, graph: str, precision: str, folder: Path) -> Path:
    """Export one graph that takes pixels, as the backends do; its model is then forgotten."""
    from crossview_ros.cli.calibration_frames import frame_pairs
    from crossview_ros.export.calibration import calibration_inputs
    from crossview_ros.export.onnx import graphs_of, write_onnx
    network, size_hw = network_of(name), SHIPPED.get(name, TILE_HW)
    normalisation = network.config.normalisation
    exported, = graphs_of(network, size_hw, only=graph, pixels=normalisation)
    pairs = frame_pairs(None, size_hw, 4) if precision == 'int8' else []
    return write_onnx(exported, folder, precision,
                      calibration_inputs(network, exported, pairs, normalisation))


def graphs_of_model(name: str) -> list[str]:
    """Return the names of the graphs of a model."""
    from crossview_ros.model_store import find_model
    from crossview_ros.runtime.manifest import load_manifest
    tasks = load_manifest(find_model(name)).tasks if name in SHIPPED else ['stereo']
    return ['encode', *(task for task in tasks if task != 'pose')]   # that is in flow's graph


def network_of(name: str):
    """Return the shipped model, or one of a released architecture with random weights."""
    import torch
    from crossview_ros.networks.checkpoint import load_multi_task
    from crossview_ros.networks.downstream import MultiTaskModel
    from crossview_ros.networks.presets import croco_stereo, croco_v2_vitb_small
    if name in SHIPPED:
        return load_multi_task(name)
    torch.manual_seed(0)
    config = croco_stereo(croco_v2_vitb_small) if name == 'stereo_base' else croco_stereo()
    return MultiTaskModel(config).eval().requires_grad_(False)


if __name__ == '__main__':
    sys.exit(main())
