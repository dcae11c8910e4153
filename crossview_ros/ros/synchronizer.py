# SPDX-License-Identifier: Apache-2.0
"""
Match messages of several streams by stamp, exactly or nearest, and count what stays alone.

Knows nothing of ROS: a message is any object. What it does depends on the stamps and on the order
of the calls alone, never on the time of arrival.
"""
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

RESTART_NS = 1_000_000_000   # a stamp so much earlier means that time began anew (a bag loops)
CLOCK_LAG_NS = 100_000_000   # by which /clock may be behind the messages that it comes with


@dataclass(frozen=True)
class MatchedSet:
    """One message of each stream that belong together; the stamp is the first stream's."""

    stamp_ns: int               # 0: the sender set none
    messages: dict[str, Any]
    epoch: int                  # grows by one when time begins anew: forget earlier sets


@dataclass
class StreamCounts:
    """What became of the messages of one stream."""

    received: int = 0
    matched: int = 0
    unmatched: int = 0    # no partner in the other streams, or forgotten when time began anew
    backward: int = 0     # dropped: less than a second older than the one before
    repeated: int = 0     # dropped: the stamp of the one before
    zero_stamp: int = 0   # kept, but without a usable stamp


class Synchronizer:
    """
    Match one message of each stream around those of the first stream.

    With ``max_interval_ns`` 0 the stamps must be equal. Otherwise the nearest message of each
    other stream is taken, if it is near enough, as soon as no nearer one can come: stamps of a
    stream grow, and its next one is at least half a period away. Each message is used once, sets
    come out in the order of their stamps. Not for use from two threads.
    """

    def __init__(self, streams: Sequence[str], max_interval_ns: int = 0,
                 queue_size: int = 10) -> None:
        """
        Start empty.

        :param streams: Names; the first one's stamps are the stamps of the sets.
        :param max_interval_ns: Largest difference to the first stream's stamp [ns].
        :param queue_size: Messages that may wait in each stream.
        """
        self.max_interval_ns = max_interval_ns
        self.queue_size = queue_size
        self.num_matched = 0
        self.num_restarts = 0
        self._streams = {name: _Stream() for name in streams}
        self._pivot = streams[0]
        self._epoch = 0
        self._last_ns = 0   # stamp of the last set that came out; 0: none
        self._nearest_ns: dict[str, int] = {}

    @property
    def streams(self) -> list[str]:
        """Names, the leading stream first."""
        return list(self._streams)

    @property
    def counts(self) -> dict[str, StreamCounts]:
        """Counters by stream; live objects, not to be changed."""
        return {name: stream.counts for name, stream in self._streams.items()}

    @property
    def nearest_ns(self) -> dict[str, int]:
        """Smallest stamp difference of each other stream to the first since the last match."""
        return dict(self._nearest_ns)

    def last_stamp_ns(self, stream: str) -> int | None:
        """Return the newest stamp of a stream; None before its first message."""
        return self._streams[stream].last_ns

    def add(self, name: str, stamp_ns: int, message: Any) -> list[MatchedSet]:
        """
        Take a message and return the sets that it completes, oldest first.

        :param name: Its stream.
        :param stamp_ns: Its stamp; 0 or less marks none: it matches others without one.
        """
        stream = self._streams[name]
        stream.counts.received += 1
        stamp_ns = max(0, stamp_ns)
        if not self._accept_stamp(stream, stamp_ns):
            return []
        stream.waiting.append(_Waiting(stamp_ns, message))
        self._note_distance(name, stamp_ns)
        matched = self._match()
        for other in self._streams.values():
            while len(other.waiting) > self.queue_size:
                other.drop_oldest()
        return matched

    def restart(self, now_ns: int = 0) -> None:
        """
        Forget what waits, as when the clock jumps back; the next set has a new epoch.

        Messages that go on from before, for less than a second, are late ones and are dropped.

        :param now_ns: What the clock says: where no stamp is ahead of it, the stamps have gone
            back before the clock, so nothing is forgotten.
        """
        if not any(stream.last_ns is not None and stream.last_ns > now_ns + CLOCK_LAG_NS
                   for stream in self._streams.values()):
            return
        for stream in self._streams.values():
            stream.counts.unmatched += len(stream.waiting)
            stream.waiting.clear()
            stream.before_ns, stream.last_ns = stream.last_ns, None
        self._begin_epoch()
        self._last_ns = 0

    def _accept_stamp(self, stream: '_Stream', stamp_ns: int) -> bool:
        if stamp_ns == 0:
            stream.counts.zero_stamp += 1
            # without stamps a newer message is the better partner than one that was left over
            stream.drop_waiting(lambda item: item.stamp_ns == 0)
            return True
        if stream.goes_on(stamp_ns):
            stream.counts.unmatched += 1
            return False
        stream.before_ns, last_ns = None, stream.last_ns
        if last_ns is not None and stamp_ns <= last_ns:
            if stamp_ns == last_ns:
                stream.counts.repeated += 1
                return False
            if last_ns - stamp_ns < RESTART_NS:
                stream.counts.backward += 1
                return False
            # in every stream: what waits from before the jump has no partner any more
            for other in self._streams.values():
                other.drop_waiting(lambda item: item.stamp_ns >= stamp_ns + RESTART_NS)
            stream.last_ns = None
        stream.gap_ns = stamp_ns - stream.last_ns if stream.last_ns is not None else 0
        stream.last_ns = stamp_ns
        return True

    def _match(self) -> list[MatchedSet]:
        found = []
        pivots = self._streams[self._pivot].waiting
        for pivot in list(pivots):
            if pivot not in pivots:
                continue   # an emitted set took the older ones with it
            partners = {name: self._partner(stream, pivot.stamp_ns)
                        for name, stream in self._streams.items() if name != self._pivot}
            if _HOPELESS in partners.values():
                pivots.remove(pivot)
                self._streams[self._pivot].counts.unmatched += 1
            elif _LATER not in partners.values():
                found += self._emit({self._pivot: pivot, **partners})
        return found

    def _partner(self, stream: '_Stream', stamp_ns: int) -> '_Waiting':
        """Return the partner in a stream, or _LATER, or _HOPELESS if none can come."""
        near = min(stream.waiting, default=None,
                   key=lambda item: (abs(item.stamp_ns - stamp_ns), item.stamp_ns))
        distance_ns = abs(near.stamp_ns - stamp_ns) if near is not None else None
        if distance_ns == 0:
            return near
        if distance_ns is None or distance_ns > self.max_interval_ns or not stamp_ns:
            return _HOPELESS if stream.has_passed(stamp_ns) else _LATER
        next_ns = stream.last_ns + stream.gap_ns // 2
        return near if next_ns - stamp_ns >= distance_ns else _LATER

    def _emit(self, chosen: dict[str, '_Waiting']) -> list[MatchedSet]:
        stamp_ns = chosen[self._pivot].stamp_ns
        for name, item in chosen.items():
            stream = self._streams[name]
            while stream.waiting[0] is not item:
                stream.drop_oldest()
            stream.waiting.popleft()
            stream.counts.matched += 1
        self._nearest_ns.clear()
        if 0 < stamp_ns < self._last_ns:
            self._begin_epoch()
        self._last_ns = stamp_ns or self._last_ns
        self.num_matched += 1
        return [MatchedSet(stamp_ns, {name: item.message for name, item in chosen.items()},
                           self._epoch)]

    def _begin_epoch(self) -> None:
        self._epoch += 1
        self.num_restarts += 1

    def _note_distance(self, name: str, stamp_ns: int) -> None:
        if not stamp_ns:
            return
        others = [self._pivot] if name != self._pivot else \
            [other for other in self._streams if other != self._pivot]
        for other in others:
            stream = self._streams[other]
            stamps = [item.stamp_ns for item in stream.waiting if item.stamp_ns]
            stamps += [] if stream.last_ns is None else [stream.last_ns]
            key = other if name == self._pivot else name
            for stamp in stamps:
                distance = abs(stamp - stamp_ns)
                self._nearest_ns[key] = min(distance, self._nearest_ns.get(key, distance))


