# SPDX-License-Identifier: Apache-2.0
"""Training batches of rendered scenes; the step decides which, and how they are changed."""
from collections.abc import Iterator
from functools import lru_cache
import hashlib
from pathlib import Path

from crossview_ros.data.synthetic.dataset import (
    ATLAS_SIZE, Kind, render_records, ShardDataset, write_shards)
from crossview_ros.data.synthetic.difficulty import scenes_of
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.data.synthetic.textures import make_atlas, TextureAtlas
from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig
from crossview_ros.training import augmentation
from crossview_ros.training.camera_flaws import add_flaws
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.record_kinds import MATCHING, RecordKind
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

Batch = dict[str, torch.Tensor]


def prepare_records(config: DataConfig, cache_dir: Path, progress=None, jobs: int = 1,
                    kind: Kind = SceneConfig()) -> tuple[Path, Path]:
    """
    Render the training and validation records that are not yet there.

    :param cache_dir: Shared by runs; one folder for each kind, seed, size and split.
    :param jobs: Processes that render.
    :return: Folders of the training and the validation records.
    """
    folders = []
    stored = 1 if config.online else config.num_records
    for split, count in (('train', stored), ('holdout', config.num_validation)):
        rows, cols = config.size_hw
        folder = Path(cache_dir) / f'{_prefix(kind)}{split}_{rows}x{cols}_{config.seed}'
        write_shards(folder, count, config.size_hw, seed=config.seed, split=split, config=kind,
                     progress=progress, jobs=jobs)
        folders.append(folder)
    return tuple(folders)


def indices_of_step(seed: int, step: int, size: int, count: int,
                    rows: range | None = None) -> list[int]:
    """
    Return which of ``count`` records make a step's batch; each epoch has its own order.

    :param rows: Of the batch; None: all.
    """
    indices = []
    for row in range(size) if rows is None else rows:
        epoch, index = divmod(step * size + row, count)
        indices.append(int(epoch_order(seed, epoch, count)[index]))
    return indices


def draw_of_step(config: RunConfig, step: int, rows: range | None = None,
                 device: torch.device | str = 'cpu') -> Draw:
    """Return the random numbers of an optimizer step for some rows of its batch."""
    generator = torch.Generator(device).manual_seed(config.seed * 1_000_003 + step)
    return Draw(generator, rows, config.batch_size)


class RecordBatches:
    """
    Draw batches from a folder of records.

    Everything random is a function of (seed, step, row): a resumed run continues exactly, and
    each of several processes makes its own rows only.
    """

    def __init__(self, folder: Path, config: RunConfig,
                 architecture: ModelConfig | OneViewConfig, kind: RecordKind = MATCHING):
        self.kind = kind
        self.dataset = ShardDataset(folder)
        self.count = min(len(self.dataset), config.data.num_records)
        self.config = config
        self.normalisation = architecture.normalisation

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """
        Return the augmented batch of an optimizer step.

        :param rows: Which of its rows to make; None: all.
        """
        config = self.config
        indices = indices_of_step(config.seed, step, config.batch_size, self.count, rows)
        return self.augmented(self._read(indices), draw_of_step(config, step, rows))

    def render(self, count: int, atlas: TextureAtlas, draw: Draw, level: float = 1.0) -> Batch:
        """Render so many records that no folder holds, of a difficulty in [0, 1]."""
        data = self.config.data
        records = render_records(count, data.size_hw, scenes_of(level, data.scenes), atlas, draw,
                                 self.kind.names)
        return self.kind.fields(records)

    def augmented(self, batch: Batch, draw: Draw, level: float = 1.0) -> Batch:
        """Move, change colours as strongly as the difficulty says, and normalise."""
        data = self.config.data
        batch = self.kind.move(batch, data, draw.generator)
        batch = augmentation.photometric(batch, level * data.photometric, draw)
        if 'right' in batch:
            batch = augmentation.erase(batch, ('right',), 0.3 * level, draw)
        batch = add_flaws(batch, level * data.flaws, draw)
        return self._normalised(batch)

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield all records once, centre-cropped to the training crop, not augmented."""
        for first in range(0, len(self.dataset), size):
            batch = self._read(range(first, min(first + size, len(self.dataset))))
            yield self._normalised(augmentation.middle(batch, self.config.data.crop_hw))

    def _read(self, indices) -> Batch:
        records = [self.dataset.record(i) for i in indices]
        batch = {key: torch.from_numpy(np.stack([record[key] for record in records]))
                 for key in self.kind.names}
        return self.kind.fields({
            key: value.float() / 255 if key in augmentation.VIEWS else
            (value if value.dtype == torch.bool else value.float())
            for key, value in batch.items()})

    def _normalised(self, batch: Batch) -> Batch:
        norm = self.normalisation
        return {key: augmentation.normalise(value, norm.mean, norm.std, norm.channels)
                if key in augmentation.VIEWS else value for key, value in batch.items()}


class OnlineBatches:
    """
    Render every training batch anew, on the device that trains; no record is seen twice.

    As with stored records, everything random is a function of (seed, step, row).
    """

    def __init__(self, stored, device: torch.device):
        """
        Make the textures.

        :param stored: `RecordBatches` or alike; says how batches are rendered and augmented.
        """
        self._stored, self._device = stored, device
        config = stored.config
        self._atlas = make_atlas(ATLAS_SIZE, config.data.seed, 'train').to(device)

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """Return the augmented batch of an optimizer step; as `RecordBatches`."""
        config = self._stored.config
        count = config.batch_size if rows is None else len(rows)
        difficulty = config.data.difficulty
        level = 1.0 if difficulty is None else difficulty.level(step)
        with torch.no_grad():   # no inference mode: its tensors cannot enter a gradient
            batch = self._stored.render(count, self._atlas,
                                        draw_of_step(config, step, rows, self._device), level)
            return self._stored.augmented(batch, draw_of_step(config, step, rows), level)


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order in which an epoch shows ``count`` samples."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _prefix(kind: Kind) -> str:
    """Name a folder's kind; records of other settings lie elsewhere."""
    if kind == SceneConfig():
        return ''
    name = {SceneConfig: 'scenes', PairConfig: 'pairs'}.get(type(kind), 'frames')
    return f'{name}_{hashlib.sha256(repr(kind).encode()).hexdigest()[:8]}_'
