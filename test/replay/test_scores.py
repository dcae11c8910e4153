# SPDX-License-Identifier: Apache-2.0
"""Scores of frames and their sums, against hand counts."""
from crossview_ros.replay.scores import NUM_CONFIDENCE_BINS, score_frame, ScoreSum, Truth
import numpy as np
import pytest

TRUTH = np.array([[1.0, 4.0, 30.0, 100.0, np.nan]], np.float32)
DEPTH = np.array([[1.1, np.nan, 33.0, 50.0, 5.0]], np.float32)


def test_depth_figures_of_known_pixels():
    figures = score_frame(DEPTH, None, None, Truth(depth=TRUTH), 0.1, 80.0)
    # 100 m is out of range; 4 m is missing and counts as 100 %
    assert figures['depth.abs_rel'].value == pytest.approx((0.1 + 1.0 + 0.1) / 3, rel=1e-5)
    assert figures['depth.coverage'].value == pytest.approx(2 / 3)
    assert figures['depth.valid_share'].value == pytest.approx(4 / 5)
    assert figures['depth.median'].value == pytest.approx((5.0 + 33.0) / 2)


def test_range_table_counts_by_hand():
    scores = ScoreSum()
    scores.add(DEPTH, None, None, Truth(depth=TRUTH))
    scores.add(DEPTH, None, None, Truth(depth=TRUTH))
    rows = {(row.near_m, row.far_m): row for row in scores.range_table()}
    assert set(rows) == {(0.0, 5.0), (20.0, 40.0)}   # 100 m is beyond the table
    # 1 m is off by 0.1 m, 4 m is missing and counts as 100 %
    assert rows[0.0, 5.0].abs_rel == pytest.approx(0.55, rel=1e-5)
    assert rows[0.0, 5.0].mean_abs_m == pytest.approx(0.1, rel=1e-5)
    assert rows[0.0, 5.0].coverage == 0.5
    assert rows[20.0, 40.0].mean_abs_m == pytest.approx(3.0, rel=1e-5)
    assert sum(row.share for row in rows.values()) == pytest.approx(1.0)


def test_reliability_table_counts_by_hand():
    disparity = np.array([[10.0, 10.0, 10.0, 10.0, np.nan]], np.float32)
    truth = np.array([[10.5, 12.0, 10.0, 11.5, 10.0]], np.float32)   # within 1 px: yes no yes no
    confidence = np.array([[0.95, 0.92, 1.0, 0.31, 0.9]], np.float32)
    scores = ScoreSum()
    scores.add(None, disparity, confidence, Truth(disparity=truth))
    low, high = scores.reliability_table()
    assert (low.confidence, low.observed, low.share) == pytest.approx((0.31, 0.0, 0.25))
    assert (high.confidence, high.observed, high.share) == pytest.approx(
        ((0.95 + 0.92 + 1.0) / 3, 2 / 3, 0.75))


def test_figures_are_means_over_frames_where_defined():
    scores = ScoreSum()
    truth = np.full((2, 2), 2.0, np.float32)
    scores.add(np.full((2, 2), 2.2, np.float32), None, None, Truth(depth=truth))
    scores.add(np.full((2, 2), 2.4, np.float32), None, None, Truth(depth=truth))
    scores.add(np.full((2, 2), 9.0, np.float32), None, None, Truth())
    assert scores.figures()['depth.abs_rel'].value == pytest.approx(0.15, rel=1e-5)


def test_best_constant_disparity_error_is_the_one_of_the_median(rng):
    truth = rng.uniform(2.0, 60.0, (9, 11)).astype(np.float32)
    figures = score_frame(None, truth, None, Truth(disparity=truth), 0.1, 80.0)
    candidates = [np.abs(truth - value).mean() for value in np.linspace(2.0, 60.0, 2000)]
    assert figures['disparity.epe_constant'].value == pytest.approx(min(candidates), abs=0.02)
    assert figures['disparity.epe'].value == 0.0


def test_no_answer_and_no_truth_give_no_figures():
    assert score_frame(None, None, None, Truth(), 0.1, 80.0) == {}
    assert ScoreSum().figures() == {} and ScoreSum().range_table() == []
    assert ScoreSum().reliability_table() == []


def test_confidence_of_one_falls_into_the_last_bin():
    ones = np.ones((1, 1), np.float32)
    scores = ScoreSum()
    scores.add(None, ones, ones, Truth(disparity=ones))
    row, = scores.reliability_table()
    assert row.confidence == 1.0 and NUM_CONFIDENCE_BINS == 10
