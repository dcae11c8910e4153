# SPDX-License-Identifier: Apache-2.0
"""Drift over sub-paths, errors of single frames, and the scale of a path."""
from crossview_ros.replay.odometry_scores import Track, TrackedFrame
from crossview_ros.replay.subpaths import (
    frame_errors, scale_figures, subpath_lengths, subpath_rows)
import numpy as np
import pytest


def track(estimated_m, true_m, skip=()):
    """Return a way along z; frames in ``skip`` have no estimate."""
    frames = []
    for index, (estimated, true) in enumerate(zip(estimated_m, true_m)):
        poses = np.eye(4), np.eye(4)
        poses[0][2, 3], poses[1][2, 3] = estimated, true
        frames.append(TrackedFrame(index, index * 10**8, None if index in skip else poses[0],
                                   poses[1]))
    return Track(frames)


def test_standard_lengths_where_the_path_allows_and_else_labelled_shares():
    assert [length for length, _ in subpath_lengths(25.3)] == [5, 10, 20]
    assert [length for length, _ in subpath_lengths(250.0)] == [5, 10, 20, 100, 200]
    assert subpath_lengths(4.0) == [(pytest.approx(4 * share), share)
                                    for share in (0.1, 0.2, 0.3, 0.4, 0.5)]
    assert subpath_lengths(0.01) == []


def test_a_path_two_percent_too_long_drifts_by_two_percent_of_every_length():
    true = 0.5 * np.arange(60)   # 29.5 m; a sub-path ends one pose, 0.5 m, beyond its length
    rows = subpath_rows(track(1.02 * true, true), 'ours')
    assert [(row.length_m, row.count) for row in rows] == [(5, 49), (10, 39), (20, 19)]
    for row in rows:
        expected = 2 * (row.length_m + 0.5) / row.length_m
        assert row.drift_percent == pytest.approx(expected)
        assert row.turn_deg_m == pytest.approx(0, abs=1e-9) and row.method == 'ours'
    still = np.zeros(60)
    assert subpath_rows(track(still, still), 'ours') == []


def test_errors_of_frames_belong_to_the_end_of_a_step_and_the_start_of_a_subpath():
    true = 1.0 * np.arange(8)
    estimated = true.copy()
    estimated[4:] += 0.3   # one wrong step, from frame 3 to 4
    errors = frame_errors(track(estimated, true))
    steps = [errors[k].get('odometry.step_error') for k in range(8)]
    assert steps[0] is None
    assert steps[1:] == pytest.approx([0, 0, 0, 0.3, 0, 0, 0], abs=1e-12)
    # 5 m end at the sixth pose after: of frames 0 and 1 alone
    assert errors[0]['odometry.drift_5m'] == pytest.approx(100 * 0.3 / 5)
    assert [k for k in errors if 'odometry.drift_5m' in errors[k]] == [0, 1]
    gap = frame_errors(track(estimated, true, skip=(2,)))
    assert [k for k in gap if 'odometry.step_error' in gap[k]] == [1, 4, 5, 6, 7]


def test_scale_that_grows_by_ten_percent_a_minute_is_found():
    minutes = np.arange(0, 601) * 0.1 / 60
    true = 2.0 * np.arange(601) * 0.1   # 2 m/s for a minute
    rate = np.log(1.1)                  # scale 0.5 exp(rate t): its integral is the way
    estimated = 0.5 * 120 * np.expm1(rate * minutes) / rate
    figures = scale_figures(track(estimated, true))
    assert figures['odometry.scale_drift'].value == pytest.approx(100 * rate, rel=1e-2)
    assert figures['odometry.scale_drift'].unit == '%/min'
    assert figures['odometry.scale'].value == pytest.approx(0.5 * np.exp(rate / 2), rel=1e-2)
    assert set(scale_figures(track(estimated[:60], true[:60]))) == {'odometry.scale'}   # of 6 s
    assert scale_figures(track(true[:5] * 0, true[:5] * 0)) == {}
