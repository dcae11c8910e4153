# SPDX-License-Identifier: Apache-2.0
"""What Perception answers for one frame, and how long each stage took."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
import time

import numpy as np


class TrackingStatus(str, Enum):
    """State of the odometry."""

    OFF = 'off'                     # not asked for, or the model cannot
    INITIALISING = 'initialising'   # no motion yet: the first frame
    OK = 'ok'
    LOST = 'lost'


@dataclass(frozen=True)
class PerceptionResult:
    """
    Answer for one frame; what is off or cannot be known is None.

    Images are float32 at the resolution of the input; they belong to the caller.
    """

    stamp_ns: int
    # (H, W) [m] along the optical axis; NaN invalid, +Inf beyond max_depth, -Inf too near
    depth: np.ndarray | None = None
    disparity: np.ndarray | None = None    # (H, W) [px] x_left - x_right; NaN invalid
    # (H, W) [0, 1], not masked: of a pair P(|disparity error| < 1 px), of one camera
    # P(|depth error| < 10 % of the depth)
    confidence: np.ndarray | None = None
    # (H, W, 2) [px] previous left -> this left, on the PREVIOUS left image's grid; NaN invalid
    flow: np.ndarray | None = None
    flow_confidence: np.ndarray | None = None   # (H, W) [0, 1] P(end-point error < 1 px)
    previous_stamp_ns: int | None = None        # of the image whose grid the flow is on
    T_prev_cur: np.ndarray | None = None        # (4, 4) p_prev = T_prev_cur @ p_cur [m]
    T_odom_camera: np.ndarray | None = None     # (4, 4) [m]
    covariance: np.ndarray | None = None        # (6, 6) of T_odom_camera, x y z rx ry rz
    covariance_rel: np.ndarray | None = None    # (6, 6) of T_prev_cur, x y z rx ry rz
    status: TrackingStatus = TrackingStatus.OFF
    lost_reason: str = ''               # why, where the status is LOST
    num_inliers: int | None = None      # points that agree with the motion
    gap_s: float = 0.0                  # [s] that the path was guessed across before this frame
    # [ms] prepare, encode, one per head that ran, post, sharpen, odometry
    timing_ms: dict[str, float] = field(default_factory=dict)


class StageTimer:
    """Measure the stages of one frame; used by one thread."""

    def __init__(self, wait: Callable[[], None]):
        """
        Start without stages.

        :param wait: Returns when the device has done its work, which belongs to the stage.
        """
        self._wait = wait
        self.timing_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure what runs inside [ms]; what has the same name adds up."""
        start_s = time.perf_counter()
        yield
        self._wait()
        elapsed_ms = 1e3 * (time.perf_counter() - start_s)
        self.timing_ms[name] = self.timing_ms.get(name, 0.0) + elapsed_ms
