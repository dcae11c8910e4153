# SPDX-License-Identifier: Apache-2.0
"""Ending politely: what SIGINT and SIGTERM do for a while."""
from collections.abc import Callable, Iterator
from contextlib import contextmanager
import signal


@contextmanager
def handling_stops(stop: Callable[..., None]) -> Iterator[None]:
    """Let SIGINT and SIGTERM call ``stop(number, frame)``, and do afterwards what they did."""
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
