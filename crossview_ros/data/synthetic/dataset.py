# SPDX-License-Identifier: Apache-2.0
"""Rendered training records: two time steps of a stereo camera, with exact truth, in shards."""
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
import json
from multiprocessing import get_context
import os
from pathlib import Path

from crossview_ros.data.samples import MultiSample
from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.lidar_frames import (
    LidarFrameConfig, render_lidar_frames, STORED_FRAME)
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.raycast import length
from crossview_ros.data.synthetic.shading import expose
from crossview_ros.data.synthetic.textures import make_atlas, TextureAtlas
from crossview_ros.data.synthetic.truth import motion_field
from crossview_ros.data.synthetic.view_pairs import PairConfig, render_pairs, STORED_PAIR
from crossview_ros.errors import DatasetError
from crossview_ros.file_lock import locked
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np
import torch
from torch import Tensor

SHARD = 32       # records in a shard file
INDEX = 'index.json'
LOCK = 'rendering.lock'
ATLAS_SIZE = 256
RENDERER = 3     # raised when the same settings begin to give other images
SEED_OF_SPLIT = {'train': 0, 'holdout': 500_000_000}
STORED = {'previous': np.uint8, 'left': np.uint8, 'right': np.uint8, 'disparity': np.float16,
          'flow': np.float16, 'left_occluded': np.bool_, 'previous_occluded': np.bool_}
STORED_CAMERA = {'focal': np.float32, 'baseline': np.float32, 'T_left_previous': np.float32}
MAX_FLOW_SHARE = 0.35   # of the width; beyond it the truth is left out


def render_records(batch: int, size_hw: tuple[int, int], config: SceneConfig,
                   atlas: TextureAtlas, draw: Draw,
                   wanted: Collection[str] = (*STORED, *STORED_CAMERA)) -> dict[str, Tensor]:
    """
    Render previous left, left and right images of random scenes.

    :param draw: Of ``batch`` rows; decides the device.
    :param wanted: What is returned; the rest is not rendered, and changes none of it.
    :return: ``previous``, ``left``, ``right`` (B, 3, H, W) in [0, 1]; ``disparity`` (B, 1, H, W)
        [px] of left; ``flow`` (B, 2, H, W) [px] previous -> left, NaN beyond `MAX_FLOW_SHARE`;
        ``left_occluded`` (in right) and ``previous_occluded`` (in left) (B, 1, H, W) bool;
        ``focal`` [px], ``baseline`` [m] (B,), ``T_left_previous`` (B, 4, 4).
    """
    scenes, view = sample_scenes(batch, size_hw, config, len(atlas), draw)
    T_left = torch.eye(4, device=view.focal.device).repeat(batch, 1, 1)
    T_right = T_left.clone()
    T_right[:, 0, 3] = view.baseline
    first = torch.zeros_like(view.focal)
    cameras = {
        'previous': Cameras.centred(size_hw, view.focal, view.T_world_previous, first),
        'left': Cameras.centred(size_hw, view.focal, T_left, first + 1),
        'right': Cameras.centred(size_hw, view.focal, T_right, first + 1)}
    flow_names = {'flow', 'previous_occluded'}.intersection(wanted)
    views = {name: render(scenes, atlas, camera) for name, camera in cameras.items()
             if name in wanted or name == 'left' or name == 'previous' and flow_names}
    fields = expose({name: view.image for name, view in views.items()}, 'left', draw)
    fields |= {'focal': view.focal, 'baseline': view.baseline,
               'T_left_previous': view.T_world_previous}
    if {'disparity', 'left_occluded'}.intersection(wanted):
        to_right, fields['left_occluded'] = motion_field(scenes, views['left'], cameras['left'],
                                                         cameras['right'])
        fields['disparity'] = -to_right[:, :1]
    if flow_names:
        flow, fields['previous_occluded'] = motion_field(
            scenes, views['previous'], cameras['previous'], cameras['left'])
        beyond = length(flow, 1)[:, None] > MAX_FLOW_SHARE * size_hw[1]
        fields['flow'] = torch.where(beyond, torch.nan, flow)
    return {name: fields[name] for name in wanted}


# what a config asks for -> how it is rendered, and what of it is kept in which type
KINDS = {SceneConfig: (render_records, {**STORED, **STORED_CAMERA}),
         PairConfig: (render_pairs, STORED_PAIR),
         LidarFrameConfig: (render_lidar_frames, STORED_FRAME)}
Kind = SceneConfig | PairConfig | LidarFrameConfig


