# SPDX-License-Identifier: Apache-2.0
"""Batches of samples on disk: public data sets by name, and pairs made from bags."""
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from crossview_ros.data import (
    augment_flow, augment_monocular, augment_stereo, augment_views)
from crossview_ros.data.collate import collate
from crossview_ros.data.samples import DepthSample, FlowSample, PairSample, StereoSample
from crossview_ros.errors import ConfigError
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.training.augmentation import normalise
from crossview_ros.training.mixture import Mixture, open_mixture, Part, places_of_step
from crossview_ros.training.records import Batch
from crossview_ros.training.run_config import RunConfig
import numpy as np
import torch

Size = tuple[int, int]


class SampleKind(NamedTuple):
    """How samples of a kind become part of a batch."""

    sample: type
    views: dict[str, str]    # attribute of an image -> its name in the batch
    truth: dict[str, str]    # likewise of a field
    augment: Callable[[Any, Size, np.random.Generator], Any]
    stretch: Callable[[Any, Size], Any]    # enlarge what a crop would not fit in
    numbers: Callable[[list[Any]], Batch] = lambda samples: {}   # what else the batch gets
    held_out: Callable[[Any], Any] | None = None   # view of validation; None: the middle


class DatasetBatches:
    """
    Draw batches from a mixture.

    Everything random is a function of (seed, step, row), as that of `RecordBatches`.
    """

    def __init__(self, training: Mixture, validation: Mixture, config: RunConfig,
                 normalisation: Normalisation):
        """
        Keep the mixtures.

        :raises ConfigError: If the run's task is not trained on data sets, or the training
            mixture does not fill a batch.
        """
        if config.task not in KINDS:
            raise ConfigError(f"task '{config.task}' trains on rendered records only, got "
                              f"data.source '{config.data.source}'; data sets serve "
                              f'{", ".join(KINDS)}')
        self.kind = _kind(config)
        self.config = config
        self.training, self.validation = training, validation
        self.normalisation = normalisation
        self._pool = ThreadPoolExecutor(config.data.workers)
        self._places(0)

    def training_batch(self, step: int, rows: range | None = None) -> Batch:
        """
        Return the augmented batch of an optimizer step.

        :param rows: Which of its rows to make; None: all.
        :raises DatasetError: If a sample cannot be read and none may be skipped.
        """
        crop_hw, places = self.config.data.crop_hw, self._places(step)

        def augmented(row: int) -> Any:
            rng = np.random.default_rng((self.config.seed, step, row))
            return self.kind.augment(self._read(self.training, places[row]), crop_hw, rng)

        rows = range(len(places)) if rows is None else rows
        return self._batch(list(self._pool.map(augmented, rows)))

    def validation_batches(self, size: int) -> Iterator[Batch]:
        """
        Yield the held-out samples once.

        :param size: Samples that are read at once. Each is the middle of its image in the size of
            the crop; or, where the run validates tiled, a whole image, in a batch of its own.
        """
        whole = self.config.data.validation_mode == 'tiled'
        count = len(self.validation)
        chosen = np.linspace(0, count - 1, min(count, self.config.data.num_validation))
        chosen = np.rint(chosen).astype(int).tolist()
        for first in range(0, len(chosen), size):
            places = chosen[first:first + size]
            samples = list(self._pool.map(self._whole if whole else self._middle, places))
            yield from map(self._batch, [[s] for s in samples] if whole else [samples])

    @property
    def num_skipped(self) -> int:
        """Count the damaged samples met so far, where they may be skipped."""
        return self.training.num_skipped + self.validation.num_skipped

    def _places(self, step: int) -> list[int]:
        config = self.config
        return places_of_step(config.seed, step, config.batch_size, len(self.training),
                              config.data.epoch_size)

    def _read(self, mixture: Mixture, place: int) -> Any:
        sample = mixture[place]
        if not isinstance(sample, self.kind.sample):
            raise ConfigError(f"task '{self.config.task}' needs a {self.kind.sample.__name__}, "
                              f"but '{sample.name}' is a {type(sample).__name__}; change "
                              'data.mixture')
        return sample

    def _middle(self, place: int) -> Any:
        sample = self._read(self.validation, place)
        if self.kind.held_out is not None:
            return self.kind.held_out(sample)
        rows, cols = self.config.data.crop_hw
        sample = self.kind.stretch(sample, (rows, cols))
        height, width = getattr(sample, next(iter(self.kind.views))).shape[:2]
        window = (width - cols) // 2, (height - rows) // 2, cols, rows
        return sample.cropped(*window)

    def _whole(self, place: int) -> Any:
        sample = self._read(self.validation, place)
        return replace(sample, truth_scale=1, **{
            name: _averaged(getattr(sample, name), sample.truth_scale)
            for name in self.kind.truth})

    def _batch(self, samples: list[Any]) -> Batch:
        whole, norm = collate(samples), self.normalisation
        return {**{name: normalise(whole[attribute], norm.mean, norm.std, norm.channels)
                   for attribute, name in self.kind.views.items()},
                **{name: whole[attribute] for attribute, name in self.kind.truth.items()},
                **self.kind.numbers(samples)}


