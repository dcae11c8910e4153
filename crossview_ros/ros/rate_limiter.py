# SPDX-License-Identifier: Apache-2.0
"""Let through at most so many events per second; knows nothing of ROS."""


class RateLimiter:
    """
    Drops and counts what comes too often.

    What jitters around the limit passes at the limit on average: the schedule counts, not the
    distance to the last one. Not for use from two threads.
    """

    def __init__(self) -> None:
        """Let the first one through."""
        self.num_dropped = 0
        self._due_s = float('-inf')

    def admits(self, moment_s: float, max_rate_hz: float) -> bool:
        """
        Tell whether an event may pass; it is counted as dropped if not.

        :param moment_s: Seconds of any steady clock.
        :param max_rate_hz: 0: everything passes.
        """
        if max_rate_hz <= 0:
            return True
        if moment_s < self._due_s:
            self.num_dropped += 1
            return False
        period_s = 1 / max_rate_hz
        late_s = moment_s - self._due_s
        self._due_s = (self._due_s if late_s < period_s else moment_s) + period_s
        return True
