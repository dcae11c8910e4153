# SPDX-License-Identifier: Apache-2.0
"""
Say in plain words why no set of inputs matches.

Knows nothing of ROS: it reads facts that the node has gathered.
"""
from dataclasses import dataclass
from typing import NamedTuple

NS_PER_MS = 1e6


@dataclass(frozen=True)
class PublisherFacts:
    """One publisher on the name of an input topic."""

    node: str              # full name
    type: str              # noqa: A003 - the word of ROS
    qos: str               # such as 'BEST_EFFORT VOLATILE'
    mismatch: str | None   # why its quality of service does not fit; None: it fits


@dataclass(frozen=True)
class TopicFacts:
    """What is known about one input topic."""

    stream: str                    # such as 'right_info'
    topic: str                     # resolved name
    type: str                      # noqa: A003 - such as 'sensor_msgs/msg/Image'
    qos: str                       # that the subscription asks for
    publishers: tuple[PublisherFacts, ...] = ()
    received: int = 0
    age_s: float | None = None     # since the last message; None: there was none
    last_stamp_ns: int | None = None
    nearest_ns: int | None = None  # smallest stamp difference to the leading stream
    lost: int = 0                  # messages that the middleware lost
    damaged: int = 0               # messages without a readable stamp
    alternatives: tuple[str, ...] = ()   # other topics of this type that somebody publishes


@dataclass(frozen=True)
class SyncFacts:
    """How messages are matched."""

    approximate: bool
    max_interval_s: float
    timeout_s: float
    cached_info: bool = False
    matched: int = 0   # sets so far


class Cause(NamedTuple):
    """Why nothing matches: what kind of reason, which topic, and in words what to do."""

    kind: str
    topic: str
    text: str


def likely_cause(topics: list[TopicFacts], sync: SyncFacts) -> Cause:
    """
    Find the one most likely reason for which no set matches.

    :param topics: Every input; the first one leads.
    """
    # what is surely wrong goes first, what may be so for many reasons last
    rules = [_other_type, _qos_mismatch, _nobody_publishes, _damaged, _lost, _silent]
    if sync.matched:
        rules.append(_stopped)   # it has worked before
    for rule in rules:
        for topic in topics:
            text = rule(topic, sync)
            if text:
                return Cause(rule.__name__.strip('_'), topic.topic, text)
    return Cause('stamps_differ', topics[0].topic, _stamps_differ(topics, sync))


def describe(topic: TopicFacts) -> str:
    """Return the facts of one topic in a line."""
    publishers = ', '.join(f'{p.node} ({p.qos})' for p in topic.publishers) or 'none'
    stamp = 'none' if topic.last_stamp_ns is None else f'{topic.last_stamp_ns * 1e-9:.6f}'
    nearest = '' if topic.nearest_ns is None else \
        f', smallest stamp difference {topic.nearest_ns / NS_PER_MS:.3f} ms'
    lost = f', {topic.lost} lost by the middleware' if topic.lost else ''
    return (f'{topic.topic} ({topic.qos}): {len(topic.publishers)} publisher(s): {publishers}; '
            f'{topic.received} message(s), last stamp {stamp}{nearest}{lost}')


def report(cause: Cause, topics: list[TopicFacts], sync: SyncFacts) -> str:
    """Return the warning of the watchdog: likely cause first, then the facts of each topic."""
    lines = [f'no matched set of inputs for {sync.timeout_s:g} s. Likely cause: {cause.text}']
    return '\n  '.join(lines + [describe(topic) for topic in topics])


def _nobody_publishes(topic: TopicFacts, sync: SyncFacts) -> str | None:
    if topic.publishers or topic.age_s is not None and topic.age_s < sync.timeout_s:
        return None
    if topic.alternatives:
        names = ', '.join(topic.alternatives[:5])
        return (f'nobody publishes {topic.topic}; there is {names}: remap the input to the '
                'right one')
    return f'nobody publishes {topic.topic}; start the camera driver, or remap the input'


def _other_type(topic: TopicFacts, sync: SyncFacts) -> str | None:
    types = sorted({publisher.type for publisher in topic.publishers})
    if not types or topic.type in types:
        return None
    return f'{topic.topic} is published as {", ".join(types)}, expected {topic.type}'


def _qos_mismatch(topic: TopicFacts, sync: SyncFacts) -> str | None:
    faults = [(p.node, p.mismatch) for p in topic.publishers if p.mismatch]
    if not faults or topic.received:
        return None
    return (f'incompatible QoS on {topic.topic}: {faults[0][1]} ({faults[0][0]}); set '
            f'qos_overrides.{topic.topic}.subscription.*, and look at `ros2 topic info -v '
            f'{topic.topic}`')


def _damaged(topic: TopicFacts, sync: SyncFacts) -> str | None:
    if not topic.damaged or topic.damaged < topic.received:
        return None
    return f'all {topic.damaged} messages on {topic.topic} have an unreadable stamp'


def _lost(topic: TopicFacts, sync: SyncFacts) -> str | None:
    if topic.lost <= topic.received:
        return None
    return (f'the middleware lost {topic.lost} messages on {topic.topic}: images are too large '
            'for its buffers; enlarge the shared memory or socket buffers of the publisher, or '
            f'set qos_overrides.{topic.topic}.subscription.reliability: reliable')


def _silent(topic: TopicFacts, sync: SyncFacts) -> str | None:
    if topic.received:
        return None
    return (f'{topic.topic} has a publisher ({topic.publishers[0].node}) but no message came: '
            'is the camera streaming?')


def _stopped(topic: TopicFacts, sync: SyncFacts) -> str | None:
    if topic.age_s is None or topic.age_s < sync.timeout_s:
        return None
    return f'{topic.topic} has stopped: the last message came {topic.age_s:.1f} s ago'


def _stamps_differ(topics: list[TopicFacts], sync: SyncFacts) -> str:
    apart = [topic for topic in topics[1:] if topic.nearest_ns]
    if not apart:
        return 'all topics arrive, but never together; is one of them much slower?'
    worst = max(apart, key=lambda topic: topic.nearest_ns)
    distance_s = worst.nearest_ns * 1e-9
    text = f'stamps of {worst.topic} and {topics[0].topic} differ by at least {distance_s:.6f} s'
    if distance_s > 1.0:
        return f'{text}: do they come from two recordings, or from two clocks?'
    if worst.stream.endswith('info') and not sync.cached_info:
        return f'{text}: the camera_info is not that of the image; set cache_camera_info: true'
    if not sync.approximate:
        return (f'{text}: set approx_sync: true with approx_sync_max_interval above '
                f'{distance_s:.6f}, if the cameras are triggered together')
    return f'{text}: more than approx_sync_max_interval ({sync.max_interval_s:g} s)'
