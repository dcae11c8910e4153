# SPDX-License-Identifier: Apache-2.0
"""Training batches of rendered scenes; the step decides which, and how they are changed."""
from collections.abc import Iterator
from functools import lru_cache
import hashlib
from pathlib import Path

from crossview_ros.data.synthetic.dataset import (
    ATLAS_SIZE, render_records, ShardDataset, write_shards)
from crossview_ros.data.synthetic.random_scene import SceneConfig
from crossview_ros.data.synthetic.textures import make_atlas, TextureAtlas
from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.networks.downstream import ModelConfig, OneViewConfig
from crossview_ros.training import augmentation
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.record_kinds import MATCHING, RecordKind
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

Batch = dict[str, torch.Tensor]


def prepare_records(config: DataConfig, cache_dir: Path, progress=None, jobs: int = 1,
                    kind: SceneConfig | PairConfig = SceneConfig()) -> tuple[Path, Path]:
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


def indices_of_step(seed: int, step: int, size: int, count: int) -> list[int]:
    """Return which of ``count`` records make a step's batch; each epoch has its own order."""
    indices = []
    for position in range(step * size, (step + 1) * size):
        epoch, index = divmod(position, count)
        indices.append(int(epoch_order(seed, epoch, count)[index]))
    return indices


class RecordBatches:
    """
    Draw batches from a folder of records.

    Everything random is a function of (seed, step): a resumed run continues exactly.
    """

    def __init__(self, folder: Path, config: RunConfig,
                 architecture: ModelConfig | OneViewConfig, kind: RecordKind = MATCHING):
        self.kind = kind
        self.dataset = ShardDataset(folder)
        self.count = min(len(self.dataset), config.data.num_records)
        self.config = config
        self.normalisation = architecture.normalisation

    def training_batch(self, step: int) -> Batch:
        """Return the augmented batch of an optimizer step."""
        config = self.config
        indices = indices_of_step(config.seed, step, config.batch_size, self.count)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        return self.augmented(self._read(indices), generator)

    def render(self, atlas: TextureAtlas, generator: torch.Generator) -> Batch:
        """Render a batch of records that no folder holds."""
        config = self.config
        records = render_records(config.batch_size, config.data.size_hw, SceneConfig(), atlas,
                                 generator)
        return self.kind.fields(records)

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Move, change colours, and normalise."""
        data = self.config.data
        batch = self.kind.move(batch, data, generator)
        batch = augmentation.photometric(batch, data.photometric, generator)
        if 'right' in batch:
            batch = augmentation.erase(batch, ('right',), 0.3, generator)
        return self._normalised(batch)

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield all records once, centre-cropped to the training crop, not augmented."""
        for first in range(0, len(self.dataset), size):
            batch = self._read(range(first, min(first + size, len(self.dataset))))
            yield self._normalised(augmentation.middle(batch, self.config.data.crop_hw))

    def _read(self, indices) -> Batch:
        records = [self.dataset.record(i) for i in indices]
        batch = {key: torch.from_numpy(np.stack([record[key] for record in records]))
                 for key in records[0]}
        return self.kind.fields({
            key: value.float() / 255 if key in augmentation.VIEWS else
            (value if value.dtype == torch.bool else value.float())
            for key, value in batch.items()})

    def _normalised(self, batch: Batch) -> Batch:
        norm = self.normalisation
        return {key: augmentation.normalise(value, norm.mean, norm.std)
                if key in augmentation.VIEWS else value for key, value in batch.items()}


class OnlineBatches:
    """
    Render every training batch anew, on the device that trains; no record is seen twice.

    As with stored records, everything random is a function of (seed, step).
    """

    def __init__(self, stored, device: torch.device):
        """
        Make the textures.

        :param stored: `RecordBatches` or alike; says how batches are rendered and augmented.
        """
        self._stored, self._device = stored, device
        config = stored.config
        self._atlas = make_atlas(ATLAS_SIZE, config.data.seed, 'train').to(device)

    def training_batch(self, step: int) -> Batch:
        """Return the augmented batch of an optimizer step."""
        config = self._stored.config
        seed = config.seed * 1_000_003 + step
        generator = torch.Generator(self._device).manual_seed(seed)
        with torch.no_grad():   # no inference mode: its tensors cannot enter a gradient
            batch = self._stored.render(self._atlas, generator)
            return self._stored.augmented(batch, torch.Generator().manual_seed(seed))


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order in which an epoch shows ``count`` samples."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def _prefix(kind: SceneConfig | PairConfig) -> str:
    """Name a folder's kind; pairs of other settings lie elsewhere."""
    if isinstance(kind, SceneConfig):
        return ''
    return f'pairs_{hashlib.sha256(repr(kind).encode()).hexdigest()[:8]}_'
