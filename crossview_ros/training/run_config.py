# SPDX-License-Identifier: Apache-2.0
"""What one YAML file in config/train describes: a training run."""
from dataclasses import dataclass, field
from typing import Literal

from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.errors import ConfigError


@dataclass(frozen=True)
class ModelChoice:
    """Which network is trained, and from which weights it starts."""

    preset: str = 'crossview_tiny'
    start_from: str | None = None     # model name, folder, or run folder; None: from scratch
    mask_ratio: float | None = None   # of the target's patches (croco); None: the preset's


@dataclass(frozen=True)
class DataConfig:
    """Where training records come from and how they are augmented."""

    online: bool = False              # render each batch on the training device, keep none
    num_records: int = 4000           # rendered once and kept; a record holds three images
    size_hw: tuple[int, int] = (192, 256)     # [px] of a rendered record
    crop_hw: tuple[int, int] = (160, 224)     # [px] shown to the network
    scale_range: tuple[float, float] = (0.9, 1.4)   # random enlargement before the crop
    photometric: float = 1.0          # strength of colour, noise and blur augmentation
    num_validation: int = 64          # held-out records, rendered with other seeds and textures
    seed: int = 0
    pairs: PairConfig = field(default_factory=PairConfig)   # how far two views differ (croco)


@dataclass(frozen=True)
class PixelLossConfig:
    """The loss of cross-view completion (croco)."""

    normalised: bool = True           # patches of zero mean and unit variance
    masked_only: bool = True          # mean over hidden patches instead of all


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with a linear warm-up and a cosine decay."""

    lr: float = 4e-4                  # peak learning rate
    lr_per_256: float | None = None   # peak rate = this * batch_size / 256, in place of lr
    schedule_steps: int | None = None   # end of the cosine; None: the steps of the run
    min_lr_ratio: float = 0.02        # final learning rate over the peak
    warmup_steps: int = 100           # optimizer steps
    weight_decay: float = 0.01        # matrices only; biases, norms and scalars are exempt
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0            # of the whole gradient; 0 switches clipping off
    ema_decay: float = 0.99           # of the averaged weights that are validated and exported


@dataclass(frozen=True)
class RunConfig:
    """A whole run; `--set a.b=value` of pretrain and finetune overrides any field."""

    task: Literal['croco', 'stereo', 'flow', 'multi']
    steps: int                        # optimizer steps in all
    batch_size: int = 8               # records an optimizer step
    max_minutes: float | None = None  # the schedule ends here if the steps have not by then
    precision: Literal['fp32', 'bf16'] = 'fp32'
    seed: int = 0
    log_every: int = 20               # optimizer steps
    validate_every: int = 250         # optimizer steps
    checkpoint_every: int = 100       # optimizer steps
    model: ModelChoice = field(default_factory=ModelChoice)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    pixel_loss: PixelLossConfig = field(default_factory=PixelLossConfig)

    def __post_init__(self):
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError(f'steps and batch_size must be at least 1, got {self.steps} '
                              f'and {self.batch_size}')
        if any(c > s * self.data.scale_range[0]
               for c, s in zip(self.data.crop_hw, self.data.size_hw)):
            raise ConfigError(f'data.crop_hw {self.data.crop_hw} does not fit data.size_hw '
                              f'{self.data.size_hw} at scale {self.data.scale_range[0]}')