def write_shards(folder: str | Path, count: int, size_hw: tuple[int, int], seed: int,
                 split: str = 'train', config: Kind = SceneConfig(),
                 progress: Callable[[int, int], None] | None = None, jobs: int = 1) -> None:
    """
    Render records to a folder; what is already there is kept, so it may be stopped at any time.

    :param split: 'train' or 'holdout'; textures and scenes of the two never meet.
    :param config: Decides the kind of record: two steps of a stereo camera, a pair of
        views, or stereo images with a LiDAR.
    :param jobs: Processes, of one thread each; 1 renders in this process.
    :param progress: Called with (records done, records wanted).
    :raises DatasetError: If the folder holds records of another kind.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    header = {'size_hw': list(size_hw), 'seed': seed, 'split': split, 'config': repr(config),
              'renderer': RENDERER}
    work = partial(_write_shard, folder=folder, size_hw=size_hw, seed=seed, split=split,
                   config=config, atlas_size=ATLAS_SIZE)
    with locked(folder / LOCK):   # who waits finds what the other has made
        _check_header(folder / INDEX, header)
        num_shards = -(-count // SHARD)
        missing = [number for number in range(num_shards)
                   if not (folder / f'{number:05d}.npz').exists()]
        with _mapping(min(jobs, len(missing))) as mapping:
            for done, _ in enumerate(mapping(work, missing), num_shards - len(missing) + 1):
                if progress:
                    progress(done * SHARD, num_shards * SHARD)


def _check_header(index: Path, header: dict) -> None:
    if not index.exists():
        index.write_text(json.dumps(header), encoding='utf-8')
    elif json.loads(index.read_text(encoding='utf-8')) != header:
        raise DatasetError(f'{index.parent} holds records rendered with other settings; delete '
                           'it or choose another --cache-dir')


@contextmanager
def _mapping(jobs: int) -> Iterator[Callable]:
    """Give the built-in map, or one over several processes."""
    if jobs < 2:
        yield map
        return
    # spawn: a fork would copy the locks of torch's threads
    with ProcessPoolExecutor(jobs, get_context('spawn'), torch.set_num_threads, (1,)) as pool:
        try:
            yield pool.map
        finally:
            pool.shutdown(cancel_futures=True)


@lru_cache(maxsize=1)
def _atlas(size: int, seed: int, split: str) -> TextureAtlas:
    return make_atlas(size, seed, split)


def _write_shard(number: int, folder: Path, size_hw: tuple[int, int], seed: int, split: str,
                 config: Kind, atlas_size: int) -> None:
    render, stored = KINDS[type(config)]
    atlas = _atlas(atlas_size, seed, split)
    seed = (seed + SEED_OF_SPLIT[split]) * 100_003 + number
    draw = Draw(torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        parts = [render(4, size_hw, config, atlas, draw) for _ in range(SHARD // 4)]
    arrays = {}
    for name, dtype in stored.items():
        field = torch.cat([part[name] for part in parts]).cpu().numpy()
        arrays[name] = np.rint(field * 255).astype(dtype) if dtype == np.uint8 \
            else field.astype(dtype)
    path = folder / f'{number:05d}.npz'
    temporary = path.with_suffix('.tmp')
    with temporary.open('wb') as file:
        np.savez(file, **arrays)
    os.replace(temporary, path)


class ShardDataset:
    """Records of a folder by number; each is a dict of arrays, typed as in `KINDS`."""

    def __init__(self, folder: str | Path):
        """
        Open a folder.

        :raises DatasetError: If it holds no shard.
        """
        self.paths = sorted(Path(folder).glob('*.npz'))
        if not self.paths:
            raise DatasetError(f'{folder}: no rendered records (*.npz) there')
        self._open: dict[int, dict[str, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self.paths) * SHARD

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        arrays, row = self._locate(index)
        return {name: arrays[name][row] for name in arrays if name not in STORED_CAMERA}

    def record(self, index: int) -> dict[str, np.ndarray]:
        """Return all that is stored of a record, its camera included."""
        arrays, row = self._locate(index)
        return {name: values[row] for name, values in arrays.items()}

    def sample(self, index: int) -> MultiSample:
        """Return a record with its camera, fields in float32 and the flow's NaN kept."""
        record = self.record(index)
        rows, cols = record['left'].shape[1:]
        focal = float(record['focal'])
        camera = PinholeCamera(cols, rows, focal, focal, (cols - 1) / 2, (rows - 1) / 2)
        previous, left, right = (np.ascontiguousarray(record[name].transpose(1, 2, 0))
                                 for name in ('previous', 'left', 'right'))
        return MultiSample(previous, left, right, record['disparity'][0].astype(np.float32),
                           record['flow'].transpose(1, 2, 0).astype(np.float32),
                           StereoRig(camera, camera, float(record['baseline'])),
                           np.linalg.inv(record['T_left_previous'].astype(np.float64)))

    def _locate(self, index: int) -> tuple[dict[str, np.ndarray], int]:
        shard, row = divmod(range(len(self))[index], SHARD)
        arrays = self._open.get(shard)
        if arrays is None:
            arrays = self._open[shard] = _map_arrays(self.paths[shard])
        return arrays, row


def _map_arrays(path: Path) -> dict[str, np.ndarray]:
    """Memory-map the arrays of an uncompressed .npz file."""
    import zipfile
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open('rb') as raw:
            for info in archive.infolist():
                raw.seek(info.header_offset + 26)
                name_size, extra_size = np.frombuffer(raw.read(4), '<u2').tolist()
                raw.seek(info.header_offset + 30 + name_size + extra_size)
                version = np.lib.format.read_magic(raw)
                reader = np.lib.format.read_array_header_1_0 if version == (1, 0) \
                    else np.lib.format.read_array_header_2_0
                shape, _, dtype = reader(raw)
                arrays[info.filename.removesuffix('.npy')] = np.memmap(
                    path, dtype, 'r', raw.tell(), shape)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DatasetError(f'{path}: damaged shard ({error}); delete it, it is rendered again') \
            from error
    return arrays
