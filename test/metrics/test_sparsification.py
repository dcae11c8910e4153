# SPDX-License-Identifier: Apache-2.0
"""Sparsification curves against slow removal, and what perfect and useless confidence get."""
from crossview_ros.errors import DatasetError
from crossview_ros.metrics.sparsification import REMOVED, sparsification
import numpy as np
import pytest


def curve_slowly(error, order):
    """Remove the first pixels of an order, share by share: the oracle."""
    return [error[order[int(share * len(error)):]].mean() / error.mean() for share in REMOVED]


def test_curves_are_those_of_removal_one_by_one(rng):
    error, confidence = rng.random(200), rng.random(200)
    found = sparsification(error, confidence)
    np.testing.assert_allclose(found.by_confidence, curve_slowly(error, np.argsort(confidence)))
    np.testing.assert_allclose(found.by_error, curve_slowly(error, np.argsort(-error)))
    gap = found.by_confidence - found.by_error
    area = sum((a + b) / 2 for a, b in zip(gap, gap[1:])) / (len(gap) - 1)
    assert found.ause == pytest.approx(area)


def test_confidence_that_sorts_as_the_error_has_no_area_and_the_opposite_the_most(rng):
    error = rng.random(500)
    assert sparsification(error, -error).ause == pytest.approx(0, abs=1e-12)
    worst = sparsification(error, error)
    assert worst.ause > worst.ause_of_chance > 0.2


def test_equal_confidence_is_chance_whatever_the_order_of_the_pixels():
    error = np.sort(np.random.default_rng(0).random(300))
    for values in (error, error[::-1]):
        found = sparsification(values, np.full(300, 0.5))
        np.testing.assert_allclose(found.by_confidence, 1)
        assert found.ause == pytest.approx(found.ause_of_chance)


def test_without_pixels_or_errors_there_is_no_curve():
    assert sparsification(np.empty(0), np.empty(0)) is None
    assert sparsification(np.zeros(5), np.ones(5)) is None
    with pytest.raises(DatasetError, match='3 errors but 2 confidences'):
        sparsification(np.ones(3), np.ones(2))
