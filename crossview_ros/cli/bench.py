# SPDX-License-Identifier: Apache-2.0
"""
Measure how long a model takes for each frame and stage, on a rendered drive.

Several backends answer the same frames in turn, so that ratios hold where the machine is busy.
"""
import argparse
from contextlib import ExitStack
import sys
from typing import Any

from crossview_ros.cli.console import (
    add_backend_arguments, positive, print_rows, read_size)

HELP = 'measure latency, rate and memory of a model, per stage'
NUM_RENDERED = 8   # they are played forwards and backwards


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('model', metavar='MODEL', help='name or folder of a model')
    parser.add_argument('--backend', nargs='+', default=['auto'], metavar='B',
                        help='one or more of auto, torch, onnxruntime, tensorrt, tensorrt_rtx '
                             '(default: auto)')
    add_backend_arguments(parser)
    parser.add_argument('--size', metavar='HxW',
                        help="size of the images [px] (default: the model's own)")
    parser.add_argument('--tasks', nargs='+', metavar='T',
                        help='of stereo flow odometry (default: all of the model)')
    parser.add_argument('--frames', type=positive, default=20, metavar='N',
                        help='measured frames (default: 20)')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    import json
    import cv2
    from crossview_ros.data.synthetic.sample_frames import sample_frames
    from crossview_ros.runtime.benchmark import StageTimes, time_frames
    from crossview_ros.runtime.manifest import find_model, load_manifest
    manifest = load_manifest(find_model(args.model))
    size_hw = read_size(args.size) if args.size else manifest.default_size_hw
    if args.threads:
        cv2.setNumThreads(args.threads)
    with ExitStack() as stack:
        opened = [stack.enter_context(_open(args, name)) for name in args.backend]
        frames, rig = sample_frames(min(args.frames, NUM_RENDERED), size_hw)
        times = [StageTimes() for _ in opened]
        for _ in time_frames(opened, frames, rig, args.frames, times):
            pass
        report = _report(manifest, size_hw, args, list(zip(opened, times)))
    if args.json:
        print(json.dumps(report))
    else:
        _print_table(report)
    return 0


def _open(args: argparse.Namespace, backend: str) -> Any:
    from crossview_ros.runtime.perception import Perception
    opened = Perception.open(
        args.model, backend, args.device, args.tasks, num_threads=args.threads,
        precision=args.precision, engine_cache_dir=args.cache_dir,
        progress=lambda text: print(text, file=sys.stderr))
    if backend == 'auto':
        print(f'auto: {opened.backend_name}: {opened.backend_reason}', file=sys.stderr)
    return opened


def _report(manifest: Any, size_hw: tuple[int, int], args: argparse.Namespace,
            measured: list[tuple[Any, Any]]) -> dict[str, Any]:
    from crossview_ros.replay.facts import machine_facts
    from crossview_ros.runtime.platform_facts import platform_figures
    return {
        'model': manifest.name, 'size_hw': list(size_hw), 'frames': args.frames,
        'threads': args.threads, 'tasks': list(measured[0][0].tasks),
        'backends': [{
            'backend': opened.backend_name, 'device': opened.device,
            'precision': opened.precision, 'reason': opened.backend_reason,
            'rate_hz': times.rate_hz, 'stages_ms': times.figures()}
            for opened, times in measured],
        'fastest': max(measured, key=lambda pair: pair[1].rate_hz)[0].backend_name,
        'platform': platform_figures(), 'machine': machine_facts()}


def _print_table(report: dict[str, Any]) -> None:
    backends = report['backends']
    print(f'{report["model"]}, {", ".join(report["tasks"])}, '
          f'{report["size_hw"][0]}x{report["size_hw"][1]} px, '
          f'{report["threads"] or "default"} threads, {report["frames"]} frames')
    heads = [f'{item["backend"]} {item["device"]} {item["precision"]}' for item in backends]
    rows = [('', *(text for head in heads for text in (head, '')), ''),
            ('stage', *('p50', 'p95') * len(backends), 'unit')]
    for stage in backends[0]['stages_ms']:
        rows.append((stage, *(f'{item["stages_ms"][stage][name]:.1f}' for item in backends
                              for name in ('p50', 'p95')), 'ms'))
    rows.append(('rate', *(text for item in backends
                           for text in (f'{item["rate_hz"]:.2f}', '')), 'frames/s'))
    print_rows(rows, '<' + '>' * 2 * len(backends) + '<')
    if len(backends) > 1:
        print(f'fastest  {report["fastest"]}')
    for name, value in report['platform'].items():
        label, _, unit = name.rpartition('_')
        print(f'{label.replace("_", " ")}  {value:.0f}  {unit.upper()}')
    for name, version in report['machine'].items():
        print(f'{name}  {version}')
