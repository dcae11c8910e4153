# SPDX-License-Identifier: Apache-2.0
"""Times of frames and stages are those that were spent, frame by frame in turn."""
from types import SimpleNamespace

from crossview_ros.runtime import benchmark
from crossview_ros.runtime.benchmark import percentile, SKIPPED_FRAMES, StageTimes, time_frames
import pytest


class Clock:
    """Time that passes only while a fake answers."""

    def __init__(self):
        self.now_s = 0.0

    def perf_counter(self):
        """Return the time [s]."""
        return self.now_s


class Answerer:
    """Take ``frame_s`` for each frame, half of it for the stereo; list the frames."""

    def __init__(self, clock, frame_s, asked):
        self.clock, self.frame_s, self.asked = clock, frame_s, asked

    def process(self, left, right, rig, stamp_ns):
        """Answer."""
        self.asked.append((self.frame_s, left, stamp_ns))
        self.clock.now_s += self.frame_s
        return SimpleNamespace(timing_ms={'stereo': 500 * self.frame_s})


def test_every_backend_answers_the_same_frames_in_turn(monkeypatch):
    clock, asked, times = Clock(), [], [StageTimes(), StageTimes()]
    monkeypatch.setattr(benchmark, 'time', clock)
    both = [Answerer(clock, frame_s, asked) for frame_s in (0.1, 0.3)]
    frames = [(name, None) for name in 'abc']
    shown = [left for left, _ in time_frames(both, frames, None, 5, times)]
    played = 'abcbabcb'   # forwards and backwards, with those that are skipped
    assert ''.join(shown) == played[SKIPPED_FRAMES:] and len(shown) == 5
    assert [left for _, left, _ in asked] == [left for left in played for _ in both]
    stamps = [stamp_ns for _, _, stamp_ns in asked[::2]]
    assert stamps == sorted(set(stamps))
    assert times[0].frame_ms == pytest.approx([100.0] * 5)
    assert times[1].figures()['stereo'] == pytest.approx({'p50': 150.0, 'p95': 150.0})
    assert [counted.rate_hz for counted in times] == pytest.approx([10.0, 1 / 0.3])


def test_percentiles_are_interpolated():
    assert percentile([1.0, 2.0, 3.0, 4.0, 5.0], 50) == 3.0
    assert percentile([0.0, 10.0], 95) == pytest.approx(9.5)
    assert percentile([7.0], 95) == 7.0
