# SPDX-License-Identifier: Apache-2.0
"""
Compare the frame rate of Perception with classical CPU methods: SGBM stereo and DIS flow.

    python benchmarks/frame_rate.py [--model crossview_tiny] [--size 240x320] [--threads 2] \
        [--tasks stereo flow]

Both run on the same rendered drive in the same process, frame by frame in turn, so that the
ratio holds where the absolute rates do not. `crossview bench` compares backends in this way.
"""
import argparse
import time

import cv2


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--model', default='crossview_tiny', help='name or folder')
    parser.add_argument('--backend', default='auto')
    parser.add_argument('--size', default='240x320', help='HxW of the images [px]')
    parser.add_argument('--tasks', nargs='+', help='of stereo flow odometry (default: all)')
    parser.add_argument('--frames', type=int, default=30)
    parser.add_argument('--threads', type=int, default=2)
    args = parser.parse_args()
    cv2.setNumThreads(args.threads)
    from crossview_ros.data.synthetic.sample_frames import sample_frames
    from crossview_ros.runtime.benchmark import percentile, StageTimes, time_frames
    from crossview_ros.runtime.perception import Perception
    frames, rig = sample_frames(8, tuple(int(part) for part in args.size.split('x')))
    times, classical_ms, classical = StageTimes(), [], Classical()
    with Perception.open(args.model, args.backend, tasks=args.tasks,
                         num_threads=args.threads) as perception:
        for frame in time_frames([perception], frames, rig, args.frames, [times]):
            classical_ms.append(classical.elapsed_ms(*frame))
        print(f'{args.model}, tasks {", ".join(perception.tasks)}, {perception.backend_name} on '
              f'{perception.device}, {args.threads} threads, {args.size} px')
    print(f'{"":<26}{"p50":>8}{"p95":>8}  unit')
    for name, values in {**times.stages_ms, 'crossview': times.frame_ms,
                         'SGBM + DIS': classical_ms}.items():
        print(f'{name:<26}{percentile(values, 50):8.1f}{percentile(values, 95):8.1f}  ms')
    print(f'{"rate":<26}{times.rate_hz:8.2f}{"":8}  frames/s')
    ratio = percentile(times.frame_ms, 50) / percentile(classical_ms, 50)
    print(f'{"crossview / (SGBM + DIS)":<26}{ratio:8.2f}{"":8}  -')


class Classical:
    """Stereo by semi-global matching, flow by dense inverse search from the frame before."""

    def __init__(self) -> None:
        """Choose the settings that give dense answers."""
        self._flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._stereo = cv2.StereoSGBM_create(0, 64, 3, 8 * 27, 32 * 27,
                                             mode=cv2.STEREO_SGBM_MODE_HH)
        self._previous = None

    def elapsed_ms(self, left, right) -> float:
        """Answer one frame; return how long it took."""
        start_s = time.perf_counter()
        left, right = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (left, right))
        self._stereo.compute(left, right)
        self._flow.calc(left if self._previous is None else self._previous, left, None)
        self._previous = left
        return 1e3 * (time.perf_counter() - start_s)


if __name__ == '__main__':
    main()
