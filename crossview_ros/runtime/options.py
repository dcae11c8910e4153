# SPDX-License-Identifier: Apache-2.0
"""What can be set about Perception, and which of it while it runs."""
from dataclasses import dataclass

from crossview_ros.errors import ConfigError

DYNAMIC_OPTIONS = ('min_depth', 'max_depth', 'min_confidence')


@dataclass(frozen=True)
class PerceptionOptions:
    """Settings of `Perception`; values that cannot be meant raise ConfigError."""

    min_depth: float = 0.1        # [m] nearer answers are -Inf
    max_depth: float = 80.0       # [m] farther answers are +Inf
    min_confidence: float = 0.0   # [0, 1] depth and disparity below it are NaN
    # (height, width) px that larger images shrink to; None: the model's own
    inference_size: tuple[int, int] | None = None
    num_threads: int | None = None   # CPU threads of the network; None: the backend's default

    def __post_init__(self) -> None:
        """Refuse contradictions."""
        if not 0 <= self.min_depth < self.max_depth:
            raise ConfigError(f'expected 0 <= min_depth < max_depth [m], got {self.min_depth} '
                              f'and {self.max_depth}')
        if not 0 <= self.min_confidence <= 1:
            raise ConfigError(f'min_confidence must be from 0 to 1, got {self.min_confidence}')
        if self.inference_size is not None and min(self.inference_size) < 1:
            raise ConfigError('inference_size must be (height, width) in px, each at least 1, '
                              f'got {self.inference_size}')
        if self.num_threads is not None and self.num_threads < 1:
            raise ConfigError(f'num_threads must be at least 1, got {self.num_threads}')
