# SPDX-License-Identifier: Apache-2.0
"""Read a ROS 2 bag (folder or single .mcap file) in process, without ROS."""
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossview_ros.errors import MessageError


@dataclass(frozen=True)
class TopicInfo:
    """What a bag says about one topic; `latched` means offered transient-local."""

    name: str
    type: str   # noqa: A003 - the word of ROS, e.g. 'sensor_msgs/msg/Image'
    count: int
    rate_hz: float | None   # mean over the bag's duration; None where one message says nothing
    latched: bool


class Bag:
    """
    An open bag: topics and messages in the order of their record time.

    Use it as a context manager, from one thread. Each call of `messages` reads the bag anew.
    """

    def __init__(self, path: str | Path) -> None:
        """
        Remember the path; nothing is read yet.

        :param path: Bag folder (with metadata.yaml) or one .mcap or .db3 file.
        """
        self.path = Path(path)
        self._reader = None

    def __enter__(self) -> 'Bag':
        """
        Open the bag and read its index.

        :raises MessageError: If it is missing, is no bag, or is damaged.
        """
        from rosbags.highlevel import AnyReader
        from rosbags.typesys import get_typestore, Stores
        self._check_path()
        try:
            # bags recorded before Iron do not carry their message definitions
            reader = AnyReader([self.path], default_typestore=get_typestore(Stores.ROS2_HUMBLE))
            reader.open()
        except Exception as error:   # a damaged file makes the parser raise almost anything
            raise self._damaged(error) from error
        self._reader = reader
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    @property
    def topics(self) -> list[TopicInfo]:
        """Topics, sorted by name."""
        reader = self._open_reader()
        return [self._topic_info(name, info) for name, info in sorted(reader.topics.items())]

    @property
    def duration_s(self) -> float:
        """Time between the first and the last message [s]."""
        reader = self._open_reader()
        return max(0.0, (reader.end_time - reader.start_time - 1) * 1e-9) \
            if reader.message_count else 0.0

    @property
    def start_ns(self) -> int:
        """Record time of the first message [ns]."""
        return self._open_reader().start_time

    @property
    def message_count(self) -> int:
        """Count messages of all topics."""
        return self._open_reader().message_count

    @property
    def storage(self) -> str:
        """Storage format by file name: 'mcap' or 'sqlite3'."""
        names = [self.path.name] if self.path.is_file() else \
            [entry.name for entry in self.path.iterdir()]
        return 'mcap' if any(name.endswith('.mcap') for name in names) else 'sqlite3'

    def topic(self, name: str) -> TopicInfo:
        """
        Return one topic.

        :raises MessageError: If the bag does not hold it; the error lists what it holds.
        """
        for info in self.topics:
            if info.name == name:
                return info
        raise MessageError(f"{self.path}: no topic '{name}'; the bag holds "
                           f'{", ".join(info.name for info in self.topics) or "nothing"}')

    def messages(self, topics: Iterable[str] | None = None) -> Iterator[tuple[str, int, Any]]:
        """
        Yield ``(topic, record time [ns], message)``, ordered by record time.

        :param topics: Names to read; None reads all.
        :raises MessageError: For an unknown topic, or where the bag is truncated or corrupt.
        """
        reader = self._open_reader()
        for topic, msgtype, time_ns, raw in self.raw_messages(topics):
            try:
                message = reader.deserialize(raw, msgtype)
            except Exception as error:   # as in __enter__
                raise self._damaged(error, f'{topic} at {time_ns} ns') from error
            yield topic, time_ns, message

    def raw_messages(self, topics: Iterable[str] | None = None) \
            -> Iterator[tuple[str, str, int, bytes]]:
        """
        Yield ``(topic, type, record time [ns], CDR bytes)``, ordered by record time.

        :param topics: Names to read; None reads all.
        :raises MessageError: As `messages`.
        """
        reader = self._open_reader()
        wanted = None if topics is None else {self.topic(name).name for name in topics}
        connections = [c for c in reader.connections if wanted is None or c.topic in wanted]
        stream = iter(reader.messages(connections)) if connections else iter(())
        while True:
            try:
                item = next(stream, None)
            except Exception as error:   # as in __enter__
                raise self._damaged(error) from error
            if item is None:
                return
            connection, time_ns, raw = item
            yield connection.topic, connection.msgtype, time_ns, raw

    def changed(self, raw: bytes, msgtype: str, change: Callable[[Any], Any]) -> bytes:
        """
        Return the CDR bytes of a message after a change.

        :param raw: CDR bytes as `raw_messages` yields them.
        :param change: Takes a message and returns one of the same type.
        :raises MessageError: If the message is damaged.
        """
        reader = self._open_reader()
        try:
            message = reader.deserialize(raw, msgtype)
        except Exception as error:   # as in __enter__
            raise self._damaged(error) from error
        return bytes(reader.typestore.serialize_cdr(change(message), msgtype))

    def first(self, topic: str) -> Any:
        """
        Return the first message of a topic.

        :raises MessageError: If there is none.
        """
        for _, _, message in self.messages([topic]):
            return message
        raise MessageError(f"{self.path}: topic '{topic}' holds no message")

    def _open_reader(self) -> Any:
        assert self._reader is not None, 'use "with Bag(path) as bag"'
        return self._reader

    def _check_path(self) -> None:
        path = self.path
        if not path.exists():
            raise MessageError(f'{path}: no such bag; expected a bag folder or an .mcap file')
        if path.is_file() and path.suffix not in ('.mcap', '.db3'):
            raise MessageError(f"{path}: a bag file ends in .mcap or .db3, got '{path.suffix}'")
        if path.is_dir() and not (path / 'metadata.yaml').is_file():
            advice = 'give the .mcap file itself' if list(path.glob('*.mcap')) \
                else 'is this a bag?'
            raise MessageError(f'{path}: the folder has no metadata.yaml; {advice}')

    def _topic_info(self, name: str, info: Any) -> TopicInfo:
        duration_s = self.duration_s
        rate_hz = (info.msgcount - 1) / duration_s if info.msgcount > 1 and duration_s else None
        latched = any(qos.durability.name == 'TRANSIENT_LOCAL'
                      for connection in info.connections
                      for qos in getattr(connection.ext, 'offered_qos_profiles', ()))
        return TopicInfo(name, info.msgtype or 'several types', info.msgcount, rate_hz, latched)

    def _damaged(self, error: Exception, where: str = '') -> MessageError:
        reason = ' '.join(str(error).split()) or type(error).__name__
        place = f' ({where})' if where else ''
        return MessageError(f'{self.path}: the bag cannot be read{place}: {reason}; it is '
                            f'truncated or damaged, e.g. by a recorder that was not closed')
