# SPDX-License-Identifier: Apache-2.0
"""
Measure the forward pass of CroCo at the released sizes, against this machine's own matmul rate.

    python benchmarks/croco_forward.py [--cases pretrain_small stereo_small] [--threads 2] \
        [--repeats 15] [--device auto]

Cases, with random weights: ``pretrain_*`` is `CroCo.forward` on one pair of 224x224 images with
90 % of the target hidden (encoder on the 20 visible patches, encoder on the reference, decoder,
pixel head); ``stereo_*`` is the two-view model with its DPT head on one 352x704 tile. ``small``
is ViT-B with the small decoder, ``large`` is ViT-L with the base decoder.

Columns: the median time; its spread (quartiles over median); the peak memory (CPU: resident, of
a fresh process that imports, loads safetensors and runs once; GPU: what PyTorch allocated); the
floating point operations per second by PyTorch's counter; and those over the rate of the best of
20 fp32 products of 1024x1024 matrices, taken in the same process right before each forward.
"""
import argparse
from collections.abc import Callable
import contextlib
import json
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time

CASES = ('pretrain_small', 'stereo_small', 'pretrain_large', 'stereo_large')
LARGE = {'enc_embed_dim': 1024, 'enc_num_layers': 24, 'enc_num_heads': 16,
         'dec_embed_dim': 768, 'dec_num_layers': 12, 'dec_num_heads': 12}
PRODUCT_SIDE = 1024


def main() -> None:
    """Measure each case in processes of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--cases', nargs='+', default=CASES[:2], choices=CASES,
                        help=f'default: {" ".join(CASES[:2])}')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'),
                        help='auto: the CPU, and a GPU where there is one')
    parser.add_argument('--step', choices=('save', 'memory', 'speed'), help=argparse.SUPPRESS)
    parser.add_argument('--weights', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        step = {'save': save, 'memory': peak_memory, 'speed': speed}[args.step]
        print(json.dumps(step(args)))
        return
    print(f'{"case":<16}{"device":<8}{"precision":<16}{"median":>9}{"spread":>8}{"peak":>8}'
          f'{"rate":>10}{"of matmul":>11}')
    print(f'{"":<40}{"ms":>9}{"%":>8}{"MB":>8}{"GFLOP/s":>10}{"%":>11}')
    for case in args.cases:
        for row in measure(case, args):
            print(f'{case:<16}{row["device"]:<8}{row["precision"]:<16}{row["median_ms"]:9.1f}'
                  f'{row["spread"]:8.1f}{row["peak_mb"]:8.0f}{row["gflops"]:10.0f}'
                  f'{row["of_matmul"]:11.1f}', flush=True)


def measure(case: str, args: argparse.Namespace) -> list[dict]:
    """Return the rows of one case; this process stays small, since its children inherit that."""
    with tempfile.TemporaryDirectory() as folder:
        weights = f'{folder}/weights.safetensors'
        run_step('save', case, weights, args)
        peak_mb = run_step('memory', case, weights, args)
        rows = run_step('speed', case, weights, args)
    return [{'peak_mb': peak_mb, **row} for row in rows]


def run_step(step: str, case: str, weights: str, args: argparse.Namespace):
    """Run this file in a fresh process; return what it printed."""
    command = [sys.executable, __file__, '--step', step, '--cases', case, '--weights', weights,
               '--threads', str(args.threads), '--repeats', str(args.repeats),
               '--device', args.device]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def build(case: str):
    """Return the model of a case, uninitialised, and the size of its images [px]."""
    from crossview_ros.networks.croco import CroCo, CroCoConfig, CroCoDecoder, CroCoEncoder
    from crossview_ros.networks.downstream import Normalisation, TwoViewModel
    from crossview_ros.networks.heads import DptHead, DptHeadConfig
    import torch
    kind, size = case.split('_')
    config = CroCoConfig(position='rope', **(LARGE if size == 'large' else {}))
    with torch.device('meta'):
        if kind == 'pretrain':
            return CroCo(config).eval(), (224, 224)
        return TwoViewModel(CroCoEncoder(config), CroCoDecoder(config),
                            DptHead(DptHeadConfig(1), config), Normalisation()).eval(), (352, 704)


def save(args: argparse.Namespace) -> None:
    """Write random weights with the spread of trained ones."""
    from safetensors.torch import save_file
    import torch
    model, _ = build(args.cases[0])
    generator = torch.Generator().manual_seed(0)
    save_file({name: torch.randn(value.shape, generator=generator) * 0.02
               for name, value in model.state_dict().items()}, args.weights)


def load(args: argparse.Namespace):
    """Return the model with its weights mapped from the file, and a forward pass of it."""
    from safetensors.torch import load_file
    import torch
    torch.set_num_threads(args.threads)
    model, size_hw = build(args.cases[0])
    model.load_state_dict(load_file(args.weights), assign=True)
    return model.requires_grad_(False), size_hw


def forward_pass(model, size_hw: tuple[int, int], device: str, dtype) -> Callable[[], object]:
    """Return what is timed: one pair of images through the model."""
    from crossview_ros.networks.croco import CroCo
    from crossview_ros.networks.patches import random_mask
    import torch
    generator = torch.Generator().manual_seed(1)
    images = torch.randn((2, 1, 3, *size_hw), generator=generator).to(device, dtype)
    if not isinstance(model, CroCo):
        return lambda: model(images[0], images[1]).value
    num_patches = size_hw[0] * size_hw[1] // model.config.patch_size ** 2
    mask = random_mask(1, num_patches, model.config.mask_ratio, generator=generator).to(device)
    num_visible = int((~mask).sum())
    return lambda: model.complete(images[0], images[1], mask, num_visible).patches


def peak_memory(args: argparse.Namespace) -> float:
    """Return the peak resident memory [MB] of one forward pass in this fresh process."""
    import resource
    import torch
    with torch.inference_mode():
        forward_pass(*load(args), 'cpu', torch.float32)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def speed(args: argparse.Namespace) -> list[dict]:
    """Return one row for each device and precision."""
    import torch
    model, size_hw = load(args)
    flops = count_flops(forward_pass(model, size_hw, 'cpu', torch.float32))
    rows = []
    if args.device != 'cuda':
        rows.append(row_of(model, size_hw, 'cpu', torch.float32, False, flops, args.repeats))
    if args.device == 'cuda' or args.device == 'auto' and torch.cuda.is_available():
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            model = model.to('cuda', dtype)
            for compiled in (False, True):
                rows.append(row_of(model, size_hw, 'cuda', dtype, compiled, flops,
                                   args.repeats))
    return rows


def count_flops(forward: Callable[[], object]) -> int:
    """Count with PyTorch's counter; attention by its formula, as fused kernels are not counted."""
    import torch
    from torch.nn.attention import sdpa_kernel, SDPBackend
    from torch.utils.flop_counter import FlopCounterMode
    # with gradients switched on linear layers are PyTorch's own, which the counter knows
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), \
            FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops()


