# SPDX-License-Identifier: Apache-2.0
"""What a report is made of, whether the frames came from a live node or in process."""
from dataclasses import dataclass, field

from crossview_ros.metrics import Metric
from crossview_ros.replay.scores import RangeRow, ReliabilityRow
import numpy as np

LIVE = 'live'
IN_PROCESS = 'in_process'


@dataclass(frozen=True)
class FrameRecord:
    """One stereo pair: when it was taken, how long the answer took, how good it is."""

    index: int
    stamp_ns: int
    latency_ms: float | None   # None: no answer came
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """Pictures of one frame; arrays share (H, W)."""

    index: int
    stamp_ns: int
    left: np.ndarray                       # (H, W, 3) uint8 RGB
    depth: np.ndarray                      # (H, W) float32 [m], NaN invalid, +-Inf out of range
    confidence: np.ndarray | None = None   # (H, W) float32 in [0, 1]
    truth: np.ndarray | None = None        # (H, W) float32 [m], NaN unknown
    figures: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Count:
    """One row of the table of what came in, what went out and what was lost."""

    name: str
    value: int
    meaning: str
    kind: str = 'info'   # 'info', 'ok', or 'loss': a loss above zero stands out


@dataclass(frozen=True)
class ReportData:
    """Everything that `write_report` shows and stores."""

    title: str
    mode: str                      # LIVE or IN_PROCESS
    command: str                   # what to type to get this report again
    figures: dict[str, Metric]     # accuracy, by name: scores.py
    frames: list[FrameRecord]
    panels: list[Panel] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)   # section -> name -> text
    notes: list[str] = field(default_factory=list)   # what a reader must know to trust this
    ranges: list[RangeRow] = field(default_factory=list)
    reliability: list[ReliabilityRow] = field(default_factory=list)
    stages_ms: dict[str, list[float]] = field(default_factory=dict)   # stage -> per frame [ms]
    rate_hz: float | None = None   # answered frames a second
    options: dict = field(default_factory=dict)

    @property
    def latencies_ms(self) -> np.ndarray:
        """Latency of every answered frame [ms], in order."""
        return np.array([frame.latency_ms for frame in self.frames
                         if frame.latency_ms is not None], np.float64)

    @property
    def num_answered(self) -> int:
        """Count the frames that got an answer."""
        return len(self.latencies_ms)

    @property
    def has_truth(self) -> bool:
        """Tell whether any figure compares with the truth."""
        return 'depth.abs_rel' in self.figures or 'disparity.epe' in self.figures


def panel_indices(num_frames: int, num_panels: int = 5) -> set[int]:
    """Return which frames to picture: spread over the run, neither the first nor the last."""
    if num_frames <= num_panels:
        return set(range(num_frames))
    centres = (np.arange(num_panels) + 0.5) * num_frames / num_panels
    return {int(centre) for centre in centres}
