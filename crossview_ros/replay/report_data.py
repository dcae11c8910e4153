# SPDX-License-Identifier: Apache-2.0
"""What a report is made of, whether the frames came from a live node or in process."""
from dataclasses import dataclass, field

from crossview_ros.metrics import Metric
from crossview_ros.replay.calibration_scores import SparsificationRow
from crossview_ros.replay.lidar_scores import DepthDensity
from crossview_ros.replay.odometry_scores import Track
from crossview_ros.replay.scores import RangeRow, ReliabilityRow
from crossview_ros.replay.subpaths import SubpathRow
import numpy as np

LIVE = 'live'
IN_PROCESS = 'in_process'


@dataclass(frozen=True)
class FrameRecord:
    """One stereo pair or image: when it was taken, how long the answer took, how good it is."""

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
    points: np.ndarray | None = None       # (H, W) float32 [m] that went in, NaN between them


@dataclass(frozen=True)
class FlowPanel:
    """Pictures of one flow field; arrays share (H, W), the grid of the image before."""

    index: int       # of the frame that the flow leads to
    stamp_ns: int
    image: np.ndarray                      # (H, W, 3) uint8 RGB, the left image before
    flow: np.ndarray                       # (H, W, 2) float32 [px], NaN invalid
    truth: np.ndarray | None = None        # (H, W, 2) float32 [px], NaN unknown
    confidence: np.ndarray | None = None   # (H, W) float32 in [0, 1]
    figures: dict[str, Metric] = field(default_factory=dict)


@dataclass(frozen=True)
class Baseline:
    """What a classical odometry got on the same frames."""

    name: str
    track: Track
    figures: dict[str, Metric]   # by the names of our own


@dataclass(frozen=True)
class OutputCount:
    """How many frames got an output of those that could."""

    task: str       # 'stereo', 'flow' or 'odometry'
    answered: int
    possible: int   # flow and odometry: without the first frame, which has none before it


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
    subject: str = 'stereo pairs'  # what a frame is, or 'images' with one camera
    panels: list[Panel] = field(default_factory=list)
    flow_panels: list[FlowPanel] = field(default_factory=list)
    worst: list[Panel] = field(default_factory=list)             # the worst first
    worst_flow: list[FlowPanel] = field(default_factory=list)
    track: Track = field(default_factory=Track)
    density: DepthDensity | None = None    # depth against LiDAR
    outputs: list[OutputCount] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)   # section -> name -> text
    notes: list[str] = field(default_factory=list)   # what a reader must know to trust this
    ranges: list[RangeRow] = field(default_factory=list)
    lidar_ranges: list[RangeRow] = field(default_factory=list)
    sparsification: list[SparsificationRow] = field(default_factory=list)
    subpaths: list[SubpathRow] = field(default_factory=list)
    baseline: Baseline | None = None
    path_truth: str = ''           # what the true poses are; empty: the topic of the bag
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
        return any(name in self.figures for name in
                   ('depth.abs_rel', 'disparity.epe', 'flow.epe', 'odometry.true_path'))

    @property
    def has_depth(self) -> bool:
        """Tell whether depth was asked for."""
        return not self.outputs or any(output.task == 'stereo' for output in self.outputs)


def panel_indices(num_frames: int, num_panels: int = 5) -> set[int]:
    """Return which frames to picture: spread over the run, neither the first nor the last."""
    if num_frames <= num_panels:
        return set(range(num_frames))
    centres = (np.arange(num_panels) + 0.5) * num_frames / num_panels
    return {int(centre) for centre in centres}
