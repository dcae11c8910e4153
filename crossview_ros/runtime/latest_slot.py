# SPDX-License-Identifier: Apache-2.0
"""A mailbox for one item between two threads: the newest wins, what it replaces is counted."""
import threading
from typing import Generic, TypeVar

T = TypeVar('T')


class LatestSlot(Generic[T]):
    """
    Hold the newest item until somebody takes it; older ones are dropped and counted.

    Every method may be called from any thread. `put` never waits for a taker.
    """

    def __init__(self) -> None:
        """Start open and empty."""
        self._changed = threading.Condition()
        self._item: T | None = None
        self._closed = False
        self._num_put = 0
        self._num_dropped = 0

    def put(self, item: T) -> bool:
        """
        Offer an item; it replaces one that nobody has taken.

        :param item: Anything but None, which `take` returns for "nothing".
        :return: False if the slot is closed; the item is not kept then.
        """
        if item is None:
            raise ValueError('a slot cannot hold None: it means "nothing"')
        with self._changed:
            if self._closed:
                return False
            self._num_put += 1
            self._num_dropped += self._item is not None
            self._item = item
            self._changed.notify()
            return True

    def take(self, timeout_s: float | None = None) -> T | None:
        """
        Wait for an item and take it out.

        :param timeout_s: Longest wait [s]; None waits until there is an item or `close`.
        :return: The newest item, or None after the timeout or once the slot is closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._closed, timeout_s)
            item, self._item = self._item, None
            return item

    def clear(self) -> None:
        """Drop the waiting item, if there is one; it counts as dropped."""
        with self._changed:
            self._num_dropped += self._item is not None
            self._item = None

    def close(self) -> None:
        """Drop the waiting item, wake every taker, and refuse further items."""
        with self._changed:
            self._num_dropped += self._item is not None
            self._item = None
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Tell whether `close` was called."""
        with self._changed:
            return self._closed

    @property
    def num_put(self) -> int:
        """Return how many items were accepted."""
        with self._changed:
            return self._num_put

    @property
    def num_dropped(self) -> int:
        """Return how many accepted items nobody will ever take."""
        with self._changed:
            return self._num_dropped