def open_dataset_batches(config: RunConfig, normalisation: Normalisation) -> DatasetBatches:
    """
    Open what a run reads from disk.

    :param normalisation: Of the network's input.
    :raises ConfigError: As `DatasetBatches`, or if a data set is unknown.
    :raises DatasetError: If a data set or a folder of pairs cannot be opened.
    """
    data = config.data
    if data.source == 'datasets':
        mixtures = [open_mixture(uses, data) for uses in (data.mixture, data.validation)]
    else:
        from crossview_ros.data.pair_shards import PairShards
        mixtures = open_shards(PairShards, config)
    return DatasetBatches(*mixtures, config, normalisation)


def open_shards(reader: Callable[[str], Sequence[Any]], config: RunConfig) -> list[Mixture]:
    """
    Return all pairs but the last ones for training, and the last ones: other moments.

    :param reader: Of one kind of pairs in a folder of `crossview pairs`.
    :raises ConfigError: If there are too few.
    """
    pairs = reader(config.data.folder)
    end = len(pairs) - config.data.num_validation
    if end < config.batch_size:
        raise ConfigError(f'{config.data.folder} holds {len(pairs)} pairs: too few for a batch of '
                          f'{config.batch_size} and data.num_validation '
                          f'{config.data.num_validation}')
    return [Mixture([Part(pairs, range(end))]), Mixture([Part(pairs, range(end, len(pairs)))])]


def _kind(config: RunConfig) -> SampleKind:
    """Return how the run's task takes samples; `DataConfig.monocular` has its own way."""
    kind, views = KINDS[config.task], config.data.monocular
    if views is None:
        return kind
    if kind.sample is not DepthSample:
        raise ConfigError(f"data.monocular is for task depth, got task '{config.task}'")
    views = replace(views, crop_hw=config.data.crop_hw)
    return kind._replace(
        augment=lambda sample, _, rng: augment_monocular.augment_monocular(sample, views, rng),
        held_out=lambda sample: augment_monocular.fixed_view(sample, views))


def _averaged(truth: np.ndarray, scale: int) -> np.ndarray:
    """Average the cells of scale x scale values (croco.md 6.3); one unknown makes all unknown."""
    rows, cols = (side // scale for side in truth.shape[:2])
    return truth.reshape(rows, scale, cols, scale, *truth.shape[2:]).mean((1, 3))


def _augmenting(function: Callable, settings: type) -> Callable[[Any, Size, Any], Any]:
    """Return an augmentation with the published settings but for the crop."""
    return lambda sample, crop_hw, rng: function(sample, settings(crop_hw), rng)


def _stretched(sample: Any, crop_hw: Size, module: Any, settings: type, image: str) -> Any:
    """Enlarge as the augmentation does where it draws no scale; the truth joins the image grid."""
    still = settings(crop_hw, scale_probability=0)
    size_hw = getattr(sample, image).shape[:2]
    return module.resized(sample, *module.scale_factors(size_hw, still, np.random.default_rng(0)))


def _focal(samples: list[DepthSample]) -> Batch:
    return {'focal': torch.tensor([sample.camera.fx for sample in samples])}


def _stretched_pair(sample: PairSample, crop_hw: Size) -> PairSample:
    return PairSample(augment_views.at_least(sample.target, crop_hw),
                      augment_views.at_least(sample.reference, crop_hw), sample.name)


# task -> the samples that it trains on
KINDS = {
    'stereo': SampleKind(
        StereoSample, {'left': 'left', 'right': 'right'}, {'disparity': 'disparity'},
        _augmenting(augment_stereo.augment_stereo, augment_stereo.StereoAugmentation),
        partial(_stretched, module=augment_stereo, settings=augment_stereo.StereoAugmentation,
                image='left')),
    'flow': SampleKind(
        FlowSample, {'image1': 'previous', 'image2': 'left'}, {'flow': 'flow'},
        _augmenting(augment_flow.augment_flow, augment_flow.FlowAugmentation),
        partial(_stretched, module=augment_flow, settings=augment_flow.FlowAugmentation,
                image='image1')),
    'depth': SampleKind(
        DepthSample, {'image': 'left'}, {'depth': 'depth'},
        _augmenting(augment_views.augment_depth, augment_views.ViewAugmentation),
        augment_views.depth_at_least, _focal),
    'croco': SampleKind(
        PairSample, {'target': 'target', 'reference': 'reference'}, {},
        _augmenting(augment_views.augment_pair, augment_views.ViewAugmentation),
        _stretched_pair),
}
