# SPDX-License-Identifier: Apache-2.0
"""Hold a player back while the node that it feeds is behind."""
from collections.abc import Callable
import time

HOLD_LIMIT_S = 5.0     # an answer that takes longer is lost, and no longer waited for


class Pacer:
    """
    Counts frames sent and answered; for the thread that plays.

    A rate that was measured before a run says little once something else takes the processor:
    a frame that might replace a waiting one is rather sent later. One frame is under way at a
    time: an answer comes in several messages, and with the first of them the node need not yet
    have taken the next frame.
    """

    def __init__(self, wait_for: Callable[[int, float], bool],
                 num_without_answer: int = 0) -> None:
        """
        Begin without frames.

        :param wait_for: (count, timeout [s]) -> whether so many answers have come in time.
        :param num_without_answer: First frames that are never answered.
        """
        self._wait_for = wait_for
        self._given_up = num_without_answer
        self.num_held = 0    # frames that had to wait
        self.held_s = 0.0    # their waiting times together [s]

    def before_frame(self, num_sent: int) -> None:
        """
        Wait until the node is ready for another frame, or an answer must be lost.

        :param num_sent: Frames sent so far.
        """
        needed = num_sent - self._given_up
        if needed <= 0 or self._wait_for(needed, 0.0):
            return
        start_s = time.monotonic()
        if not self._wait_for(needed, HOLD_LIMIT_S):
            self._given_up += 1
        self.num_held += 1
        self.held_s += time.monotonic() - start_s
