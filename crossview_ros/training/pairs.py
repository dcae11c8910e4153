# SPDX-License-Identifier: Apache-2.0
"""Batches of view pairs for cross-view completion; the step decides which, and their masks."""
from collections.abc import Iterator
from pathlib import Path

from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.data.synthetic.textures import TextureAtlas
from crossview_ros.data.synthetic.view_pairs import render_pairs
from crossview_ros.networks.croco import CroCoConfig
from crossview_ros.networks.downstream import Normalisation
from crossview_ros.networks.patches import random_mask
from crossview_ros.training.augmentation import colour_jitter, normalise, random_crops
from crossview_ros.training.records import Batch, indices_of_step
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

VIEWS = ('target', 'reference')


class PairBatches:
    """
    Draw batches from a folder of view pairs: ``target``, ``reference`` normalised, ``mask``.

    Everything random is a function of (seed, step): a resumed run continues exactly.
    """

    def __init__(self, folder: Path, config: RunConfig, architecture: CroCoConfig):
        self.dataset = ShardDataset(folder)
        self.count = min(len(self.dataset), config.data.num_records)
        self.config = config
        self.architecture = architecture
        self.normalisation = Normalisation()

    def training_batch(self, step: int) -> Batch:
        """Return the augmented batch of an optimizer step."""
        config = self.config
        indices = indices_of_step(config.seed, step, config.batch_size, self.count)
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        return self.augmented(self._read(indices), generator)

    def render(self, atlas: TextureAtlas, generator: torch.Generator) -> Batch:
        """Render a batch of pairs that no folder holds."""
        config = self.config
        pairs = render_pairs(config.batch_size, config.data.size_hw, config.data.pairs, atlas,
                             generator)
        return {view: pairs[view] for view in VIEWS}

    def augmented(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Crop and colour each view on its own, hide patches (croco.md 7, transforms)."""
        data = self.config.data
        views = {view: colour_jitter(
            random_crops(batch[view], data.crop_hw, data.scale_range, generator),
            0.4 * data.photometric, generator) for view in VIEWS}
        mask = self._masks(len(batch['target']), generator).to(batch['target'].device)
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
        masks = self._masks(count, torch.Generator().manual_seed(self.config.data.seed))
        for first in range(0, count, size):
            chosen = range(first, min(first + size, count))
            batch = self._read(chosen)
            batch['wrong_reference'] = self._read([(i + 1) % count for i in chosen])['reference']
            batch = {k: v[..., top:top + rows, left:left + cols] for k, v in batch.items()}
            yield {**self._normalised(batch), 'mask': masks[first:first + size]}

    def _masks(self, count: int, generator: torch.Generator) -> torch.Tensor:
        rows, cols = (side // self.architecture.patch_size for side in self.config.data.crop_hw)
        return random_mask(count, rows * cols, self.architecture.mask_ratio, generator=generator)

    def _read(self, indices) -> Batch:
        records = [self.dataset[i] for i in indices]
        return {view: torch.from_numpy(np.stack([record[view] for record in records])) / 255
                for view in VIEWS}

    def _normalised(self, views: Batch) -> Batch:
        norm = self.normalisation
        return {name: normalise(image, norm.mean, norm.std) for name, image in views.items()}
