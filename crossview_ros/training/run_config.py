# SPDX-License-Identifier: Apache-2.0
"""What one YAML file in config/train describes: a training run."""
from dataclasses import dataclass, field
from typing import Any, Literal

from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import ConfigError
from crossview_ros.metrics.depth_protocol import DepthProtocol
from crossview_ros.training.data_config import DataConfig


@dataclass(frozen=True)
class ModelChoice:
    """Which network is trained, and from which weights it starts."""

    preset: str = 'crossview_tiny'
    start_from: str | None = None     # model name, folder, or run folder; None: from scratch
    freeze: tuple[str, ...] = ()      # parts that keep the weights of start_from, e.g. heads.flow
    mask_ratio: float | None = None   # of the target's patches (croco); None: the preset's
    backbone: dict[str, Any] = field(default_factory=dict)   # fields other than the preset's
    head: dict[str, Any] = field(default_factory=dict)       # likewise, of each head
    contrast: dict[str, Any] = field(default_factory=dict)   # likewise, of SimIPU


@dataclass(frozen=True)
class PixelLossConfig:
    """The loss of cross-view completion (croco)."""

    normalised: bool = True           # patches of zero mean and unit variance
    masked_only: bool = True          # mean over hidden patches instead of all


@dataclass(frozen=True)
class CompletionConfig:
    """What the decoder looks at while it completes a view (croco, joint)."""

    # withheld: the masked view itself, so that nothing of another view is known
    reference: Literal['shown', 'withheld'] = 'shown'


@dataclass(frozen=True)
class ContrastConfig:
    """The losses of SimIPU; the joint task adds that of cross-view completion."""

    temperature: float = 0.07
    negatives: Literal['batch', 'frame'] = 'batch'   # inter: all points, or those of the image
    inter_weight: float = 1.0         # image with points
    intra_weight: float = 1.0         # points with points of another view
    completion_weight: float = 1.0    # hidden patches (joint)


@dataclass(frozen=True)
class ParameterRule:
    """What is different for the parameters whose name contains ``part``."""

    part: str
    algorithm: Literal['adamw', 'sgd'] = 'adamw'
    lr_scale: float = 1.0             # of the learning rate
    weight_decay: float | None = None   # None: the optimizer's; of all parameters: decay_all
    betas: tuple[float, float] | None = None   # adamw; None: the optimizer's
    momentum: float = 0.9             # sgd


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, or parts with rules of their own; a schedule; clipping; the average."""

    lr: float = 4e-4                  # peak learning rate
    schedule: Literal['cosine', 'onecycle', 'exponential'] = 'cosine'
    lr_per_256: float | None = None   # peak rate = this * batch_size / 256, in place of lr
    schedule_steps: int | None = None   # end of the cosine; None: the steps of the run
    min_lr_ratio: float = 0.02        # final learning rate over the peak
    warmup_steps: int = 100           # optimizer steps
    rise_share: float = 0.3           # onecycle: of the steps, until the peak
    start_divisor: float = 25.0       # onecycle: peak over the first rate
    end_divisor: float = 100.0        # onecycle: first over the last rate
    epoch_steps: int = 1              # exponential: after so many steps the rate falls ...
    epoch_decay: float = 0.99         # ... to this share of what it was
    rules: tuple[ParameterRule, ...] = ()   # the first that fits a parameter counts
    weight_decay: float = 0.01        # matrices only; biases, norms and scalars are exempt
    decay_all: bool = False           # no exemption
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0            # of the whole gradient; 0 switches clipping off
    layer_decay: float = 1.0          # of the learning rate, for each block further from the head
    ema_decay: float = 0.99           # of the averaged weights that are validated and exported


@dataclass(frozen=True)
class EngineConfig:
    """How the work is done; none of it changes what is computed, but for rounding."""

    strategy: Literal['ddp', 'fsdp'] = 'ddp'   # of several processes: copies, or spread weights
    compiled: bool = False            # the blocks, by torch.compile
    recompute: bool = False           # activations of the blocks: less memory, a third more time
    batches_ahead: int = 1            # made while a step runs, each in a thread of its own
    tensorboard: bool = True          # scalars and pictures, where the package is installed


@dataclass(frozen=True)
class RunConfig:
    """A whole run; `--set a.b=value` of pretrain and finetune overrides any field."""

    task: Literal['croco', 'simipu', 'joint', 'stereo', 'flow', 'multi', 'depth', 'pose']
    steps: int                        # optimizer steps in all
    batch_size: int = 8               # records an optimizer step, over all processes
    micro_batch: int | None = None    # records a forward pass; None: batch_size / processes
    # of a batch's rows, how many train a matching head (stereo, flow, multi); 1: all
    head_share: dict[str, float] = field(default_factory=dict)
    max_minutes: float | None = None  # the schedule ends here if the steps have not by then
    precision: Literal['fp32', 'bf16', 'fp16'] = 'fp32'   # weights stay fp32
    seed: int = 0
    log_every: int = 20               # optimizer steps
    validate_every: int = 250         # optimizer steps
    checkpoint_every: int = 100       # optimizer steps
    model: ModelChoice = field(default_factory=ModelChoice)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    pixel_loss: PixelLossConfig = field(default_factory=PixelLossConfig)
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    depth_protocol: DepthProtocol = field(default_factory=DepthProtocol)   # of DenseDepth runs
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    smoke: dict[str, Any] = field(default_factory=dict)   # changes that make it a run of seconds

    def __post_init__(self):
        if self.steps < 1 or self.batch_size < 1:
            raise ConfigError(f'steps and batch_size must be at least 1, got {self.steps} '
                              f'and {self.batch_size}')
        if not all(0 < share <= 1 for share in self.head_share.values()):
            raise ConfigError(f'head_share must lie in (0, 1], got {self.head_share}')
        if self.micro_batch is not None and (
                self.micro_batch < 1 or self.batch_size % self.micro_batch):
            raise ConfigError(f'micro_batch {self.micro_batch} must divide batch_size '
                              f'{self.batch_size}')
        if self.data.validation_mode == 'tiled' and self.task not in ('stereo', 'flow'):
            raise ConfigError("data.validation_mode 'tiled' serves stereo and flow, got task "
                              f"'{self.task}'; use crop")
        if self.engine.batches_ahead < 1:
            raise ConfigError('engine.batches_ahead must be at least 1, got '
                              f'{self.engine.batches_ahead}')


def smoke_run(config: RunConfig) -> RunConfig:
    """
    Return the run of seconds that the config describes: its ``smoke`` changes on top of it.

    :raises ConfigError: If they are no settings of a run.
    """
    return from_dict(RunConfig, merged({**to_dict(config), 'smoke': {}}, config.smoke), 'smoke')


def merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings in which only what is named in both or in the second changes."""
    return {**values, **{
        key: merged(values[key], change)
        if isinstance(change, dict) and isinstance(values.get(key), dict) else change
        for key, change in changes.items()}}
