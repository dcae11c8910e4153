# SPDX-License-Identifier: Apache-2.0
"""
Score and show how a SimIPU or joint run matches image and LiDAR points.

    python benchmarks/simipu_matches.py RUN [--best] [--cache-dir cache/records]
    python benchmarks/simipu_matches.py RUN --sample SAMPLE --out matches.png [--lines 40] \
        [--sides 832 256]

Without a sample, the held-out records of the run (rendered where they are missing): how often the
feature of the image at a point's pixel is among the tenth of the frame's points that are most
alike, and how often the best one lies within two feature cells of it, each beside chance.

SAMPLE is a folder of `crossview pairs` (its image + cloud pairs; --number chooses) or a folder
with image.png, points.bin (x, y, z [m], reflectance) and calib.json (K and T_cam_lidar). The
picture shows the image twice: above, points coloured by depth; below, the same points where the
image's features find them, joined to where they are. Green: within two cells.
"""
import argparse
from dataclasses import replace
import json
from pathlib import Path
from typing import Any

from crossview_ros.data.camera_clouds import CameraCloud, of_sample
from crossview_ros.data.contrastive_views import contrastive_views, stack_views
from crossview_ros.data.io import read_image, read_point_file
from crossview_ros.data.pair_shards import ImagePointShards
from crossview_ros.data.samples import ImagePointSample
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.se3 import transform_points
from crossview_ros.training.clouds import still_views
from crossview_ros.training.contrastive_scores import (
    find_matches, match_metrics, match_sums, Matches)
from crossview_ros.training.records import prepare_records
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.setup import load_run
from crossview_ros.training.tasks import TASKS
from crossview_ros.training.tasks.simipu import cell_px
import cv2
import numpy as np
import torch
from torch import nn

GREEN, RED, GREY = (60, 200, 60), (60, 60, 230), (160, 160, 160)   # BGR


def main() -> None:
    """Print the scores, or draw."""
    parser = argparse.ArgumentParser(description=__doc__.strip().splitlines()[0])
    parser.add_argument('run', type=Path, help='run folder of task simipu or joint')
    parser.add_argument('--best', action='store_true', help='of the best validation')
    parser.add_argument('--cache-dir', type=Path, default=Path('cache/records'))
    parser.add_argument('--sample', type=Path)
    parser.add_argument('--number', type=int, default=0, help='of a pair in the folder')
    parser.add_argument('--out', type=Path, default=Path('matches.png'))
    parser.add_argument('--sides', type=int, nargs=2, metavar='PX',
                        help='long and short side that the image is fitted into (default: as in '
                             'training)')
    parser.add_argument('--lines', type=int, default=40, help='matches that are drawn')
    args = parser.parse_args()
    config, architecture, weights, history = load_run(args.run, args.best)
    task = TASKS[config.task](config)
    model = task.build()
    model.load_state_dict(weights)
    model.eval()
    if args.sample is None:
        metrics = held_out(task, model, config, args.cache_dir)
    else:
        metrics = show(model, config, read_sample(args.sample, args.number), args)
    print(f'run {args.run}, step {history["step"]}')
    for name, value in metrics.items():
        print(f'{name:<40}{value:8.2f}')


def held_out(task: Any, model: nn.Module, config: RunConfig, cache: Path) -> dict[str, float]:
    """Score the run's own held-out records."""
    few = replace(config.data, online=True)   # of the training records one shard suffices
    _, folder = prepare_records(few, cache, kind=task.records_config())
    return task.validate(model, task.batches(folder, config, model.config)
                         .validation_batches(config.batch_size))


def read_sample(path: Path, number: int) -> CameraCloud:
    """Read an image with its cloud."""
    if (path / 'index.json').exists():
        return of_sample(ImagePointShards(path)[number])
    calibration = json.loads((path / 'calib.json').read_text())
    image, scan = read_image(path / 'image.png'), read_point_file(path / 'points.bin', 4)
    k, T = np.array(calibration['K']).reshape(3, 3), np.array(calibration['T_cam_lidar'])
    camera = PinholeCamera(image.shape[1], image.shape[0], k[0, 0], k[1, 1], k[0, 2], k[1, 2])
    return of_sample(ImagePointSample(
        image, transform_points(T, scan[:, :3]).astype(np.float32), camera, path.name,
        scan[:, 3], T))


def show(model: nn.Module, config: RunConfig, cloud: CameraCloud,
         args: argparse.Namespace) -> dict[str, float]:
    """Draw the matches of one sample and score them."""
    settings = still_views(config.data)
    if args.sides:
        long_side, short_side = ((side, side) for side in args.sides)
        settings = replace(settings, image=replace(settings.image, long_side_px=long_side,
                                                   short_side_px=short_side))
    views = contrastive_views(cloud.image, cloud.points, cloud.lidar_to_image, settings,
                              np.random.default_rng(0))
    batch = {name: torch.from_numpy(value) for name, value in stack_views([views]).items()}
    joint = config.task == 'joint'
    with torch.no_grad():
        output = model.compare(batch) if joint else model(batch)
    side = cell_px(model.contrast.config if joint else model.config)
    matches = find_matches(output, batch)
    image = draw(cloud.image, matches, output.xyz[0, :, 0].numpy(),
                 views['image_transform'], side, args.lines)
    cv2.imwrite(str(args.out), image)
    return match_metrics(match_sums(matches, side))


def draw(image: np.ndarray, matches: Matches, depth: np.ndarray, transform: np.ndarray,
         side: int, lines: int) -> np.ndarray:
    """Return both pictures, one above the other."""
    scale = transform[0, 0], transform[1, 1]
    pixels = (matches.pixels[0].numpy() - transform[:, 2]) / scale   # of the original image
    found = pixels[matches.best[0].numpy()]
    near = np.linalg.norm((found - pixels) * scale, axis=1) <= 2 * side
    above, below = (cv2.cvtColor(image, cv2.COLOR_RGB2BGR) for _ in range(2))
    shade = np.clip(255 * (1 - depth / np.quantile(depth, 0.95)), 0, 255).astype(np.uint8)
    colours = cv2.applyColorMap(shade[:, None], cv2.COLORMAP_TURBO)[:, 0].tolist()
    for place, colour in zip(pixels, colours):
        cv2.circle(above, _whole(place), 3, colour, -1)
    chosen = np.linspace(0, len(pixels) - 1, min(lines, len(pixels))).round().astype(int)
    for i in chosen:
        cv2.line(below, _whole(pixels[i]), _whole(found[i]), GREEN if near[i] else RED, 1,
                 cv2.LINE_AA)
        cv2.circle(below, _whole(pixels[i]), 3, GREY, -1)
        cv2.circle(below, _whole(found[i]), 3, GREEN if near[i] else RED, -1)
    return np.concatenate((above, below))


def _whole(place: np.ndarray) -> tuple[int, int]:
    return round(float(place[0])), round(float(place[1]))


if __name__ == '__main__':
    main()
