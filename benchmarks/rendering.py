# SPDX-License-Identifier: Apache-2.0
"""
Measure how many training samples a second the renderer gives.

    python benchmarks/rendering.py [--size 256x320] [--batch 4] [--threads 2] [--device auto]

Scenes have at least 20 objects besides floor and walls. "stereo" are pairs of left and right with
disparity and occlusion of the left view; "records" add the left view of the moment before, flow
and its occlusion; "croco" are the pairs that CroCo pre-training compares, without dense truth.
"""
import argparse
from functools import partial
import statistics
import time


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('--size', default='256x320', help='HxW of the images [px]')
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--repeats', type=int, default=8)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='auto', choices=('auto', 'cpu', 'cuda'))
    args = parser.parse_args()
    import torch
    from crossview_ros.data.synthetic.dataset import ATLAS_SIZE, render_records
    from crossview_ros.data.synthetic.draw import Draw
    from crossview_ros.data.synthetic.random_scene import SceneConfig
    from crossview_ros.data.synthetic.textures import make_atlas
    from crossview_ros.data.synthetic.view_pairs import PairConfig, render_pairs
    torch.set_num_threads(args.threads)
    device = torch.device('cuda' if args.device == 'cuda' or args.device == 'auto'
                          and torch.cuda.is_available() else 'cpu')
    size_hw = tuple(int(part) for part in args.size.split('x'))
    atlas = make_atlas(ATLAS_SIZE, 0, 'train').to(device)
    scene = SceneConfig()
    objects = scene.num_boxes + scene.num_ellipsoids + scene.num_cylinders
    print(f'{args.size} px, {objects} objects, {device.type}, {args.threads} threads')
    print(f'{"":<10}{"per second":>12}{"spread":>8}\n{"":<10}{"":>12}{"%":>8}')
    stereo = partial(render_records, wanted=('left', 'right', 'disparity', 'left_occluded'))
    for name, render, config in (('stereo', stereo, scene), ('records', render_records, scene),
                                 ('croco', render_pairs, PairConfig())):
        draw = Draw(torch.Generator(device).manual_seed(0))
        rates = [args.batch / timed(render, args.batch, size_hw, config, atlas, draw)
                 for _ in range(args.repeats + 1)][1:]   # the first one allocates
        low, median, high = statistics.quantiles(rates, n=4, method='inclusive')
        print(f'{name:<10}{median:12.1f}{100 * (high - low) / median:8.1f}')


def timed(render, *arguments) -> float:
    """Return how long a batch takes [s], the device's part included."""
    import torch
    start_s = time.perf_counter()
    with torch.inference_mode():
        render(*arguments)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start_s


if __name__ == '__main__':
    main()
