# SPDX-License-Identifier: Apache-2.0
"""What a run trains and validates on: rendered records, public data sets, or pairs of bags."""
from dataclasses import dataclass, field
from typing import Any, Literal

from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.errors import ConfigError


@dataclass(frozen=True)
class DatasetUse:
    """A part of a mixture: which samples of a public data set, and how often each in an epoch."""

    name: str                         # of `crossview_ros.data.datasets.DATASETS`
    split: str = 'train'
    folder: str | None = None         # below data.root; None: the name
    repeat: int = 1                   # times that an epoch shows each sample
    count: int | None = None          # samples of the complete data set; None: not checked
    options: dict[str, Any] = field(default_factory=dict)   # of the reader, e.g. passes

    def __post_init__(self):
        if self.repeat < 1:
            raise ConfigError(f"data set '{self.name}': repeat must be at least 1, got "
                              f'{self.repeat}')


@dataclass(frozen=True)
class DataConfig:
    """Where training samples come from and how they are augmented."""

    source: Literal['rendered', 'datasets', 'pairs'] = 'rendered'
    crop_hw: tuple[int, int] = (160, 224)     # [px] shown to the network
    num_validation: int = 64          # held-out samples; evenly chosen of data sets with more
    seed: int = 0                     # of what is rendered
    # source: rendered
    online: bool = False              # render each batch on the training device, keep none
    num_records: int = 4000           # rendered once and kept; a record holds three images
    size_hw: tuple[int, int] = (192, 256)     # [px] of a rendered record
    scale_range: tuple[float, float] = (0.9, 1.4)   # random enlargement before the crop
    photometric: float = 1.0          # strength of colour, noise and blur augmentation
    pairs: PairConfig = field(default_factory=PairConfig)   # how far two views differ (croco)
    # source: datasets
    root: str | None = None           # folder with the folders of all data sets
    mixture: tuple[DatasetUse, ...] = ()
    validation: tuple[DatasetUse, ...] = ()
    epoch_size: int | None = None     # samples drawn anew for each epoch; None: the whole mixture
    partial: bool = False             # train although a data set has not its full count
    skip_damaged: bool = False        # go on without samples that cannot be read, and count them
    workers: int = 4                  # threads that read and augment
    # source: pairs
    folder: str | None = None         # shards that `crossview pairs` has written

    def __post_init__(self):
        if self.source == 'datasets' and not (self.root and self.mixture and self.validation):
            raise ConfigError('data.source datasets needs data.root, the folder of the data sets, '
                              'data.mixture and data.validation')
        if self.source == 'pairs' and self.folder is None:
            raise ConfigError("data.source pairs needs data.folder, written by 'crossview pairs'")
        if self.workers < 1 or self.epoch_size is not None and self.epoch_size < 1:
            raise ConfigError('data.workers and data.epoch_size must be at least 1, got '
                              f'{self.workers} and {self.epoch_size}')
        if self.source == 'rendered' and any(
                c > s * self.scale_range[0] for c, s in zip(self.crop_hw, self.size_hw)):
            raise ConfigError(f'data.crop_hw {self.crop_hw} does not fit data.size_hw '
                              f'{self.size_hw} at scale {self.scale_range[0]}')