def row_of(model, size_hw: tuple[int, int], device: str, dtype, compiled: bool, flops: int,
           repeats: int) -> dict:
    """Time a forward pass, each time right after the machine's own products."""
    import torch
    forward = forward_pass(model, size_hw, device, dtype)
    if compiled:   # a CUDA graph of fused kernels
        forward = torch.compile(forward, mode='reduce-overhead')
    precision = str(dtype).removeprefix('torch.') + ('+compiled' if compiled else '')
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    times_ms, shares = [], []
    with torch.inference_mode() if not compiled else torch.no_grad():
        for _ in range(3):
            elapsed_ms(forward, device)
        for _ in range(repeats):
            rate = matmul_rate(device)
            times_ms.append(elapsed_ms(forward, device))
            shares.append(flops / (1e-3 * times_ms[-1]) / rate)
    low, median_ms, high = statistics.quantiles(times_ms, n=4, method='inclusive')
    row = {'device': device, 'precision': precision, 'median_ms': median_ms,
           'spread': 100 * (high - low) / median_ms, 'gflops': flops / median_ms / 1e6,
           'of_matmul': 100 * statistics.median(shares)}
    if device == 'cuda':
        row['peak_mb'] = torch.cuda.max_memory_allocated() / 1e6
    return row


def matmul_rate(device: str) -> float:
    """Return the operations per second of the best of 20 fp32 products."""
    import torch
    a, b = torch.randn((2, PRODUCT_SIDE, PRODUCT_SIDE), device=device)
    best_ms = min(elapsed_ms(lambda: a @ b, device) for _ in range(20))
    return 2 * PRODUCT_SIDE ** 3 / (1e-3 * best_ms)


def elapsed_ms(work: Callable[[], object], device: str) -> float:
    """Return how long a piece of work takes [ms], the device's part included."""
    import torch
    synchronise = torch.cuda.synchronize if device == 'cuda' else contextlib.nullcontext
    synchronise()
    start_s = time.perf_counter()
    work()
    synchronise()
    return 1e3 * (time.perf_counter() - start_s)


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
