# SPDX-License-Identifier: Apache-2.0
"""
Hold a model to the accuracy that accuracy.json states; `make bench-accuracy` runs it.

It answers the real samples that the tests use: stereo pairs and one flow pair at half size, a
drive of 25 m, and a camera that stands still. Exit status: 0 nothing is lost, 1 a figure is worse
than stated by more than its noise, 2 the samples are absent. The stated noise is what another
processor, thread count or backend may change, not the spread between images.
"""
import argparse
import json
from pathlib import Path
import sys
import tempfile

from crossview_ros.data.folders import find_samples
from crossview_ros.evaluation.methods import open_model
from crossview_ros.evaluation.scores import score_samples
from crossview_ros.replay.run import replay_bag, ReplayOptions
from crossview_ros.runtime.perception import Perception

ROOT = Path(__file__).resolve().parents[1]
STATED = Path(__file__).with_name('accuracy.json')
SCALE = 0.5
# figures of a replay that are held: name -> noise, in their unit
DRIVE = {'odometry.drift_percent': 0.5, 'odometry.rpe': 0.005, 'odometry.rpe_angle': 0.02,
         'photo.error': 0.5, 'flow.photo': 0.5}
STILL = {'odometry.away': 0.005, 'odometry.turn': 0.05, 'odometry.path': 0.005}
DENSE = {'stereo': 'epe', 'flow': 'epe'}   # task -> figure of each sample [px]
DENSE_NOISE = 0.03                         # of the value


def main() -> int:
    """Measure, then compare with the file or write it."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--model', default='crossview_tiny', help='name or folder')
    parser.add_argument('--data', type=Path, default=ROOT.parent / 'shared' / 'data',
                        help='folder with stereo, flow and bags (default: ../shared/data)')
    parser.add_argument('--stated', type=Path, default=STATED, help='default: accuracy.json')
    parser.add_argument('--update', action='store_true', help='write the file instead')
    args = parser.parse_args()
    if not (args.data / 'stereo').is_dir():
        print(f'bench-accuracy: {args.data} is absent. The samples may not be given on: see '
              'docs/evaluation.md for what they are; --data names another folder.',
              file=sys.stderr)
        return 2
    measured = {**measure_dense(args.model, args.data), **measure_replays(args.model, args.data)}
    if args.update:
        args.stated.write_text(json.dumps({'model': args.model, 'figures': measured}, indent=1)
                               + '\n', encoding='utf-8')
        print(f'written: {args.stated}')
        return 0
    stated = json.loads(args.stated.read_text(encoding='utf-8'))['figures']
    lost = losses(measured, stated)
    print_table(measured, stated, lost)
    return 1 if lost else 0


def measure_dense(model: str, data: Path) -> dict[str, dict]:
    """Return the error of disparity and flow on each sample at half size."""
    found = {}
    for task, figure in DENSE.items():
        method = open_model(model, task)
        try:
            scores = score_samples(task, find_samples(task, data / task), [method], SCALE)
        finally:
            method.close()
        for score in scores:
            metric = score.metrics[figure]
            found[f'{task}.{score.sample}'] = _figure(metric.value, metric.unit,
                                                      DENSE_NOISE * metric.value)
    return found


def measure_replays(model: str, data: Path) -> dict[str, dict]:
    """Return the figures of a drive, and of a camera that stands still."""
    found = {}
    for name, bag, noise, rectify in (('drive', 'kitti_raw_residential_a', DRIVE, False),
                                      ('still', 'euroc_v101_static_a', STILL, True)):
        options = ReplayOptions(model=model, rectify=rectify, outputs=False)
        with Perception.open(**options.perception_options()) as perception, \
                tempfile.TemporaryDirectory() as out:
            report = replay_bag(data / 'bags' / bag, perception, options, Path(out), title=name,
                                command='benchmarks/accuracy.py')
        for figure, spread in noise.items():
            metric = report.figures[figure]
            found[f'{name}.{figure}'] = _figure(metric.value, metric.unit, spread)
        found[f'{name}.lost'] = _figure(report.track.num_lost, 'frames', 0)
    return found


def losses(measured: dict[str, dict], stated: dict[str, dict]) -> list[str]:
    """Return the figures that are worse than stated by more than the noise, or missing."""
    return [name for name, figure in stated.items() if name not in measured
            or not measured[name]['value'] <= figure['value'] + figure['noise']]


def print_table(measured: dict[str, dict], stated: dict[str, dict], lost: list[str]) -> None:
    """Print a row for each figure; less is better in all of them."""
    print(f'{"figure":<32}{"measured":>10}{"stated":>10}{"noise":>9}  unit')
    for name, figure in stated.items():
        now = measured.get(name, {'value': float('nan')})['value']
        gained = now < figure['value'] - figure['noise']
        mark = '  LOST' if name in lost else '  gained' if gained else ''
        print(f'{name:<32}{now:10.4f}{figure["value"]:10.4f}{figure["noise"]:9.4f}  '
              f'{figure["unit"]}{mark}')
    print(f'{len(lost)} of {len(stated)} figures lost' if lost else
          f'all {len(stated)} figures within the noise or better')


def _figure(value: float, unit: str, noise: float) -> dict:
    return {'value': round(float(value), 5), 'noise': round(float(noise), 5), 'unit': unit}


if __name__ == '__main__':
    sys.exit(main())
