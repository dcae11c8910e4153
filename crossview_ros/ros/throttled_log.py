# SPDX-License-Identifier: Apache-2.0
"""Say the same thing at most every few seconds, however often it happens."""
from collections.abc import Callable
import threading
import time
from typing import Any

PERIOD_S = 5.0


class ThrottledLog:
    """
    A logger that keeps track by key, not by line of code as rclpy's throttling does.

    May be used from any thread.
    """

    def __init__(self, logger: Any, period_s: float = PERIOD_S,
                 clock: Callable[[], float] = time.monotonic) -> None:
        """
        Remember where to write.

        :param logger: Has the methods warning and error.
        :param clock: Steady seconds.
        """
        self._logger, self._period_s, self._clock = logger, period_s, clock
        self._lock = threading.Lock()
        self._said: dict[str, float] = {}    # key -> when it was said
        self._silent: dict[str, int] = {}    # key -> how often it was not said since

    def error(self, key: str, text: str) -> None:
        """Write an error, unless this key was used less than a period ago."""
        text = self._due(key, text)
        if text is not None:
            self._logger.error(text)

    def warning(self, key: str, text: str) -> None:
        """Write a warning, unless this key was used less than a period ago."""
        text = self._due(key, text)
        if text is not None:
            self._logger.warning(text)

    def warning_once(self, key: str, text: str) -> None:
        """Write a warning the first time that this key is used."""
        with self._lock:
            known = key in self._said
            self._said[key] = self._clock()
        if not known:
            self._logger.warning(text)

    def _due(self, key: str, text: str) -> str | None:
        with self._lock:
            now_s = self._clock()
            if now_s - self._said.get(key, -1e9) < self._period_s:
                self._silent[key] = self._silent.get(key, 0) + 1
                return None
            self._said[key] = now_s
            silent = self._silent.pop(key, 0)
        return f'{text} (and {silent} more)' if silent else text
