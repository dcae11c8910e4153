# SPDX-License-Identifier: Apache-2.0
"""How long Perception takes for each frame and each of its stages."""
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
import itertools
import statistics
import time
from typing import Any

from crossview_ros.geometry.camera import PinholeCamera, StereoRig
import numpy as np

SKIPPED_FRAMES = 3   # of the first ones: they have no flow, and warm up
INTERVAL_NS = 100_000_000

Frame = tuple[np.ndarray, np.ndarray | None]   # left and right, (H, W, 3) uint8


@dataclass
class StageTimes:
    """Durations [ms] of the frames that were measured."""

    frame_ms: list[float] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)

    @property
    def rate_hz(self) -> float:
        """Return the frames per second of one stream that waits for nothing."""
        return 1e3 / statistics.mean(self.frame_ms)

    def add(self, elapsed_ms: float, timing_ms: dict[str, float]) -> None:
        """Count one frame and its stages."""
        self.frame_ms.append(elapsed_ms)
        for stage, value in timing_ms.items():
            self.stages_ms.setdefault(stage, []).append(value)

    def figures(self) -> dict[str, dict[str, float]]:
        """Return {stage or 'frame': {'p50', 'p95'}} in ms."""
        return {name: {f'p{percent}': percentile(values, percent) for percent in (50, 95)}
                for name, values in {**self.stages_ms, 'frame': self.frame_ms}.items()}


def time_frames(perceptions: Sequence[Any], frames: Sequence[Frame],
                rig: StereoRig | PinholeCamera, num_frames: int,
                times: Sequence[StageTimes]) -> Iterator[Frame]:
    """
    Answer frames by each Perception in turn, so that what slows the machine slows all.

    :param frames: A drive, which is played forwards and backwards.
    :param num_frames: Frames that are measured.
    :param times: One for each Perception; they are filled.
    :return: The measured frames, after each has been answered by all.
    """
    there_and_back = itertools.cycle([*frames, *frames[-2:0:-1]])
    for index, frame in enumerate(itertools.islice(there_and_back, num_frames + SKIPPED_FRAMES)):
        for perception, counted in zip(perceptions, times, strict=True):
            start_s = time.perf_counter()
            result = perception.process(*frame, rig, (index + 1) * INTERVAL_NS)
            elapsed_ms = 1e3 * (time.perf_counter() - start_s)
            if index >= SKIPPED_FRAMES:
                counted.add(elapsed_ms, result.timing_ms)
        if index >= SKIPPED_FRAMES:
            yield frame


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile, interpolated."""
    return float(np.percentile(values, percent))
