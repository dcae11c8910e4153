# SPDX-License-Identifier: Apache-2.0
"""Formats tensorrt and tensorrt-rtx of the verb export: engines built before they are needed."""
import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
import sys
import time
from typing import Any

ENGINE_FORMATS = ('tensorrt', 'tensorrt-rtx')
PRECISION = 'fp16'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags that only engines have."""
    parser.add_argument('--force', action='store_true',
                        help='tensorrt: build engines anew that are in the cache')
    parser.add_argument('--max-batch', type=int, default=1, metavar='N',
                        help='tensorrt: images or tiles at once (inference.tile_batch where '
                             'inference.mode is tiled; default: 1)')
    parser.add_argument('--target', action='append', metavar='M.N',
                        help='tensorrt-rtx: compute capability to build for, may be repeated '
                             '(default: the GPU here; without one 8.6, 8.9 and 12.0)')
    parser.add_argument('--cache-dir', type=Path, metavar='DIR',
                        help='tensorrt: where the engines go (default: ~/.cache/crossview_ros)')


def run(args: argparse.Namespace, sizes: list[tuple[int, int] | None]) -> int:
    """
    Build every engine of a model into the cache; compare them with PyTorch where a GPU is.

    :param sizes: Of the images [px]; None: the model's own.
    """
    from crossview_ros.errors import BackendError
    from crossview_ros.runtime.backends import BackendOptions
    from crossview_ros.runtime.backends.engines import EngineSource
    from crossview_ros.runtime.backends.tensorrt_ import TensorRtBackend
    from crossview_ros.runtime.backends.tensorrt_module import load_tensorrt
    from crossview_ros.runtime.manifest import find_model, load_manifest
    from crossview_ros.runtime.options import PerceptionOptions
    from crossview_ros.runtime.tiled_inference import network_size
    folder = find_model(args.source)
    manifest = load_manifest(folder)
    trt = load_tensorrt(args.format.replace('-', '_'))
    gpu = _gpu(required=args.format == 'tensorrt')
    networks = list(dict.fromkeys(
        network_size(manifest, PerceptionOptions(inference_size=size_hw)) for size_hw in sizes))
    if args.precision == 'int8':
        _calibrate(args, folder, manifest, networks)
    with _progress_line() as progress:
        options = BackendOptions(precision=args.precision or PRECISION, cache_dir=args.cache_dir,
                                 max_batch=args.max_batch, progress=progress)
        source = EngineSource(trt, gpu, folder, manifest, options)
        if args.target:
            source.engine_options = replace(source.engine_options, targets=tuple(args.target))
        lost = False
        for network_hw in networks:
            out = args.out if args.out is None or len(networks) == 1 \
                else args.out / '{}x{}'.format(*network_hw)
            lost |= _build(source, network_hw, args.force, out)
        if lost and args.out is None:
            raise BackendError(f'{source.cache} cannot be written: nothing was kept')
        if gpu is None:
            print('not compared with PyTorch: no GPU here; the first start on one does it')
        else:
            for network_hw in networks:
                _compare(TensorRtBackend(source.trt.__name__, folder, manifest, options),
                         network_hw)
    return 0


def _calibrate(args: argparse.Namespace, folder: Path, manifest: Any,
               networks: list[tuple[int, int]]) -> None:
    """Write the int8 graphs that are not there, or all where a bag is given."""
    from crossview_ros.cli.export_graphs import missing, write_beside
    for network_hw in networks:
        if args.calibration is not None or missing(folder, manifest, network_hw, 'int8'):
            write_beside(folder, manifest, network_hw, 'int8', args.calibration)


def _build(source: Any, network_hw: tuple[int, int], force: bool, out: Path | None) -> bool:
    """Print a line for each engine; return whether the cache did not keep one."""
    lost = False
    for graph, key in source.keys(network_hw, source.options.precision).items():
        start_s = time.perf_counter()
        plan = source.plan(graph, key, network_hw, force)
        path = source.cache / key.file_name
        lost |= not path.is_file()
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            path = out / f'{graph}.engine'
            path.write_bytes(plan)
        print(f'engine    {graph:<8}{network_hw[0]}x{network_hw[1]} {key.precision} '
              f'{len(plan) / 1e6:.1f} MB  {time.perf_counter() - start_s:.1f} s  {path}')
    print(f'for       {key.builder}, {key.gpu}, {key.shapes}')
    return lost


def _compare(backend: Any, network_hw: tuple[int, int]) -> None:
    """Load the engines as a node does, which refuses wrong ones."""
    try:
        for parity in backend.prepare(network_hw):
            print(f'parity    {parity.graph:<8}{parity.output:<12}{parity.relative:.1e} '
                  f'(tolerance {parity.tolerance:.1e})')
    finally:
        backend.close()


def _gpu(required: bool) -> Any:
    """Return the GPU here; None without one where that is no error."""
    from crossview_ros.errors import BackendError
    from crossview_ros.runtime.backends.cuda import gpu_facts, load_cuda
    from crossview_ros.runtime.backends.engines import Gpu
    try:
        return Gpu(*gpu_facts(load_cuda()))
    except BackendError:
        if required:
            raise
        return None


@contextmanager
def _progress_line() -> Iterator[Any]:
    """Give what shows progress in one line of stderr, where that is a terminal."""
    shown = sys.stderr.isatty()
    yield lambda text: shown and print(f'\r{text:<78}', end='', file=sys.stderr, flush=True)
    if shown:
        print(f'\r{"":<78}\r', end='', file=sys.stderr, flush=True)
