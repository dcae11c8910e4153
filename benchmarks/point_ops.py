# SPDX-License-Identifier: Apache-2.0
"""
Measure farthest point sampling, ball query and three-nearest search.

    python benchmarks/point_ops.py [--points 16384 65536] [--threads 2] [--repeats 5] \
        [--device auto]

The cloud is uniform in 70.4 x 80 x 4 m, seed 0; a quarter of its points are sampled, and serve as
centres of the ball query (0.4 to 0.8 m, 64 neighbours) and as known points of the search.

Columns: the median time; its spread (quartiles over median); the pairs of points compared per
second; and the bytes these pairs take, at 12 bytes for a point and 4 for its distance, over time.
"""
import argparse
from collections.abc import Callable, Iterator
import statistics
import time

from crossview_ros.networks.point_ops import ball_query, farthest_points, three_nearest
import torch

EXTENT_M = (70.4, 80.0, 4.0)
BYTES_PER_PAIR = 16


def main() -> None:
    """Print one row for each operation, size and device."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--points', nargs='+', type=int, default=(16384, 65536))
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'),
                        help='auto: the CPU, and a GPU where there is one')
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    devices = ['cpu', 'cuda'] if args.device == 'auto' else [args.device]
    print(f'{"operation":<17}{"points":>7}{"device":>8}{"median":>10}{"spread":>8}{"rate":>11}'
          f'{"traffic":>9}')
    print(f'{"":<32}{"ms":>10}{"%":>8}{"Gpairs/s":>11}{"GB/s":>9}')
    for device in devices:
        if device == 'cuda' and not torch.cuda.is_available():
            continue
        for count in args.points:
            for name, call in operations(count, device):
                median_s, spread = measure(call, device, args.repeats)
                pairs = count * (count // 4) / median_s / 1e9
                print(f'{name:<17}{count:>7}{device:>8}{1e3 * median_s:10.1f}'
                      f'{100 * spread:8.1f}{pairs:11.3f}{BYTES_PER_PAIR * pairs:9.1f}',
                      flush=True)


def operations(count: int, device: str) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield what is timed."""
    generator = torch.Generator().manual_seed(0)
    cloud = torch.rand((1, count, 3), generator=generator) * torch.tensor(EXTENT_M)
    cloud = cloud.to(device)
    yield 'farthest_points', lambda: farthest_points(cloud, count // 4)
    centers = cloud[:, ::4].contiguous()
    yield 'ball_query', lambda: ball_query(cloud, centers, 0.4, 0.8, 64)
    yield 'three_nearest', lambda: three_nearest(cloud, centers)


def measure(call: Callable[[], object], device: str, repeats: int) -> tuple[float, float]:
    """Return the median time [s] and the quartiles' distance over it, after a warm-up."""
    call()
    times_s = []
    for _ in range(max(2, repeats)):
        start_s = time.perf_counter()
        call()
        if device == 'cuda':
            torch.cuda.synchronize()
        times_s.append(time.perf_counter() - start_s)
    low, median, high = statistics.quantiles(times_s, n=4)
    return median, (high - low) / median


if __name__ == '__main__':
    main()
