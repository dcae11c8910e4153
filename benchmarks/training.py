# SPDX-License-Identifier: Apache-2.0
"""
Measure pre-training steps of CroCo: throughput, waiting for data, memory, share of matmul rate.

    python benchmarks/training.py [--sizes small base] [--device auto] [--steps 10] \
        [--batch-size N] [--no-compile] [--threads 2]

Sizes: ``small`` is a ViT-S encoder (384 wide, 12 blocks of 6 heads), ``base`` ViT-B (768 wide, 12
blocks of 12 heads), both with RoPE and the small decoder (512 wide, 8 blocks of 16 heads). A step
is what `crossview pretrain` does (`Trainer.fit`): records of 256x256 read from shards (noise: the
content costs nothing), crops of 224x224, colours, 90 % of the target hidden, forward, backward,
clipping, AdamW, average of the weights; one log record a step.

Columns: the median over the steps after the first three (with compiling: five) of pairs per
second; the share of the time spent waiting for data; the peak memory (CPU: resident, of a fresh
process; GPU: what PyTorch allocated); the floating point operations of forward and backward by
PyTorch's counter over the time of the whole step; and those over the rate of the best of 20
products of square matrices in the precision of the run, taken before and after the steps.
"""
import argparse
import json
from pathlib import Path
import statistics
import subprocess
import sys
import tempfile
import time

WIDTHS = {'small': (384, 6), 'base': (768, 12)}   # of the encoder: channels, heads
CROP_HW, STORED_HW = (224, 224), (256, 256)       # [px]
BATCH = {'cpu': 4, 'cuda': 256}                   # pairs a step
NUM_RECORDS = 512                                 # pairs on disk
PRODUCT_SIDE = {'cpu': 1024, 'cuda': 8192}
HEADING = ('size', 'device', 'precision', 'batch', 'pairs/s', 'wait %', 'peak MB', 'TFLOP/s',
           'of matmul %')


def main() -> None:
    """Measure each case in a process of its own, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--sizes', nargs='+', default=list(WIDTHS), choices=WIDTHS)
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'),
                        help='auto: the CPU, and a GPU where there is one')
    parser.add_argument('--steps', type=int, default=10, help='measured ones (default: 10)')
    parser.add_argument('--batch-size', type=int, help='pairs (default: 4 on a CPU, 256 on a GPU)')
    parser.add_argument('--no-compile', action='store_true', help='GPU: without torch.compile')
    parser.add_argument('--threads', type=int, default=2, help='of the CPU (default: 2)')
    parser.add_argument('--case', help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case:
        print(json.dumps(measure(*json.loads(args.case), args)))
        return
    print(''.join(f'{name:>12}' for name in HEADING))
    for case in cases(args):
        command = [sys.executable, *sys.argv, '--case', json.dumps(case)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        print(''.join(f'{value:12.3g}' if isinstance(value, float) else f'{value:>12}'
                      for value in row), flush=True)


def cases(args: argparse.Namespace) -> list[tuple[str, str, str]]:
    """Return size, device and precision of each row."""
    import torch
    pairs = [('cpu', 'fp32')] if args.device != 'cuda' else []
    if args.device == 'cuda' or args.device == 'auto' and torch.cuda.is_available():
        pairs.append(('cuda', 'bf16'))
    return [(size, *pair) for size in args.sizes for pair in pairs]


def measure(size: str, device: str, precision: str, args: argparse.Namespace) -> list:
    """Train some steps; return the row of the table."""
    import torch
    torch.set_num_threads(args.threads)
    batch_size = args.batch_size or BATCH[device]
    compiled = device == 'cuda' and not args.no_compile
    skipped = 5 if compiled else 3
    with tempfile.TemporaryDirectory() as folder:
        records = []
        trainer = open_trainer(size, device, precision, batch_size, compiled,
                               skipped + args.steps, Path(folder), records.append)
        rate = matmul_rate(device, precision)
        trainer.fit()
        rate = max(rate, matmul_rate(device, precision))
    records = [r for r in records if 'loss' in r][skipped:skipped + args.steps]
    step_s = statistics.median(r['step_s'] for r in records)
    flops = batch_size * flops_of_a_pair(size)
    return [size, device, precision + ('+c' if compiled else ''), batch_size,
            batch_size / step_s,
            statistics.fmean(r['data_wait_percent'] for r in records), peak_mb(device),
            flops / step_s / 1e12, 100 * flops / step_s / rate]


def architecture(size: str):
    """Return the network's configuration."""
    from crossview_ros.networks.croco import CroCoConfig
    dim, heads = WIDTHS[size]
    return CroCoConfig(img_size=CROP_HW, enc_embed_dim=dim, enc_num_heads=heads, position='rope')


