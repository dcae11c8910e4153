# SPDX-License-Identifier: Apache-2.0
"""
Measure stereo and flow on rendered scenes that no training saw, by what makes pixels hard.

    python benchmarks/held_out.py [--models crossview_small crossview_tiny] [--count 32]
        [--size 384x512] [--sharpen auto] [--records DIR] [--pictures DIR]

The scenes are those of `config/train/crossview_small_3_volume.yaml` with textures and seeds of
their own. Every pixel with truth belongs to one row: "hidden" in the other image; "edges" within
6 px of a jump of the truth by more than 3 px; "plain" where the image has next to no texture;
"fast" flow beyond 8 px, for flow only; "else". Figures are end-point errors [px] and the share of
pixels off by more than 2 px. Baselines: SGBM with its holes filled, DIS.
"""
import argparse
import itertools
from pathlib import Path
import tempfile

RECIPE = Path(__file__).resolve().parents[1] / 'config' / 'train' / 'crossview_small_3_volume.yaml'
BASELINES = {'stereo': 'sgbm-filled', 'flow': 'dis'}
SEED = 77
JUMP_PX, REACH_PX, FAST_PX, BAD_PX = 3.0, 6, 8.0, 2.0
PLAIN_WINDOW_PX, PLAIN_LEVELS = 15, 4.0   # texture: the mean gradient of a window [grey levels]


def main() -> None:
    """Render, answer, and print a table for each task."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--models', nargs='+', default=['crossview_small', 'crossview_tiny'])
    parser.add_argument('--count', type=int, default=32, help='scenes, in steps of 32')
    parser.add_argument('--size', default='384x512', help='HxW of the images [px]')
    parser.add_argument('--sharpen', default='auto', choices=('auto', 'on', 'off'))
    parser.add_argument('--records', type=Path, help='folder that keeps the scenes for next time')
    parser.add_argument('--pictures', type=Path, help='folder for the worst answers of the first '
                                                      'model, one for each kind of pixel')
    args = parser.parse_args()
    from crossview_ros.config import load_config
    from crossview_ros.data.synthetic.dataset import ShardDataset, write_shards
    from crossview_ros.evaluation.methods import BaselineMethod, open_model
    from crossview_ros.training.run_config import RunConfig
    scenes = load_config(RunConfig, RECIPE, []).data.scenes
    size_hw = tuple(int(part) for part in args.size.split('x'))
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.records or temporary
        write_shards(folder, args.count, size_hw, SEED, 'holdout', scenes)
        records = ShardDataset(folder)
        for task in ('stereo', 'flow'):
            methods = [open_model(name, task, sharpen=args.sharpen) for name in args.models]
            methods.append(BaselineMethod(BASELINES[task], task))
            print_table(task, records, methods, args.pictures)


def print_table(task: str, records, methods: list, pictures: Path | None) -> None:
    """Score every method on every record; draw where the first is worst."""
    import numpy as np
    sums, worst = {}, {}
    for index, method in itertools.product(range(len(records)), methods):
        sample, image, truth, kinds = scene(task, records, index)
        answer = method.answer(sample).value
        error = np.nan_to_num(lengths(answer - truth), nan=20.0)
        for kind, where in kinds.items():
            found = error[where]
            total = sums.setdefault((kind, method.name), np.zeros(3))
            total += found.sum(), (found > BAD_PX).sum(), found.size
            badness = found.sum() / error.size
            if method is methods[0] and kind != 'all' and badness > worst.get(kind, (0,))[0]:
                worst[kind] = badness, index, image, answer, truth
    names = [Path(method.name).name for method in methods]
    print(f'\n{task:<10}{"pixels":>8}' + ''.join(f'{name[:22]:>24}' for name in names))
    print(f'{"":<10}{"%":>8}' + f'{"px":>14}{"bad-2 %":>10}' * len(names))
    everything = sums['all', methods[0].name][2]
    for kind in dict.fromkeys(kind for kind, _ in sums):
        cells = (sums[kind, method.name] for method in methods)
        print(f'{kind:<10}{100 * sums[kind, methods[0].name][2] / everything:8.1f}' + ''.join(
            f'{total / max(count, 1):14.2f}{100 * bad / max(count, 1):10.1f}'
            for total, bad, count in cells))
    if pictures is not None:
        from crossview_ros.evaluation.pictures import write_picture
        for kind, (_, index, image, answer, truth) in worst.items():
            write_picture(pictures / f'{task}_{kind}.png', task,
                          f'{names[0]}: {task}, worst of 32 scenes at "{kind}"', image, answer,
                          truth)


def scene(task: str, records, index: int) -> tuple:
    """Return the sample, its first image, the truth, and the pixels (H, W) of each kind."""
    import cv2
    from crossview_ros.data.samples import FlowSample, StereoSample
    import numpy as np
    sample, stored = records.sample(index), records.record(index)
    if task == 'stereo':
        hidden, truth, image = stored['left_occluded'][0], sample.disparity, sample.left
        sample = StereoSample(sample.left, sample.right, truth)
    else:
        hidden, truth, image = stored['previous_occluded'][0], sample.flow, sample.previous
        sample = FlowSample(sample.previous, sample.left, truth)
    known = np.isfinite(lengths(truth))
    field = np.nan_to_num(truth.reshape(*known.shape, -1))
    kernel = np.ones((2 * REACH_PX + 1, 2 * REACH_PX + 1), np.uint8)
    jumps = [np.abs(np.diff(field, axis=axis, append=np.take(field, [-1], axis))).max(-1) > JUMP_PX
             for axis in (0, 1)]
    edges = cv2.dilate((jumps[0] | jumps[1]).astype(np.uint8), kernel) > 0
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gradient = np.abs(cv2.Sobel(grey, -1, 1, 0)) / 8 + np.abs(cv2.Sobel(grey, -1, 0, 1)) / 8
    plain = cv2.blur(gradient, (PLAIN_WINDOW_PX, PLAIN_WINDOW_PX)) < PLAIN_LEVELS
    masks = {'hidden': hidden, 'edges': edges, 'plain': plain}
    if task == 'flow':
        masks['fast'] = lengths(truth) > FAST_PX
    kinds, rest = {'all': known}, known.copy()
    for kind, mask in masks.items():
        kinds[kind], rest = rest & mask, rest & ~mask
    if task == 'flow':
        kinds['fast, any'] = known & masks['fast']
    return sample, image, truth, {**kinds, 'else': rest}


def lengths(field):
    """Return the absolute values (H, W) of numbers, or the lengths of vectors (H, W, 2)."""
    import numpy as np
    return np.abs(field) if field.ndim == 2 else np.linalg.norm(field, axis=2)


if __name__ == '__main__':
    main()
