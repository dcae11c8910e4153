# SPDX-License-Identifier: Apache-2.0
"""Verb convert: official checkpoints of CroCo, its downstream models and SimIPU to our format."""
import argparse
import json
from pathlib import Path

HELP = 'turn official checkpoints of CroCo, CroCo-Stereo, -Flow and SimIPU into a model folder'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags."""
    parser.add_argument('official', metavar='OFFICIAL.pth', type=Path,
                        help='official checkpoint; nothing that it holds is run')
    parser.add_argument('second', metavar='FLOW.pth', type=Path, nargs='?',
                        help='the other task, where CroCo-Stereo and CroCo-Flow become one model')
    parser.add_argument('out', metavar='OUT', type=Path, help='folder to write, models/<name>')
    parser.add_argument('--dtype', default='fp32', choices=('fp32', 'fp16'),
                        help='of the stored weights (default: fp32, as in the file)')
    parser.add_argument('--json', action='store_true', help='print one JSON object')


def run(args: argparse.Namespace) -> int:
    """Write the folder, and say what was found and what was written."""
    from crossview_ros.cli.info import checkpoint_info, print_checkpoint
    from crossview_ros.export.convert import convert_official
    import torch
    sources = [args.official] if args.second is None else [args.official, args.second]
    dtype = {'fp32': torch.float32, 'fp16': torch.float16}[args.dtype]
    written = convert_official(sources, args.out, dtype)
    found = [checkpoint_info(source) for source in sources]
    sizes = {file.name: file.stat().st_size for file in written}
    if args.json:
        print(json.dumps({'sources': found, 'out': str(args.out), 'files': sizes}))
        return 0
    for facts in found:
        print_checkpoint(facts)
        print()
    print(f'model         {args.out}')
    for name, size in sizes.items():
        print(f'file          {name}  {size / 1e6:.1f} MB')
    return 0