def open_trainer(size: str, device: str, precision: str, batch_size: int, compiled: bool,
                 steps: int, folder: Path, report):
    """Return the Trainer of a run on noise that neither validates nor saves on the way."""
    from crossview_ros.config import from_dict
    from crossview_ros.networks.croco import CroCo
    from crossview_ros.training.blocks import prepare_blocks
    from crossview_ros.training.engine import Engine
    from crossview_ros.training.loop import Trainer
    from crossview_ros.training.run_config import RunConfig
    from crossview_ros.training.run_state import RunFolder
    from crossview_ros.training.tasks import TASKS
    import torch
    config = from_dict(RunConfig, {
        'task': 'croco', 'steps': 10 ** 9, 'batch_size': batch_size, 'precision': precision,
        'log_every': 1, 'validate_every': 10 ** 9, 'checkpoint_every': 10 ** 9,
        'data': {'size_hw': STORED_HW, 'crop_hw': CROP_HW, 'scale_range': (1.0, 1.0),
                 'num_records': NUM_RECORDS},
        'engine': {'compiled': compiled, 'tensorboard': False,
                   'batches_ahead': 1 if device == 'cpu' else 8}}, 'benchmark')
    write_noise(folder / 'records')
    torch.manual_seed(0)
    task = TASKS['croco'](config)
    model = CroCo(architecture(size)).to(device)
    prepare_blocks(model, config.engine)
    batches = task.batches(folder / 'records', config, model.config)
    run = RunFolder(folder / 'run')
    run.create(config)
    trainer = Trainer(config, model, task, batches, batches, run, report,
                      Engine(torch.device(device), precision))

    def stop_before_the_end(record: dict) -> None:
        report(record)
        if record['step'] == steps:   # one more follows; the end of a run would validate
            trainer.stop()
    trainer.report = stop_before_the_end
    return trainer


def write_noise(folder: Path) -> None:
    """Write shards of pairs as the renderer does, with noise in the place of scenes."""
    from crossview_ros.data.synthetic.dataset import SHARD
    import numpy as np
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(NUM_RECORDS // SHARD):
        np.savez(folder / f'{number:05d}.npz', **{
            view: rng.integers(0, 256, (SHARD, 3, *STORED_HW), np.uint8)
            for view in ('target', 'reference')})


def flops_of_a_pair(size: str) -> int:
    """Count forward and backward; attention by its formula, as fused kernels are not counted."""
    from crossview_ros.networks.croco import CroCo
    from crossview_ros.networks.patches import random_mask
    import torch
    from torch.nn.attention import sdpa_kernel, SDPBackend
    from torch.utils.flop_counter import FlopCounterMode
    model = CroCo(architecture(size))
    num_patches = model.config.grid_hw[0] * model.config.grid_hw[1]
    images = torch.zeros(2, 1, 3, *CROP_HW)
    mask = random_mask(1, num_patches, model.config.mask_ratio)
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model(images[0], images[1], mask).patches.sum().backward()
    return counter.get_total_flops()


def matmul_rate(device: str, precision: str) -> float:
    """Return the operations per second of the best of 20 products."""
    import torch
    side = PRODUCT_SIDE[device]
    dtype = torch.bfloat16 if precision == 'bf16' else torch.float32
    a, b = torch.randn((2, side, side), device=device).to(dtype)
    times_s = []
    for _ in range(20):
        synchronise(device)
        start_s = time.perf_counter()
        a @ b
        synchronise(device)
        times_s.append(time.perf_counter() - start_s)
    return 2 * side ** 3 / min(times_s)


def synchronise(device: str) -> None:
    """Wait for the device."""
    import torch
    if device == 'cuda':
        torch.cuda.synchronize()


def peak_mb(device: str) -> float:
    """Return the most memory that was in use [MB]."""
    import resource
    import torch
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == '__main__':
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    main()
