# SPDX-License-Identifier: Apache-2.0
"""Say what a finished folder of pairs holds: figures, and a sheet of thumbnails."""
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from crossview_ros.data.io import write_image
from crossview_ros.data.pair_shards import ImagePointShards, PairShards, Shards
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.geometry.projection import project_points
from crossview_ros.replay.pair_run import PairState
import cv2
import numpy as np

STATISTICS, SHEET = 'statistics.json', 'sheet.png'
THUMB_PX = 240    # width of a thumbnail
COLUMNS, ROWS = 3, 10
FAR_M = 40.0      # points from here on have the last colour


def statistics(folder: Path, state: PairState) -> dict[str, Any]:
    """
    Sum up the shards of a folder.

    :return: ``pairs``: a row for each kind of pair of each bag's camera, with medians;
        ``dropped``: counts by camera, kind and reason; ``notes``; ``total``.
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for kind in ('pairs', 'clouds'):
        shards = Shards(folder, kind)
        for index in range(len(shards)):
            info = shards.info(index)
            groups[info['bag'], info['kind']].append(
                {name: info.get(name) for name in (
                    'covisibility', 'parallax_deg', 'num_points', 'method')})
    rows = [{'bag': bag, 'kind': kind, 'count': len(group),
             'method': ', '.join(sorted({entry['method'] or 'calibration' for entry in group})),
             **{f'median_{name}': _median(group, name)
                for name in ('covisibility', 'parallax_deg', 'num_points')}}
            for (bag, kind), group in groups.items()]
    return {'total': state.records, 'pairs': rows, 'dropped': state.dropped,
            'notes': state.notes, 'options': state.request['options']}


def write_sheet(folder: Path) -> Path:
    """Draw pairs that are spread over the whole folder side by side, with their figures."""
    tiles = list(_pair_tiles(folder, ROWS * COLUMNS))
    tiles += _cloud_tiles(folder, ROWS * COLUMNS // 3)
    height, width = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    rows = -(-len(tiles) // COLUMNS)
    sheet = np.full((rows * (height + 6), min(COLUMNS, len(tiles)) * (width + 6), 3), 255,
                    np.uint8)
    for number, tile in enumerate(tiles):
        y, x = number // COLUMNS * (height + 6), number % COLUMNS * (width + 6)
        sheet[y:y + tile.shape[0], x:x + tile.shape[1]] = tile
    path = folder / SHEET
    write_image(path, sheet)
    return path


def _median(group: list[dict[str, Any]], name: str) -> float | None:
    values = [entry[name] for entry in group if entry[name] is not None]
    return round(float(np.median(values)), 4) if values else None


def _pair_tiles(folder: Path, most: int) -> Iterator[np.ndarray]:
    shards = Shards(folder, 'pairs')
    if not len(shards):
        return
    pairs = PairShards(folder)
    for index in _spread(len(pairs), most):
        sample, info = pairs[index], shards.info(index)
        yield _tile(sample.target, sample.reference,
                    f'{info["kind"]} {sample.name}: {100 * info["covisibility"]:.0f} % '
                    f'co-visible, {info["parallax_deg"]:.1f} deg')


def _cloud_tiles(folder: Path, most: int) -> Iterator[np.ndarray]:
    shards = Shards(folder, 'clouds')
    if not len(shards):
        return
    samples = ImagePointShards(folder)
    for index in _spread(len(samples), most):
        sample, info = samples[index], shards.info(index)
        yield _tile(sample.image, _with_points(sample.image, sample.points, sample.camera),
                    f'cloud {sample.name}: {len(sample.points)} points, '
                    f'{info["cloud_offset_ms"]:.0f} ms')


def _spread(count: int, most: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, most))})


def _tile(first: np.ndarray, second: np.ndarray, text: str) -> np.ndarray:
    """Return two thumbnails side by side under a line of text."""
    height = round(THUMB_PX * first.shape[0] / first.shape[1])
    images = [cv2.resize(image, (THUMB_PX, height), interpolation=cv2.INTER_AREA)
              for image in (first, second)]
    line = np.full((18, 2 * THUMB_PX, 3), 255, np.uint8)
    cv2.putText(line, text, (3, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate((line, np.concatenate(images, axis=1)))


def _with_points(image: np.ndarray, points: np.ndarray, camera: PinholeCamera) -> np.ndarray:
    """Return the image with its points drawn, red near and blue far."""
    drawn = image.copy()
    uv, depth, in_view = project_points(points, camera)
    shade = (255 * np.clip(1 - depth[in_view] / FAR_M, 0, 1)).astype(np.uint8)
    colours = cv2.applyColorMap(shade, cv2.COLORMAP_JET).reshape(-1, 3)[:, ::-1]
    radius = max(1, image.shape[1] // THUMB_PX // 2)
    for (u, v), colour in zip(uv[in_view], colours):
        cv2.circle(drawn, (round(u), round(v)), radius, colour.tolist(), -1)
    return drawn
