# SPDX-License-Identifier: Apache-2.0
"""Rates, percentiles, and the findings that are made of them."""
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

from crossview_ros.ros.event_rate import EventRate, percentile
from crossview_ros.ros.health import (
    age_health, calibration_health, ERROR, frequency_health, inference_health, input_health,
    InputFacts, OK, sync_health, WARN)
from crossview_ros.ros.inference_worker import WorkerFacts
from crossview_ros.ros.synchronizer import Synchronizer
import pytest

CAMERA = SimpleNamespace(width=8, height=6, fx=200.0)
RIG = SimpleNamespace(left=CAMERA, baseline=0.1, doffs=0.0)


def rate_of(moments, start_s=0.0):
    """Return an EventRate with events at these moments [s]."""
    rate = EventRate(start_s, window_s=10.0)
    for moment_s in moments:
        rate.add(moment_s)
    return rate


def test_the_rate_is_that_of_the_window():
    rate = rate_of([index * 0.5 for index in range(60)])   # 2 Hz for 30 s
    assert rate.total == 60
    assert rate.frequency_hz(29.75) == pytest.approx(2.0)
    assert rate.frequency_hz(100.0) == 0.0


def test_the_window_is_shorter_at_the_beginning():
    rate = rate_of([0.5, 1.0, 1.5, 2.0])
    assert rate.duration_s(2.0) == 2.0
    assert rate.frequency_hz(2.0) == 2.0


@pytest.mark.parametrize('percent, expected', [(50, 3), (95, 5), (100, 5), (0, 1)])
def test_percentiles_are_values_that_occurred(percent, expected):
    assert percentile([5, 3, 1, 2, 4], percent) == expected


def test_there_is_no_percentile_of_nothing():
    assert percentile([], 50) is None


@pytest.mark.parametrize('moments, now_s, level, text', [
    ([], 2.0, OK, 'starting'),
    ([], 6.0, ERROR, 'nothing for 6 s'),
    ([1.0], 7.0, ERROR, 'nothing for 6 s'),
    ([1.0, 5.0], 6.0, WARN, 'slow: 0.33 Hz'),
    ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 6.0, OK, '1.00 Hz'),
])
def test_frequencies_are_judged(moments, now_s, level, text):
    health = frequency_health('images', rate_of(moments), now_s, min_hz=0.5, timeout_s=5.0)
    assert (health.level, health.message) == (level, text)
    assert {'Events in window', 'Events since startup', 'Duration of window (s)',
            'Actual frequency (Hz)', 'Minimum acceptable frequency (Hz)'} <= set(health.values)


def test_an_input_tells_of_publishers_that_cannot_reach_it():
    facts = InputFacts('/left', rate_of([]), 'RELIABLE VOLATILE', 1, incompatible_qos=1, lost=0,
                       damaged=0)
    health = input_health(facts, 1.0, 1.0, 5.0)
    assert (health.level, health.message) == (ERROR, 'a publisher offers incompatible QoS')
    arriving = replace(facts, rate=rate_of([0.5]))
    assert input_health(arriving, 1.0, 1.0, 5.0).level == WARN


def test_a_cached_camera_info_may_be_old():
    facts = InputFacts('/info', rate_of([0.5]), 'BEST_EFFORT VOLATILE', 1, 0, 0, 0, cached=True)
    assert input_health(facts, 60.0, 1.0, 5.0).level == OK
    assert input_health(replace(facts, rate=rate_of([])), 60.0, 1.0, 5.0).level == ERROR


def test_two_publishers_on_an_input_are_told():
    facts = InputFacts('/left', rate_of(range(1, 7)), 'BEST_EFFORT VOLATILE', 2, 0, 0, 0)
    health = input_health(facts, 6.0, 0.5, 5.0)
    assert (health.level, health.message) == (WARN, '2 publishers')


def test_sync_tells_counts_and_why_nothing_matches():
    sync = Synchronizer(('left', 'right'))
    sync.add('left', 1_000_000_000, None)
    sync.add('right', 1_002_000_000, None)
    health = sync_health(sync, WorkerFacts(dropped=3), 6.0, 5.0, 'stamps differ')
    assert health.level == ERROR
    assert health.values['Likely cause'] == 'stamps differ'
    assert health.values['right smallest stamp difference (ms)'] == '2.000'
    assert health.values['Dropped for newer sets'] == '3'
    assert sync_health(sync, WorkerFacts(), 1.0, 5.0, None).level == OK


def test_sync_warns_when_many_messages_stay_alone():
    sync = Synchronizer(('left', 'right'), queue_size=2)
    for index in range(50):
        sync.add('left', 1_000_000_000 * (index + 1), None)
    assert sync_health(sync, WorkerFacts(), 1.0, 5.0, None).level == WARN


@pytest.mark.parametrize('errors, level, text', [
    ({}, OK, '7 sets answered'),
    ({'message': 'encoding'}, WARN, 'encoding'),
    ({'message': 'encoding', 'inference': 'out of memory'}, ERROR, 'out of memory'),
])
def test_inference_is_judged_by_its_latest_failure(errors, level, text):
    facts = WorkerFacts(answered=7, failed=Counter(message=1), last_error=errors,
                        inference_ms=[1.0, 3.0, 2.0], stages_ms={'encode': 1.5})
    health = inference_health(facts, {'Backend': 'torch'})
    assert (health.level, health.message) == (level, text)
    assert health.values['Latency p50 (ms)'] == '2.0'
    assert health.values['Stage encode (ms)'] == '1.5'
    assert health.values['Sets with a bad message'] == '1'
    assert all(isinstance(value, str) for value in health.values.values())


def test_calibration_is_judged():
    assert calibration_health(None, [], WorkerFacts()).message == 'no camera_info yet'
    assert calibration_health(RIG, [], WorkerFacts()).message == 'baseline 0.1000 m'
    assert calibration_health(RIG, ['odd'], WorkerFacts()).level == WARN
    refused = WorkerFacts(last_error={'calibration': 'swapped'})
    assert calibration_health(None, [], refused).message == 'swapped'
    assert calibration_health(None, [], refused).level == ERROR


def test_a_simulated_clock_that_stands_still_is_told():
    assert age_health(None, clock_is_zero=True).level == WARN
    assert age_health(0.25, clock_is_zero=False).message == '0.250 s'
