# SPDX-License-Identifier: Apache-2.0
"""
Measure how many stereo pairs a second Perception answers, beside classical CPU methods.

    python benchmarks/frame_rate.py [--model crossview_tiny] [--size 240x320] [--threads 2] \
        [--tasks stereo flow]

Both run on the same rendered drive in the same process, frame by frame in turn, so that the
ratio holds where the absolute rates do not.
"""
import argparse
import statistics
import time

import cv2


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--model', default='crossview_tiny', help='name or folder')
    parser.add_argument('--size', default='240x320', help='HxW of the images [px]')
    parser.add_argument('--tasks', nargs='+', help='of stereo flow odometry (default: all)')
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    rows, cols = (int(part) for part in args.size.split('x'))
    cv2.setNumThreads(args.threads)
    from crossview_ros.data.synthetic.drive import DriveConfig, render_drive
    from crossview_ros.runtime.perception import Perception
    config = DriveConfig(size_hw=(rows, cols), num_frames=args.frames + 3,
                         focal_px=260.0 * cols / 320)
    frames = list(render_drive(config, seed=1))
    with Perception.open(args.model, tasks=args.tasks,
                         num_threads=args.threads) as perception:
        network_ms, classical_ms, stages_ms = measure(perception, frames, config.rig)
        print(f'{args.model}, tasks {", ".join(perception.tasks)}, {perception.backend_name} on '
              f'{perception.device}, {args.threads} threads, {rows}x{cols} px')
    print(f'{"":<26}{"p50":>8}{"p95":>8}  unit')
    for name, times in (('crossview', network_ms), ('SGBM + DIS', classical_ms)):
        print(f'{name:<26}{percentile(times, 50):8.1f}{percentile(times, 95):8.1f}  ms')
    for name, times in stages_ms.items():
        print(f'  {name:<24}{percentile(times, 50):8.1f}{percentile(times, 95):8.1f}  ms')
    print(f'{"rate":<26}{1000 / statistics.mean(network_ms):8.2f}{"":8}  frames/s')
    ratio = percentile(network_ms, 50) / percentile(classical_ms, 50)
    print(f'{"crossview / (SGBM + DIS)":<26}{ratio:8.2f}{"":8}  -')


def measure(perception, frames, rig) -> tuple[list[float], list[float], dict[str, list[float]]]:
    """Return times per frame [ms]: network, classical, and the network's stages."""
    network_ms, classical_ms, stages_ms = [], [], {}
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    sgbm = cv2.StereoSGBM_create(0, 64, 3, 8 * 27, 32 * 27, mode=cv2.STEREO_SGBM_MODE_HH)
    previous = None
    for index, frame in enumerate(frames):
        start_s = time.perf_counter()
        result = perception.process(frame.left, frame.right, rig,
                                    1 + round(1e9 * frame.time_s))
        middle_s = time.perf_counter()
        left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
                       for image in (frame.left, frame.right))
        sgbm.compute(left, right)
        if previous is not None:
            dis.calc(previous, left, None)
        end_s = time.perf_counter()
        previous = left
        if index < 3:   # the first frames have no flow, and warm up
            continue
        network_ms.append(1e3 * (middle_s - start_s))
        classical_ms.append(1e3 * (end_s - middle_s))
        for stage, value in result.timing_ms.items():
            stages_ms.setdefault(stage, []).append(value)
    return network_ms, classical_ms, stages_ms


def percentile(values: list[float], percent: int) -> float:
    """Return a percentile, interpolated."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method='inclusive')[percent - 1]


if __name__ == '__main__':
    main()
