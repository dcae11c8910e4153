# SPDX-License-Identifier: Apache-2.0
"""
Count the work of a stereo pair and estimate its rate on GPUs that were not measured.

    python benchmarks/estimate.py [--models crossview_tiny stereo_base stereo_large] \
        [--sizes 256x320 352x704] [--flow]

FLOP: products and sums of matrix products, attention and convolutions for both encodings and
the stereo head, by PyTorch's counter on tensors without data. With --flow also those of the flow
from the previous left image, whose encoding is kept. Weights and activations: bytes of
half precision, each activation of a block counted as written once and read twice. A GPU does a
share of its peak (EFFICIENCY): time = max(FLOP / (share * peak), bytes / (share * bandwidth)).
Estimates, no measurements; `crossview bench` measures.
"""
import argparse

import engines
import torch
from torch.utils.flop_counter import FlopCounterMode

# dense FP16 tensor rate [TFLOP/s] and memory bandwidth [GB/s] of the data sheets
GPUS = {'Orin Nano 8 GB (15 W)': (10.0, 68.0), 'Orin Nano Super': (16.7, 102.0),
        'Orin NX 16 GB': (15.0, 102.0), 'AGX Orin 64 GB': (42.5, 204.8),
        'RTX 3060': (51.0, 360.0), 'RTX 4070': (117.0, 504.0)}
EFFICIENCY = 0.35   # share of both peaks that transformers of this size reach
HALF = 2            # [bytes]


def main() -> None:
    """Print a table of the work, and one of the estimated rates."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--models', nargs='+', default=engines.MODELS, choices=engines.MODELS)
    parser.add_argument('--sizes', nargs='+', default=('256x320', '352x704'), metavar='HxW')
    parser.add_argument('--flow', action='store_true', help='of stereo and flow')
    args = parser.parse_args()
    tasks = ('stereo', 'flow') if args.flow else ('stereo',)
    print(f'{"model":<16}{"size":<10}{"GFLOP":>8}{"weights":>10}{"moved":>8}', end='')
    print(''.join(f'{name:>23}' for name in GPUS))
    print(f'{"":<16}{"px":<10}{"":>8}{"MB":>10}{"MB":>8}' + f'{"pairs/s":>23}' * len(GPUS))
    for name in args.models:
        model = engines.network_of(name).to('meta')
        for size in args.sizes:
            flop, weights, moved = work(model, tuple(map(int, size.split('x'))), tasks)
            rates = [EFFICIENCY / max(flop / (peak * 1e12), (weights + moved) / (band * 1e9))
                     for peak, band in GPUS.values()]
            print(f'{name:<16}{size:<10}{flop / 1e9:8.1f}{weights / 1e6:10.0f}{moved / 1e6:8.0f}'
                  + ''.join(f'{rate:23.1f}' for rate in rates))


def work(model, size_hw: tuple[int, int], tasks: tuple[str, ...]) -> tuple[float, float, float]:
    """Return FLOP, bytes of the weights and bytes of activations that one frame needs."""
    moved = [0]

    def note(module, inputs, output):
        if isinstance(output, torch.Tensor) and not list(module.children()):
            moved[0] += 3 * HALF * output.numel()
    hooks = [module.register_forward_hook(note) for module in model.modules()]
    image = torch.zeros((1, 3, *size_hw), device='meta')
    with torch.device('meta'), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        left, right = model.encode(image), model.encode(image)
        for task in tasks:
            model.predict(task, left, right)
    for hook in hooks:
        hook.remove()
    parts = (model.encoder, model.decoder, *(model.heads[task] for task in tasks))
    weights = HALF * sum(p.numel() for part in parts for p in part.parameters())
    return counter.get_total_flops(), weights, moved[0]


if __name__ == '__main__':
    main()
