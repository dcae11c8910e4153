# SPDX-License-Identifier: Apache-2.0
"""What can be set about Perception, and which of it while it runs."""
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args, Literal

from crossview_ros.errors import ConfigError
from crossview_ros.runtime.backends import BackendOptions
from crossview_ros.runtime.manifest import ModelManifest
from crossview_ros.runtime.odometry import CALIBRATION_ERROR

InferenceMode = Literal['single', 'tiled']
Sharpen = Literal['auto', 'on', 'off']
DYNAMIC_OPTIONS = ('min_depth', 'max_depth', 'min_confidence')


@dataclass(frozen=True)
class PerceptionOptions:
    """Settings of `Perception`; values that cannot be meant raise ConfigError."""

    min_depth: float = 0.1        # [m] nearer answers are -Inf
    max_depth: float = 80.0       # [m] farther answers are +Inf
    min_confidence: float = 0.0   # [0, 1] depth and disparity below it are NaN
    # disparity and flow again in the full images, near the network's; auto: as the model says
    sharpen: Sharpen = 'auto'
    refine_flow: bool = True      # where depth and the odometry's motion explain it
    lidar_guidance: bool = True   # depth of one camera from a cloud, where one comes with it
    # answer depth of one camera although nothing tells its scale: all may be wrong by one factor
    unscaled_depth: bool = False
    calibration_error: float = CALIBRATION_ERROR   # of focal length and baseline, as a share
    # single: the whole image at once; tiled: windows of the size that the model was trained with
    inference_mode: InferenceMode = 'single'
    # (height, width) px that larger images shrink to; None: the model's own, tiled: no limit
    inference_size: tuple[int, int] | None = None
    tile_overlap: float | None = None   # [0, 1) share of neighbours; None: the model's own
    tile_batch: int = 4                 # tiles that go through the network at once
    num_threads: int | None = None   # CPU threads of the network; None: the backend's default
    precision: str = 'auto'   # of the network: auto, fp32, fp16, bf16, int8; auto: the backend's
    engine_cache_dir: str | None = None   # of graphs and engines; None: ~/.cache/crossview_ros

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if not 0 <= self.min_depth < self.max_depth:
            raise ConfigError(f'expected 0 <= min_depth < max_depth [m], got {self.min_depth} '
                              f'and {self.max_depth}')
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f'min_confidence must be from 0 to 1, got {self.min_confidence}')
        if not 0 <= self.calibration_error < 1:
            raise ConfigError('calibration_error must be in [0, 1), got '
                              f'{self.calibration_error}')
        if self.sharpen not in get_args(Sharpen):
            raise ConfigError(f"sharpen must be one of {', '.join(get_args(Sharpen))}, got "
                              f"'{self.sharpen}'")
        if self.inference_mode not in get_args(InferenceMode):
            raise ConfigError('inference_mode must be one of '
                              f"{', '.join(get_args(InferenceMode))}, got '{self.inference_mode}'")
        if self.inference_size is not None and min(self.inference_size) < 1:
            raise ConfigError('inference_size must be (height, width) in px, each at least 1, '
                              f'got {self.inference_size}')
        if self.tile_overlap is not None and not 0 <= self.tile_overlap < 1:
            raise ConfigError(f'tile_overlap must be in [0, 1), got {self.tile_overlap}')
        if self.tile_batch < 1:
            raise ConfigError(f'tile_batch must be at least 1, got {self.tile_batch}')
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f'num_threads must be at least 1, got {self.num_threads}')

    def sharpens(self, manifest: ModelManifest) -> bool:
        """Tell whether a model's answers are sharpened."""
        return manifest.sharpen if self.sharpen == 'auto' else self.sharpen == 'on'


def backend_options(options: PerceptionOptions, device: str,
                    progress: Callable[[str], None] | None = None) -> BackendOptions:
    """Return how a backend is to be opened for these settings."""
    cache_dir = Path(options.engine_cache_dir) if options.engine_cache_dir else None
    max_batch = options.tile_batch if options.inference_mode == 'tiled' else 1
    chosen = BackendOptions(device, options.num_threads, options.precision, cache_dir, max_batch)
    return chosen if progress is None else replace(chosen, progress=progress)
