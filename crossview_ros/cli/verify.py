# SPDX-License-Identifier: Apache-2.0
"""
Compare what a backend computes with PyTorch in float32, on rendered frames of a fixed seed.

Each output may deviate by a share of its largest value: what the manifest of the model allows for
the backend and precision, by default 1e-3 for fp32, 2e-2 for fp16, 1e-1 for bf16 and int8.
`--write-tolerance` puts into the manifest what was reached here.
"""
import argparse
from typing import Any

from crossview_ros.cli.console import (
    add_backend_arguments, positive, print_rows, read_size)

MARGIN = 10   # other processors and versions round in another way
HELP = "compare a backend's numbers with PyTorch in float32"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('model', metavar='MODEL', help='name or folder of a model')
    parser.add_argument('--backend', required=True, metavar='B',
                        help='torch, onnxruntime, tensorrt or tensorrt_rtx')
    add_backend_arguments(parser)
    parser.add_argument('--size', metavar='HxW',
                        help="size of the images [px] (default: the model's own)")
    parser.add_argument('--frames', type=positive, default=2, metavar='N',
                        help='rendered stereo frames (default: 2)')
    parser.add_argument('--write-tolerance', action='store_true',
                        help='where all is well, write into the manifest of the model what was '
                             f'reached, times {MARGIN}, as what this backend may deviate')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')


def run(args: argparse.Namespace) -> int:
    """Print the deviations; 1 if one of them is above its tolerance."""
    import json
    from crossview_ros.runtime.manifest import find_model, load_manifest
    manifest = load_manifest(find_model(args.model))
    size_hw = read_size(args.size) if args.size else manifest.default_size_hw
    backend, parities = _compare(args, manifest, size_hw)
    failed = [parity for parity in parities if not parity.ok]
    if args.write_tolerance and not failed:
        _write_tolerance(find_model(args.model), manifest, backend, parities)
    rows, cols = backend['size_hw']
    if args.json:
        print(json.dumps({
            'model': manifest.name, **backend, 'ok': not failed,
            'outputs': [_record(parity, manifest) for parity in parities]}))
        return 1 if failed else 0
    _print_table(parities, manifest)
    said = f'{len(failed)} of {len(parities)} outputs above tolerance' if failed \
        else f'ok: {len(parities)} outputs'
    print(f'{said}, {rows}x{cols} (h x w), {backend["precision"]}, {backend["backend"]} on '
          f'{backend["device"]}')
    return 1 if failed else 0


def calibration_pairs(manifest: Any, size_hw: tuple[int, int], num_frames: int) -> list[tuple]:
    """Return uint8 views: stereo pairs, and each left image with the one before it."""
    from crossview_ros.data.synthetic.sample_frames import sample_frames
    from crossview_ros.runtime.input_adapter import InputAdapter
    adapter = InputAdapter.create(manifest, size_hw)
    frames, _ = sample_frames(num_frames, size_hw)
    views = [tuple(map(adapter.fit, frame)) for frame in frames]
    return [*views, *((before[0], after[0]) for before, after in zip(views, views[1:]))]


def _compare(args: argparse.Namespace, manifest: Any,
             size_hw: tuple[int, int]) -> tuple[dict, list]:
    from dataclasses import replace
    from crossview_ros.runtime.backends import open_backend, OUTPUT_OF_TASK
    from crossview_ros.runtime.backends.auto import sample_pair
    from crossview_ros.runtime.manifest import find_model
    from crossview_ros.runtime.parity import compare_backends
    folder, options = find_model(args.model), backend_options(args)
    heads = [task for task in OUTPUT_OF_TASK if task in manifest.tasks]
    reference = open_backend('torch', folder, manifest,
                             replace(options, device='cpu', precision='fp32'))
    backend = open_backend(args.backend, folder, manifest, options)
    try:
        pairs = calibration_pairs(manifest, size_hw, args.frames)
        if args.write_tolerance:   # also what is compared when a backend is chosen or built
            pairs.append(sample_pair(pairs[0][0].shape[1:3]))
        parities = compare_backends(backend, reference, manifest, heads, pairs)
        return {'backend': backend.name, 'device': backend.device,
                'precision': backend.precision, 'size_hw': list(pairs[0][0].shape[1:3])}, parities
    finally:
        backend.close()
        reference.close()


def backend_options(args: argparse.Namespace) -> Any:
    """Return BackendOptions of the flags; what takes long is told on stderr."""
    from pathlib import Path
    import sys
    from crossview_ros.runtime.backends import BackendOptions
    return BackendOptions(args.device, args.threads, args.precision,
                          cache_dir=Path(args.cache_dir) if args.cache_dir else None,
                          progress=lambda text: print(text, file=sys.stderr))


def _write_tolerance(folder: Any, manifest: Any, backend: dict, parities: list) -> None:
    """Put what was reached into the manifest, between a tenth and all of the default."""
    import copy
    from dataclasses import replace
    from crossview_ros.config import dump_yaml, to_dict
    from crossview_ros.runtime.manifest import MANIFEST
    from crossview_ros.runtime.parity import DEFAULT_TOLERANCE
    tolerance = copy.deepcopy(manifest.tolerance)
    reached = tolerance.setdefault(backend['backend'], {})[backend['precision']] = {}
    most = DEFAULT_TOLERANCE[backend['precision']]
    for parity in parities:   # of outputs of one name the worst counts
        allowed = min(max(MARGIN * parity.relative, most / 10), most)
        reached[parity.output] = max(_rounded_up(allowed), reached.get(parity.output, 0.0))
    text = dump_yaml(to_dict(replace(manifest, tolerance=tolerance)))
    (folder / MANIFEST).write_text(text, encoding='utf-8')


def _rounded_up(value: float) -> float:
    """Return the next number with one digit, such as 3e-05."""
    import math
    exponent = math.floor(math.log10(value))
    return float(f'{math.ceil(value * 10.0 ** -exponent - 1e-6)}e{exponent}')


def _print_table(parities: list, manifest: Any) -> None:
    rows = [('output', 'max abs err', 'tolerance', 'relative', 'unit')]
    for parity in parities:
        record = _record(parity, manifest)
        rows.append((f'{parity.graph} {parity.output}', f'{parity.max_error:.1e}',
                     f'{record["tolerance"]:.1e}', f'{parity.relative:.1e}', record['unit']))
    print_rows(rows, '<>>><')


def _record(parity: Any, manifest: Any) -> dict[str, Any]:
    """Return plain values; the tolerance in the unit of the output."""
    from crossview_ros.runtime.backends import OUTPUT_OF_TASK
    return {'graph': parity.graph, 'output': parity.output, 'max_error': parity.max_error,
            'tolerance': parity.tolerance * parity.max_value, 'relative': parity.relative,
            'unit': manifest.outputs[parity.graph].unit
            if parity.output == OUTPUT_OF_TASK[parity.graph] else '-',
            'ok': parity.ok}
