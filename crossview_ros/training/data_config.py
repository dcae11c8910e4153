# SPDX-License-Identifier: Apache-2.0
"""What a run trains and validates on: rendered records, public data sets, or pairs of bags."""
from dataclasses import dataclass, field
from typing import Any, Literal

from crossview_ros.data.augment_monocular import MonocularAugmentation
from crossview_ros.data.contrastive_views import ContrastiveViewConfig
from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig
from crossview_ros.data.synthetic.random_scene import SceneConfig
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
class DifficultyConfig:
    """A line from easy to hard scenes; 1 is what `SceneConfig` says, 0 next to empty."""

    start: float = 0.3                # [0, 1] at the first step
    end: float = 1.0                  # [0, 1] from step ``steps`` on
    steps: int = 10_000               # optimizer steps

    def __post_init__(self):
        if not (0 <= self.start <= 1 and 0 <= self.end <= 1 and self.steps >= 1):
            raise ConfigError('data.difficulty needs start and end in [0, 1] and steps of at '
                              f'least 1, got {self.start}, {self.end} and {self.steps}')

    def level(self, step: int) -> float:
        """Return the difficulty of the scenes of an optimizer step."""
        share = min(1.0, step / self.steps)
        return self.start * (1 - share) + self.end * share


@dataclass(frozen=True)
class DataConfig:
    """Where training samples come from and how they are augmented."""

    source: Literal['rendered', 'datasets', 'pairs'] = 'rendered'
    crop_hw: tuple[int, int] = (160, 224)     # [px] shown to the network
    num_validation: int = 64          # held-out samples; evenly chosen of data sets with more
    # tiled: whole images of data sets by windows of crop_hw (stereo, flow); crop: their middle
    validation_mode: Literal['crop', 'tiled'] = 'crop'
    validation_overlap: float = 0.7   # [0, 1) least share that windows have in common
    seed: int = 0                     # of what is rendered
    # how image and cloud vary (simipu, joint); the image is not cropped
    clouds: ContrastiveViewConfig = field(default_factory=ContrastiveViewConfig)
    validation_points: int | None = None      # of a held-out cloud; None: as in training
    # source: rendered
    online: bool = False              # render each batch on the training device, keep none
    difficulty: DifficultyConfig | None = None   # of what is rendered online; None: 1 throughout
    num_records: int = 4000           # rendered once and kept; a record holds three images
    size_hw: tuple[int, int] = (192, 256)     # [px] of a rendered record
    scale_range: tuple[float, float] = (0.9, 1.4)   # random enlargement before the crop
    photometric: float = 1.0          # strength of colour and noise augmentation
    flaws: float = 0.0                # strength of blur, vignetting, bad rectification and JPEG
    scenes: SceneConfig = field(default_factory=SceneConfig)   # what is in front of the cameras
    pairs: PairConfig = field(default_factory=PairConfig)   # how far two views differ (croco)
    frames: LidarFrameConfig = field(default_factory=LidarFrameConfig)   # with LiDAR (simipu)
    depth_of: Literal['scenes', 'frames'] = 'scenes'   # frames: those with LiDAR (depth)
    # source: datasets
    root: str | None = None           # folder with the folders of all data sets
    mixture: tuple[DatasetUse, ...] = ()
    validation: tuple[DatasetUse, ...] = ()
    epoch_size: int | None = None     # samples drawn anew for each epoch; None: the whole mixture
    partial: bool = False             # train although a data set has not its full count
    skip_damaged: bool = False        # go on without samples that cannot be read, and count them
    workers: int = 4                  # threads that read and augment
    monocular: MonocularAugmentation | None = None   # of task depth; None: as croco.md 7
    # source: pairs
    folder: str | None = None         # shards that `crossview pairs` has written

    def __post_init__(self):
        if self.source == 'datasets' and not (self.root and self.mixture and self.validation):
            raise ConfigError('data.source datasets needs data.root, the folder of the data sets, '
                              'data.mixture and data.validation')
        if self.difficulty is not None and not (self.online and self.source == 'rendered'):
            raise ConfigError('data.difficulty belongs to scenes rendered while training: '
                              'set data.online=true, or leave it out')
        if self.depth_of == 'frames' and self.online:
            raise ConfigError('data.depth_of frames takes stored frames: set data.online=false')
        if self.validation_mode == 'tiled' and self.source != 'datasets':
            raise ConfigError("data.validation_mode 'tiled' needs data.source datasets, got "
                              f"'{self.source}'; use crop")
        if not 0 <= self.validation_overlap < 1:
            raise ConfigError('data.validation_overlap must be in [0, 1), got '
                              f'{self.validation_overlap}')
        if self.source == 'pairs' and self.folder is None:
            raise ConfigError("data.source pairs needs data.folder, written by 'crossview pairs'")
        if self.workers < 1 or self.epoch_size is not None and self.epoch_size < 1:
            raise ConfigError('data.workers and data.epoch_size must be at least 1, got '
                              f'{self.workers} and {self.epoch_size}')
        if self.source == 'rendered' and any(
                c > s * self.scale_range[0] for c, s in zip(self.crop_hw, self.size_hw)):
            raise ConfigError(f'data.crop_hw {self.crop_hw} does not fit data.size_hw '
                              f'{self.size_hw} at scale {self.scale_range[0]}')
