# SPDX-License-Identifier: Apache-2.0
"""Batches of images with LiDAR clouds for SimIPU, and with stereo pairs for the joint task."""
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from crossview_ros.data.augment_views import at_least, augment_pair, ViewAugmentation
from crossview_ros.data.camera_clouds import CameraCloud, of_record, of_sample
from crossview_ros.data.contrastive_views import (
    contrastive_views, ContrastiveViewConfig, stack_views)
from crossview_ros.data.pair_shards import ImagePointShards
from crossview_ros.data.samples import PairSample
from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.lidar_frames import render_lidar_frames
from crossview_ros.data.synthetic.textures import TextureAtlas
from crossview_ros.errors import ConfigError
from crossview_ros.networks.joint import JointConfig
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.networks.patches import mask_from_noise
from crossview_ros.networks.simipu import SimIPUConfig
from crossview_ros.training.data_config import DataConfig
from crossview_ros.training.dataset_batches import open_shards
from crossview_ros.training.mixture import open_mixture, places_of_step
from crossview_ros.training.records import Batch
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

VALIDATION = 1 << 32   # in place of a step: what is drawn for the held-out samples


class CloudBatches:
    """
    Draw batches of contrastive views; for the joint task also ``target``, ``reference``, ``mask``.

    Everything random is a function of (seed, step, row), as that of `RecordBatches`.
    """

    def __init__(self, training: Sequence[Any], validation: Sequence[Any],
                 read: Callable[[Any], CameraCloud], config: RunConfig,
                 architecture: SimIPUConfig | JointConfig):
        """
        Keep what is to be read.

        :param training: Gives by number what ``read`` turns into image and cloud.
        :param validation: Likewise.
        :raises ConfigError: If the training samples do not fill a batch.
        """
        self.training, self.validation = training, validation
        self._read, self.config = read, config
        self.croco = architecture.croco if isinstance(architecture, JointConfig) else None
        self._pool = ThreadPoolExecutor(config.data.workers)
        self._places(0)

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """
        Return the augmented batch of an optimizer step.

        :param rows: Which of its rows to make; None: all.
        :raises DatasetError: If a sample cannot be read and none may be skipped.
        """
        places = self._places(step)

        def made(row: int) -> dict[str, np.ndarray]:
            return self._drawn(self._read(self.training[places[row]]), step, row)
        return _stacked(list(self._pool.map(made, range(len(places)) if rows is None else rows)))

    def render(self, count: int, atlas: TextureAtlas, draw: Draw) -> Batch:
        """Render so many frames that no folder holds."""
        data = self.config.data
        frames = render_lidar_frames(count, data.size_hw, data.frames, atlas, draw)
        for view in ('left', 'right'):
            frames[view] = (frames[view] * 255).round().byte()
        return frames

    def augmented(self, batch: Batch, draw: Draw) -> Batch:
        """Make the views of rendered frames."""
        seeds = draw.integers((len(batch['left']),), 2 ** 62).tolist()
        frames = {name: value.cpu().numpy() for name, value in batch.items()}
        rows = ({name: value[row] for name, value in frames.items()} for row in range(len(seeds)))
        return _stacked(list(self._pool.map(
            lambda row_and_seed: self._drawn(of_record(row_and_seed[0]), row_and_seed[1], 0),
            zip(rows, seeds))))

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """
        Yield the held-out samples once, with views that never change and are not mirrored.

        ``depth`` (B, H, W) [m] is that of the original image where all samples know it.
        """
        count = len(self.validation)
        chosen = np.linspace(0, count - 1, min(count, self.config.data.num_validation))
        chosen = np.rint(chosen).astype(int).tolist()
        following = dict(zip(chosen, chosen[1:] + chosen[:1]))
        for first in range(0, len(chosen), size):
            yield _stacked(list(self._pool.map(
                lambda place: self._held_out(place, following[place]),
                chosen[first:first + size])))

    @property
    def num_skipped(self) -> int:
        """Count the damaged samples met so far, where they may be skipped."""
        return sum(getattr(part, 'num_skipped', 0) for part in (self.training, self.validation))

    def _places(self, step: int) -> list[int]:
        config = self.config
        return places_of_step(config.seed, step, config.batch_size, len(self.training),
                              config.data.epoch_size)

    def _drawn(self, cloud: CameraCloud, step: int, row: int) -> dict[str, np.ndarray]:
        data = self.config.data
        rng = np.random.default_rng((self.config.seed, step, row))
        views = contrastive_views(cloud.image, cloud.points, cloud.lidar_to_image, data.clouds,
                                  rng)
        if self.croco is None:
            return views
        pair = augment_pair(_pair(cloud), ViewAugmentation(data.crop_hw), rng)
        return {**views, **self._completion(pair, rng)}

    def _held_out(self, place: int, following: int) -> dict[str, np.ndarray]:
        data = self.config.data
        cloud = self._read(self.validation[place])
        rng = np.random.default_rng((data.seed, VALIDATION, place))
        views = contrastive_views(cloud.image, cloud.points, cloud.lidar_to_image,
                                  still_views(data), rng)
        if cloud.depth is not None:
            views['depth'] = cloud.depth
        if self.croco is None:
            return views
        pair, wrong = (_middle(_pair(shown), data.crop_hw) for shown in (
            cloud, self._read(self.validation[following])))
        return {**views, **self._completion(pair, rng),
                'wrong_reference': _normalised(wrong.reference)}

    def _completion(self, pair: PairSample, rng: np.random.Generator) -> dict[str, np.ndarray]:
        patch = self.croco.patch_size
        rows, cols = (side // patch for side in self.config.data.crop_hw)
        mask = mask_from_noise(torch.from_numpy(rng.random((1, rows * cols))),
                               self.croco.mask_ratio)
        return {'target': _normalised(pair.target), 'reference': _normalised(pair.reference),
                'mask': mask[0].numpy()}


def still_views(data: DataConfig) -> ContrastiveViewConfig:
    """Return how held-out samples vary: not mirrored, with as many points as wanted."""
    points = replace(data.clouds.points,
                     num_points=data.validation_points or data.clouds.points.num_points)
    return replace(data.clouds, flip_probability=0.0, points=points)


def rendered_clouds(folder: Path, config: RunConfig,
                    architecture: SimIPUConfig | JointConfig) -> CloudBatches:
    """Open a folder of rendered frames."""
    dataset = ShardDataset(folder)
    records = _Records(dataset, min(len(dataset), config.data.num_records))
    return CloudBatches(records, _Records(dataset, len(dataset)), of_record, config, architecture)


def open_cloud_files(config: RunConfig, architecture: SimIPUConfig | JointConfig) -> CloudBatches:
    """
    Open public data sets, or what `crossview pairs` has made of bags.

    :raises ConfigError: If there are too few samples, or a data set is unknown.
    :raises DatasetError: If a data set or a folder cannot be opened.
    """
    data = config.data
    if data.source == 'datasets':
        mixtures = [open_mixture(uses, data) for uses in (data.mixture, data.validation)]
    else:
        mixtures = open_shards(ImagePointShards, config)
    return CloudBatches(*mixtures, of_sample, config, architecture)


class _Records:
    """The first records of a folder, by number."""

    def __init__(self, dataset: ShardDataset, count: int):
        self._dataset, self._count = dataset, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return self._dataset.record(range(self._count)[index])


def _pair(cloud: CameraCloud) -> PairSample:
    if cloud.right is None:
        raise ConfigError(f"task 'joint' needs stereo images with a cloud, but '{cloud.name}' has "
                          'one image; train task simipu on it')
    return PairSample(cloud.image, cloud.right, cloud.name)


def _middle(pair: PairSample, crop_hw: tuple[int, int]) -> PairSample:
    pair = PairSample(at_least(pair.target, crop_hw), at_least(pair.reference, crop_hw), pair.name)
    height, width = pair.target.shape[:2]
    return pair.cropped((width - crop_hw[1]) // 2, (height - crop_hw[0]) // 2, *crop_hw[::-1])


def _normalised(image: np.ndarray) -> np.ndarray:
    norm = Normalisation()
    values = (np.float32(image) / 255 - np.float32(norm.mean)) / np.float32(norm.std)
    return values.transpose(2, 0, 1)


def _stacked(samples: list[dict[str, np.ndarray]]) -> Batch:
    return {name: torch.from_numpy(value) for name, value in stack_views(samples).items()}
