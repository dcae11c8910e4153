# SPDX-License-Identifier: Apache-2.0
"""Rates and percentiles over a sliding window, from moments that the caller gives."""
from collections import deque
from collections.abc import Iterable
import threading

WINDOW_S = 10.0


class EventRate:
    """
    Count events and tell how often they happen.

    Moments are seconds of any steady clock. May be used from any thread.
    """

    def __init__(self, start_s: float, window_s: float = WINDOW_S) -> None:
        """Start with no event at ``start_s``."""
        self.total = 0
        self._start_s = start_s
        self._window_s = window_s
        self._moments: deque[float] = deque()
        self._lock = threading.Lock()

    @property
    def last_s(self) -> float | None:
        """Moment of the last event in the window; None if there is none."""
        with self._lock:
            return self._moments[-1] if self._moments else None

    def add(self, moment_s: float) -> None:
        """Count an event."""
        with self._lock:
            self.total += 1
            self._moments.append(moment_s)
            self._forget(moment_s)

    def in_window(self, now_s: float) -> int:
        """Count the events of the last ``window_s`` seconds."""
        with self._lock:
            self._forget(now_s)
            return len(self._moments)

    def duration_s(self, now_s: float) -> float:
        """Return the length of the window: shorter at the beginning."""
        return min(self._window_s, max(0.0, now_s - self._start_s))

    def frequency_hz(self, now_s: float) -> float:
        """Return events per second over the window; 0.0 before any time has passed."""
        duration_s = self.duration_s(now_s)
        return self.in_window(now_s) / duration_s if duration_s > 0 else 0.0

    def _forget(self, now_s: float) -> None:
        while self._moments and self._moments[0] < now_s - self._window_s:
            self._moments.popleft()


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Return the nearest-rank percentile; None of nothing."""
    ordered = sorted(values)
    if not ordered:
        return None
    rank = -(-len(ordered) * percent // 100)   # ceiling
    return ordered[max(0, int(rank) - 1)]
