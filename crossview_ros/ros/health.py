# SPDX-License-Identifier: Apache-2.0
"""
Judge what the node has counted: fine, degraded or broken, in short words and key-value pairs.

Knows nothing of ROS; diagnostics.py turns the findings into messages.
"""
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from crossview_ros.ros.event_rate import EventRate, percentile
from crossview_ros.ros.inference_worker import (
    BAD_CALIBRATION, BAD_MESSAGE, INFERENCE_FAILED, WorkerFacts)
from crossview_ros.ros.synchronizer import Synchronizer

OK, WARN, ERROR = 0, 1, 2


MIN_JUDGED = 40   # messages; fewer unmatched ones say nothing yet


@dataclass(frozen=True)
class InputFacts:
    """What is known about one input without asking the ROS graph."""

    topic: str
    rate: EventRate
    qos: str                # that the subscription asks for
    num_publishers: int
    incompatible_qos: int   # publishers that cannot reach us
    lost: int               # messages that the middleware dropped
    damaged: int            # messages without a readable stamp
    cached: bool = False    # the last message serves until the next


@dataclass(frozen=True)
class Health:
    """One finding."""

    task: str
    level: int      # OK, WARN or ERROR
    message: str    # short
    values: dict[str, str] = field(default_factory=dict)


def frequency_health(task: str, rate: EventRate, now_s: float, min_hz: float, timeout_s: float,
                     extra: dict[str, Any] | None = None) -> Health:
    """
    Judge how often something happens; the keys are those of diagnostic_updater.

    :param timeout_s: Nothing for so long is an error.
    """
    frequency_hz, duration_s = rate.frequency_hz(now_s), rate.duration_s(now_s)
    values = texts({
        'Events in window': rate.in_window(now_s), 'Events since startup': rate.total,
        'Duration of window (s)': f'{duration_s:.3f}',
        'Actual frequency (Hz)': f'{frequency_hz:.3f}',
        'Minimum acceptable frequency (Hz)': f'{min_hz:g}', **(extra or {})})
    silent_s = duration_s if rate.last_s is None else now_s - rate.last_s
    if silent_s >= timeout_s:
        return Health(task, ERROR, f'nothing for {silent_s:.0f} s', values)
    if duration_s < timeout_s:
        return Health(task, OK, 'starting', values)   # too early to judge
    if frequency_hz < min_hz:
        return Health(task, WARN, f'slow: {frequency_hz:.2f} Hz', values)
    return Health(task, OK, f'{frequency_hz:.2f} Hz', values)


def input_health(facts: InputFacts, now_s: float, min_hz: float, timeout_s: float) -> Health:
    """Judge one input topic: as `frequency_health`, and whether its publishers can reach us."""
    task = f'{facts.topic} frequency'
    extra = {'Publishers': facts.num_publishers, 'QoS requested': facts.qos,
             'Publishers of incompatible QoS': facts.incompatible_qos,
             'Lost by the middleware': facts.lost, 'Unreadable stamps': facts.damaged}
    health = frequency_health(task, facts.rate, now_s, min_hz, timeout_s, extra)
    if facts.incompatible_qos:
        arriving = facts.rate.in_window(now_s) > 0
        return Health(task, WARN if arriving else ERROR,
                      'a publisher offers incompatible QoS', health.values)
    if facts.cached and facts.rate.total and health.level != OK:
        return Health(task, OK, 'the last one is used', health.values)
    if health.level == OK and facts.num_publishers > 1:
        return Health(task, WARN, f'{facts.num_publishers} publishers', health.values)
    return health


