# SPDX-License-Identifier: Apache-2.0
"""The limit of sets per second."""
from crossview_ros.ros.rate_limiter import RateLimiter
import numpy as np
import pytest


def admitted(moments, max_rate_hz):
    """Return the limiter and the moments that it lets through."""
    limiter = RateLimiter()
    return limiter, [moment for moment in moments if limiter.admits(moment, max_rate_hz)]


def test_without_a_limit_everything_passes():
    limiter, passed = admitted([0.0, 0.0, 0.001], 0.0)
    assert len(passed) == 3
    assert limiter.num_dropped == 0


@pytest.mark.parametrize('camera_hz, limit_hz', [(30, 10), (30, 7), (10, 30)])
def test_jitter_does_not_lower_the_rate_below_the_limit(camera_hz, limit_hz, rng):
    moments = np.arange(0, 20, 1 / camera_hz)
    moments = np.sort(moments + rng.uniform(-0.2, 0.2, len(moments)) / camera_hz)
    limiter, passed = admitted(moments, limit_hz)
    assert len(passed) / 20 == pytest.approx(min(camera_hz, limit_hz), rel=0.03)
    assert limiter.num_dropped == len(moments) - len(passed)


def test_a_pause_does_not_allow_a_burst():
    _, passed = admitted([0.0, 10.0, 10.01, 10.02, 10.2], 10.0)
    assert passed == [0.0, 10.0, 10.2]