@dataclass(frozen=True, eq=False)
class _Waiting:
    stamp_ns: int
    message: Any


_LATER = _Waiting(-1, 'the partner may still come')
_HOPELESS = _Waiting(-1, 'no partner can come')


class _Stream:
    """The messages of one stream that wait for partners, oldest first."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque()
        self.counts = StreamCounts()
        self.last_ns: int | None = None
        self.before_ns: int | None = None   # newest before a restart, until stamps go back
        self.gap_ns = 0   # between its two newest messages; 0: not known

    def drop_oldest(self) -> None:
        self.waiting.popleft()
        self.counts.unmatched += 1

    def drop_waiting(self, condition: Any) -> None:
        kept = [item for item in self.waiting if not condition(item)]
        self.counts.unmatched += len(self.waiting) - len(kept)
        self.waiting = deque(kept)

    def goes_on(self, stamp_ns: int) -> bool:
        """Tell whether a stamp belongs to what came before a restart."""
        return self.before_ns is not None and 0 < stamp_ns - self.before_ns < RESTART_NS

    def has_passed(self, stamp_ns: int) -> bool:
        """
        Tell whether the stream is beyond a stamp, in the same epoch.

        Its newest stamp being a second or more ahead proves nothing: it may be the last message
        from before a jump of time.
        """
        return self.last_ns is not None and stamp_ns < self.last_ns < stamp_ns + RESTART_NS
