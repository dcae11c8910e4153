# SPDX-License-Identifier: Apache-2.0
"""Batches of view pairs for cross-view completion; the step decides which, and their masks."""
from collections.abc import Iterator
from pathlib import Path

from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.data.synthetic.difficulty import pairs_of, scenes_of
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.textures import TextureAtlas
from crossview_ros.data.synthetic.view_pairs import render_pairs
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import Normalisation
from crossview_ros.networks.patches import mask_from_noise
from crossview_ros.training.augmentation import colour_jitter, normalise, random_crops
from crossview_ros.training.dataset_batches import DatasetBatches
from crossview_ros.training.records import Batch, draw_of_step, indices_of_step
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

VIEWS = ('target', 'reference')


class PairBatches:
    """
    Draw batches from a folder of view pairs: ``target``, ``reference`` normalised, ``mask``.

    Everything random is a function of (seed, step, row), as that of `RecordBatches`.
    """

    def __init__(self, folder: Path, config: RunConfig, architecture: CroCoConfig):
        self.dataset = ShardDataset(folder)
        self.count = min(len(self.dataset), config.data.num_records)
        self.config = config
        self.architecture = architecture
        self.normalisation = Normalisation()

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """Return the augmented batch of an optimizer step; as `RecordBatches`."""
        config = self.config
        indices = indices_of_step(config.seed, step, config.batch_size, self.count, rows)
        return self.augmented(self._read(indices), draw_of_step(config, step, rows))

    def render(self, count: int, atlas: TextureAtlas, draw: Draw, level: float = 1.0) -> Batch:
        """Render so many pairs that no folder holds, of a difficulty in [0, 1]."""
        data = self.config.data
        pairs = render_pairs(count, data.size_hw, pairs_of(level, data.pairs), atlas, draw,
                             scenes_of(level, data.scenes))
        return {view: pairs[view] for view in VIEWS}

    def augmented(self, batch: Batch, draw: Draw, level: float = 1.0) -> Batch:
        """Crop and colour each view on its own, hide patches (croco.md 7, transforms)."""
        data = self.config.data
        views = {view: colour_jitter(
            random_crops(batch[view], data.crop_hw, data.scale_range, draw),
            0.4 * level * data.photometric, draw) for view in VIEWS}
        mask = self._masks(len(batch['target']), draw).to(batch['target'].device)
        return {**self._normalised(views), 'mask': mask}

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """
        Yield all pairs once, centre-cropped, not augmented, with masks that never change.

        ``wrong_reference`` is the reference of the next pair, which shows another scene.
        """
        rows, cols = self.config.data.crop_hw
        height, width = self.config.data.size_hw
        top, left = (height - rows) // 2, (width - cols) // 2
        count = len(self.dataset)
        masks = self._masks(count, Draw(torch.Generator().manual_seed(self.config.data.seed)))
        for first in range(0, count, size):
            chosen = range(first, min(first + size, count))
            batch = self._read(chosen)
            batch['wrong_reference'] = self._read([(i + 1) % count for i in chosen])['reference']
            batch = {k: v[..., top:top + rows, left:left + cols] for k, v in batch.items()}
            yield {**self._normalised(batch), 'mask': masks[first:first + size]}

    def _masks(self, count: int, draw: Draw) -> torch.Tensor:
        return draw_masks(count, self.config, self.architecture, draw)

    def _read(self, indices) -> Batch:
        records = [self.dataset[i] for i in indices]
        return {view: torch.from_numpy(np.stack([record[view] for record in records])) / 255
                for view in VIEWS}

    def _normalised(self, views: Batch) -> Batch:
        norm = self.normalisation
        return {name: normalise(image, norm.mean, norm.std) for name, image in views.items()}


class PairFileBatches:
    """Add masks, and for validation wrong references, to the pairs of data sets or bags."""

    def __init__(self, views: DatasetBatches, architecture: CroCoConfig):
        """
        Wrap batches of views.

        :param views: Gives ``target`` and ``reference``.
        """
        self.views, self.architecture, self.config = views, architecture, views.config

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """Return the augmented batch of an optimizer step; as `PairBatches`."""
        batch = self.views.training_batch(step, rows)
        draw = draw_of_step(self.config, step, rows)
        return {**batch, 'mask': self._masks(len(batch['target']), draw)}

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """Yield the held-out pairs once; as `PairBatches`."""
        batches = list(self.views.validation_batches(size))
        draw = Draw(torch.Generator().manual_seed(self.config.data.seed))
        for batch, following in zip(batches, batches[1:] + batches[:1]):
            wrong = torch.cat((batch['reference'][1:], following['reference'][:1]))
            yield {**batch, 'wrong_reference': wrong,
                   'mask': self._masks(len(batch['target']), draw)}

    @property
    def num_skipped(self) -> int:
        """Count the damaged pairs met so far, where they may be skipped."""
        return self.views.num_skipped

    def _masks(self, count: int, draw: Draw) -> torch.Tensor:
        return draw_masks(count, self.config, self.architecture, draw)


def draw_masks(count: int, config: RunConfig, architecture: CroCoConfig,
               draw: Draw) -> torch.Tensor:
    """Draw (count, N) bool, True = hidden, for the crops of a run."""
    rows, cols = (side // architecture.patch_size for side in config.data.crop_hw)
    return mask_from_noise(draw.uniform((count, rows * cols)), architecture.mask_ratio)
