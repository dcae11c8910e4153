# SPDX-License-Identifier: Apache-2.0
"""Read one topic of a bag beside the images, by stamp."""
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from crossview_ros.messages.header import stamp_ns
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.pairing import RESTART_NS


class StampedTopic:
    """One topic read forwards; stamps must not be asked for backwards. For one thread."""

    def __init__(self, bag: Bag, topic: str) -> None:
        """
        Read the first message.

        :param bag: Open, and read by nobody else: two readings may disturb each other.
        """
        self._messages: Iterator = bag.messages([topic])
        self._before: Any = None
        self._head: Any = None
        self._advance()

    def nearest(self, stamp: int, tolerance_ns: int) -> Any:
        """Return the message nearest to a stamp, or None where none is near enough."""
        while self._head is not None and stamp_ns(self._head) < stamp and not self._jumped():
            self._advance()
        near = [message for message in (self._before, self._head) if message is not None]
        best = min(near, key=lambda message: abs(stamp_ns(message) - stamp), default=None)
        return None if best is None or abs(stamp_ns(best) - stamp) > tolerance_ns else best

    def skip_to_restart(self) -> None:
        """Read on until stamps jump back."""
        while self._head is not None and not self._jumped():
            self._advance()
        self._before = None

    def _jumped(self) -> bool:
        return self._before is not None \
            and stamp_ns(self._before) - stamp_ns(self._head) >= RESTART_NS

    def _advance(self) -> None:
        self._before = self._head
        self._head = next((message for _, _, message in self._messages), None)


class StampedTopics:
    """Some topics of one bag, each read on its own; a context manager for one thread."""

    def __init__(self, path: Path, names: list[str]) -> None:
        """Remember what to read; names that the bag lacks are left out."""
        self._path, self._wanted = path, names
        self._files = ExitStack()
        self._topics: dict[str, StampedTopic] = {}

    def __enter__(self) -> 'StampedTopics':
        """Open the bag once for each topic."""
        with Bag(self._path) as bag:
            held = {topic.name for topic in bag.topics if topic.count}
        for name in self._wanted:
            if name in held:
                self._topics[name] = StampedTopic(
                    self._files.enter_context(Bag(self._path)), name)
        return self

    def __exit__(self, *error: object) -> None:
        """Close the files."""
        self._topics = {}
        self._files.__exit__(*error)

    @property
    def names(self) -> list[str]:
        """Names of the topics that the bag holds."""
        return list(self._topics)

    def nearest(self, name: str | None, stamp: int, tolerance_ns: int) -> Any:
        """Return the message nearest to a stamp; None without the topic or near enough."""
        topic = self._topics.get(name)
        return None if topic is None else topic.nearest(stamp, tolerance_ns)

    def restart(self) -> None:
        """Forget the place in the bag where stamps jumped back."""
        for topic in self._topics.values():
            topic.skip_to_restart()