def sync_health(sync: Synchronizer, facts: WorkerFacts, silent_s: float, timeout_s: float,
                cause: str | None, over_rate: int = 0) -> Health:
    """
    Judge how many messages find partners.

    :param silent_s: Time since the last match, or since the start [s].
    :param cause: Why nothing matches, if it is known.
    :param over_rate: Sets dropped because of max_rate.
    """
    values: dict[str, Any] = {
        'Matched sets': sync.num_matched, 'Restarts of time': sync.num_restarts,
        'Dropped for newer sets': facts.dropped, 'Dropped by max_rate': over_rate,
        'Zero stamps answered': facts.zero_stamps, 'Empty frame_id answered': facts.no_frame_id}
    for stream, counts in sync.counts.items():
        values |= {
            f'{stream} received': counts.received, f'{stream} unmatched': counts.unmatched,
            f'{stream} stamps backward': counts.backward,
            f'{stream} stamps repeated': counts.repeated,
            f'{stream} stamps zero': counts.zero_stamp}
    for stream, distance_ns in sync.nearest_ns.items():
        values[f'{stream} smallest stamp difference (ms)'] = f'{distance_ns * 1e-6:.3f}'
    if silent_s >= timeout_s:
        values['Likely cause'] = cause or 'unknown'
        return Health('sync', ERROR, f'no matched set for {silent_s:.0f} s', texts(values))
    received = sum(counts.received for counts in sync.counts.values())
    unmatched = sum(counts.unmatched for counts in sync.counts.values())
    if received >= MIN_JUDGED and unmatched > 0.1 * received:
        return Health('sync', WARN, f'{unmatched} of {received} messages found no partner',
                      texts(values))
    return Health('sync', OK, f'{sync.num_matched} sets matched', texts(values))


def inference_health(facts: WorkerFacts, about: dict[str, Any]) -> Health:
    """
    Judge the network's work.

    :param about: What is known of model, backend and device.
    """
    values = dict(about)
    for name, percent in (('p50', 50), ('p95', 95)):
        value = percentile(facts.inference_ms, percent)
        values[f'Latency {name} (ms)'] = 'none' if value is None else f'{value:.1f}'
    values |= {f'Stage {name} (ms)': f'{value:.1f}' for name, value in facts.stages_ms.items()}
    values |= {
        'Sets answered': facts.answered, 'Sets dropped for newer ones': facts.dropped,
        'Sets with a bad message': facts.failed[BAD_MESSAGE],
        'Sets with a bad calibration': facts.failed[BAD_CALIBRATION],
        'Sets that failed': facts.failed[INFERENCE_FAILED]}
    for kind, level in ((INFERENCE_FAILED, ERROR), (BAD_MESSAGE, WARN)):
        if kind in facts.last_error:
            return Health('inference', level, facts.last_error[kind], texts(values))
    return Health('inference', OK, f'{facts.answered} sets answered', texts(values))


def calibration_health(rig: Any, notes: Iterable[str], facts: WorkerFacts) -> Health:
    """
    Judge the calibration of the cameras.

    :param rig: StereoRig or PinholeCamera in force, or None.
    :param notes: What is odd about it.
    """
    if BAD_CALIBRATION in facts.last_error:
        return Health('calibration', ERROR, facts.last_error[BAD_CALIBRATION])
    if rig is None:
        return Health('calibration', OK, 'no camera_info yet')
    camera = getattr(rig, 'left', rig)
    values = {'Width (px)': camera.width, 'Height (px)': camera.height,
              'Focal length (px)': f'{camera.fx:.3f}'}
    text = f'focal length {camera.fx:.1f} px'
    if camera is not rig:
        values |= {'Baseline (m)': f'{rig.baseline:.5f}',
                   'Principal point difference (px)': f'{rig.doffs:.3f}'}
        text = f'baseline {rig.baseline:.4f} m'
    notes = list(notes)
    return Health('calibration', WARN if notes else OK, '; '.join(notes) or text, texts(values))


def age_health(age_s: float | None, clock_is_zero: bool) -> Health:
    """
    Report how old the input was when its answer went out.

    :param clock_is_zero: The node's clock, set to sim time, has not begun.
    """
    values = {} if age_s is None else {'Age at output (s)': f'{age_s:.3f}'}
    if clock_is_zero:
        return Health('input age', WARN, 'use_sim_time is set but nothing comes on /clock', values)
    if age_s is None:
        return Health('input age', OK, 'no output yet', values)
    return Health('input age', OK, f'{age_s:.3f} s', values)


def texts(values: dict[str, Any]) -> dict[str, str]:
    """Turn values into text: the only type of diagnostics."""
    return {key: str(value) for key, value in values.items()}
