# SPDX-License-Identifier: Apache-2.0
"""
Build engines ahead of time with TensorRT-RTX, which needs no GPU for that, and print a table.

    python benchmarks/engines.py [--models crossview_tiny stereo_base stereo_large] \
        [--precisions fp32 fp16] [--targets 8.6 8.9 12.0 | --together]

`crossview_tiny` is the shipped model at 256x320. `stereo_base` and `stereo_large` are
CroCo-Stereo with ViT-B and ViT-L encoders, random weights, at 352x704; their graphs take some
GB of memory, so each model and precision has a process of its own.

Columns: size of the ONNX graph and of the engine; time to read the graph and to build; the
largest memory that the process had until then.
"""
import argparse
from pathlib import Path
import resource
import subprocess
import sys
import tempfile
import time

MODELS = ('crossview_tiny', 'stereo_base', 'stereo_large')
TILE_HW = (352, 704)   # [px]
TINY_HW = (256, 320)   # [px]


def main() -> int:
    """Build in one process for each model and precision."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--models', nargs='+', default=MODELS, choices=MODELS)
    parser.add_argument('--precisions', nargs='+', default=('fp32', 'fp16'),
                        choices=('fp32', 'fp16', 'bf16'))
    parser.add_argument('--targets', nargs='+', default=('8.6', '8.9', '12.0'),
                        help='compute capabilities')
    parser.add_argument('--together', action='store_true',
                        help='one engine for all of them, as the backend builds it')
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        build_all(args)
        return 0
    print(f'{"model":<16}{"graph":<8}{"type":<6}{"for":<14}{"ONNX":>8}{"engine":>8}{"build":>8}'
          f'{"peak":>8}\n{"":<44}{"MB":>8}{"MB":>8}{"s":>8}{"MB":>8}', flush=True)
    failed = 0
    for model in args.models:
        for precision in args.precisions:
            failed += subprocess.run([
                sys.executable, __file__, '--one', '--models', model, '--precisions', precision,
                '--targets', *args.targets, *['--together'] * args.together]).returncode != 0
    return int(failed > 0)


def build_all(args: argparse.Namespace) -> None:
    """Build every graph of one model in one precision."""
    from crossview_ros.export.onnx import graphs_of, write_onnx
    from crossview_ros.export.tensorrt import build_engine, EngineOptions
    from crossview_ros.runtime.backends.tensorrt_module import load_tensorrt
    (name,), (precision,) = args.models, args.precisions
    trt = load_tensorrt('tensorrt_rtx')
    targets = [tuple(args.targets)] if args.together else [(one,) for one in args.targets]
    graphs = graphs_of(network_of(name), TINY_HW if name == 'crossview_tiny' else TILE_HW)
    while graphs:
        graph = graphs.pop(0)
        with tempfile.TemporaryDirectory() as folder:
            path = write_onnx(graph, Path(folder), precision)
            graph_mb = sum(file.stat().st_size for file in Path(folder).iterdir()) / 1e6
            graph = None   # its weights are needed no more
            for target in targets:
                start_s = time.perf_counter()
                engine = build_engine(trt, path, EngineOptions(targets=target))
                peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                print(f'{name:<16}{path.stem:<8}{precision:<6}{" ".join(target):<14}'
                      f'{graph_mb:8.1f}{len(engine) / 1e6:8.1f}'
                      f'{time.perf_counter() - start_s:8.1f}{peak_mb:8.0f}', flush=True)


def network_of(name: str):
    """Return the shipped model, or one of a released architecture with random weights."""
    import torch
    from crossview_ros.networks.checkpoint import load_multi_task
    from crossview_ros.networks.downstream import MultiTaskModel
    from crossview_ros.networks.presets import croco_stereo, croco_v2_vitb_small
    if name == 'crossview_tiny':
        return load_multi_task(name)
    torch.manual_seed(0)
    config = croco_stereo(croco_v2_vitb_small) if name == 'stereo_base' else croco_stereo()
    return MultiTaskModel(config).eval().requires_grad_(False)


if __name__ == '__main__':
    sys.exit(main())
