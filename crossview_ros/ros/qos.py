# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every endpoint, and in words."""
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions

MIN_INPUT_DEPTH = 10


def sensor_input(queue_size: int) -> QoSProfile:
    """Return the profile of an input that waits for partners: takes from any publisher."""
    return _profile(ReliabilityPolicy.BEST_EFFORT, max(MIN_INPUT_DEPTH, queue_size))


def dense_output() -> QoSProfile:
    """Return the profile of images and clouds: serves reliable and best-effort subscribers."""
    return _profile(ReliabilityPolicy.RELIABLE, 2)


def status_output() -> QoSProfile:
    """Return the profile of odometry, as Nav2 subscribes to it."""
    return _profile(ReliabilityPolicy.RELIABLE, 10)


def transforms() -> QoSProfile:
    """Return the profile of /tf."""
    return _profile(ReliabilityPolicy.RELIABLE, 100)


def diagnostics() -> QoSProfile:
    """Return the profile of /diagnostics."""
    return _profile(ReliabilityPolicy.RELIABLE, 1)


def overridable() -> QoSOverridingOptions:
    """Let parameters qos_overrides.<topic>.<publisher|subscription>.<policy> change a profile."""
    return QoSOverridingOptions.with_default_policies()


def in_words(profile: Any) -> str:
    """Return what decides whether two endpoints fit, such as 'BEST_EFFORT VOLATILE'."""
    return f'{profile.reliability.name} {profile.durability.name}'


def mismatch(offered: Any, requested: Any) -> str | None:
    """
    Tell why a publisher does not serve a subscription; None if it does.

    :param offered: Profile of the publisher.
    :param requested: Profile of the subscription.
    """
    if requested.reliability == ReliabilityPolicy.RELIABLE \
            and offered.reliability == ReliabilityPolicy.BEST_EFFORT:
        return 'the publisher is best effort, the subscription asks for reliable'
    if requested.durability == DurabilityPolicy.TRANSIENT_LOCAL \
            and offered.durability == DurabilityPolicy.VOLATILE:
        return 'the publisher is volatile, the subscription asks for transient local'
    return None


def _profile(reliability: ReliabilityPolicy, depth: int) -> QoSProfile:
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=depth, reliability=reliability,
                      durability=DurabilityPolicy.VOLATILE)
