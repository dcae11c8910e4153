# SPDX-License-Identifier: Apache-2.0
"""Pair left and right images of a bag by stamp, each image once, and count what stays alone."""
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from crossview_ros.messages.header import stamp_ns
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.topics import InputTopics

RESTART_NS = 1_000_000_000   # a stamp so much earlier means that the recording began anew
MAX_WAITING = 50   # images of one side; more means that the other side has stopped


@dataclass(frozen=True)
class Frame:
    """A stereo pair of messages, or one image, with the calibration that held then."""

    index: int
    stamp_ns: int        # of the left image
    left: Any
    left_info: Any
    right: Any = None        # None, as its CameraInfo, with one camera
    right_info: Any = None
    restart: bool = False   # time jumped back by a second or more before this frame


@dataclass
class PairCounts:
    """What became of the images of a bag."""

    left: int = 0
    right: int = 0
    paired: int = 0
    unmatched: int = 0   # images without a partner
    backward: int = 0    # left images older than the one before, dropped
    restarts: int = 0


class StereoPairer:
    """
    Pair images that come in the order of their record time.

    Equal stamps pair at once; otherwise the nearest within ``slop_ns`` is taken as soon as no
    nearer one can come. Not for use from two threads.
    """

    def __init__(self, slop_ns: int) -> None:
        """Start empty; ``slop_ns`` 0 pairs equal stamps only."""
        self.slop_ns = slop_ns
        self.counts = PairCounts()
        self._lefts: deque[tuple[int, Any]] = deque()
        self._rights: deque[tuple[int, Any]] = deque()
        self._last_ns: int | None = None
        self._restarted = False

    def add_left(self, stamp: int, message: Any) -> Iterator[tuple[int, Any, Any, bool]]:
        """Take a left image; yield the pairs (stamp, left, right, restart) that it completes."""
        self.counts.left += 1
        if self._last_ns is not None and stamp < self._last_ns:
            if self._last_ns - stamp < RESTART_NS:
                self.counts.backward += 1
                return
            self._restart(stamp)
        self._last_ns = stamp
        self._lefts.append((stamp, message))
        yield from self._match(final=False)

    def add_right(self, stamp: int, message: Any) -> Iterator[tuple[int, Any, Any, bool]]:
        """Take a right image; yield the pairs that it completes."""
        self.counts.right += 1
        self._rights.append((stamp, message))
        yield from self._match(final=False)

    def finish(self) -> Iterator[tuple[int, Any, Any, bool]]:
        """Yield what can be paired when nothing more comes; count the rest as unmatched."""
        yield from self._match(final=True)
        self.counts.unmatched += len(self._lefts) + len(self._rights)
        self._lefts.clear()
        self._rights.clear()

    def _match(self, final: bool) -> Iterator[tuple[int, Any, Any, bool]]:
        while self._lefts and self._rights:
            stamp, left = self._lefts[0]
            nearest = min(range(len(self._rights)),
                          key=lambda index: abs(self._rights[index][0] - stamp))
            distance = self._rights[nearest][0] - stamp
            if not final and distance != 0 and max(r[0] for r in self._rights) < stamp:
                break   # a nearer one may still come
            self._lefts.popleft()
            if abs(distance) > self.slop_ns:
                self.counts.unmatched += 1
                continue
            for _ in range(nearest):
                self._rights.popleft()
                self.counts.unmatched += 1
            right = self._rights.popleft()[1]
            self.counts.paired += 1
            restart, self._restarted = self._restarted, False
            yield stamp, left, right, restart
        for waiting in (self._lefts, self._rights):
            if len(waiting) > MAX_WAITING:
                waiting.popleft()
                self.counts.unmatched += 1

    def _restart(self, stamp: int) -> None:
        self.counts.restarts += 1
        self._restarted = True
        kept = [item for item in self._rights if abs(item[0] - stamp) < RESTART_NS]
        self.counts.unmatched += len(self._lefts) + len(self._rights) - len(kept)
        self._lefts.clear()
        self._rights = deque(kept)


class SingleCamera:
    """Order the images of one camera as `StereoPairer` does those of two."""

    def __init__(self) -> None:
        """Start empty."""
        self.counts = PairCounts()
        self._last_ns: int | None = None

    def add_left(self, stamp: int, message: Any) -> Iterator[tuple[int, Any, Any, bool]]:
        """Take an image; yield (stamp, image, None, restart) unless it is out of order."""
        self.counts.left += 1
        restart = self._last_ns is not None and self._last_ns - stamp >= RESTART_NS
        if not restart and self._last_ns is not None and stamp < self._last_ns:
            self.counts.backward += 1
            return
        self._last_ns = stamp
        self.counts.restarts += restart
        self.counts.paired += 1
        yield stamp, message, None, restart

    def finish(self) -> Iterator[tuple[int, Any, Any, bool]]:
        """Yield nothing: no image waits for another one."""
        return iter(())


def pairer_of(topics: InputTopics, slop_ns: int) -> StereoPairer | SingleCamera:
    """Return what orders the images of these topics."""
    return SingleCamera() if topics.right is None else StereoPairer(slop_ns)


def frames_of(bag: Bag, topics: InputTopics,
              pairer: StereoPairer | SingleCamera) -> Iterator[Frame]:
    """
    Yield every matched pair, or every image of one camera, in order.

    :raises MessageError: If the bag is damaged.
    """
    latest = {camera.info: camera.camera_info for camera in topics.cameras}
    right_info = topics.right and topics.right.info
    for index, (stamp, left, right, restart) in enumerate(
            _ordered(bag, topics, pairer, latest)):
        yield Frame(index, stamp, left, latest[topics.left.info], right, latest.get(right_info),
                    restart)


def _ordered(bag: Bag, topics: InputTopics, pairer: StereoPairer | SingleCamera,
             latest: dict[str, Any]) -> Iterator[tuple[int, Any, Any, bool]]:
    for topic, _, message in bag.messages(topics.names):
        if topic in latest:
            latest[topic] = message
        elif topic == topics.left.image:
            yield from pairer.add_left(stamp_ns(message), message)
        else:
            yield from pairer.add_right(stamp_ns(message), message)
    yield from pairer.finish()
