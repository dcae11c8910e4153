# SPDX-License-Identifier: Apache-2.0
"""Which moments of two clocks belong together."""
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.trajectory import (
    associate, associate_nearest, nearest_moments, Trajectory)
import numpy as np
import pytest


def pairs_of(stamps, others, limit):
    first, second = associate(np.array(stamps, np.int64), np.array(others, np.int64), limit)
    return list(zip(first.tolist(), second.tolist()))


def pairs_slowly(stamps, others, limit):
    """Take the nearest pair of all that keeps the order, until none is left: the oracle."""
    pairs = []
    candidates = sorted((abs(s - o), i, j) for i, s in enumerate(stamps)
                        for j, o in enumerate(others) if abs(s - o) <= limit)
    for _, i, j in candidates:
        if all((i - k) * (j - m) > 0 for k, m in pairs):
            pairs.append((i, j))
    return sorted(pairs)


@pytest.mark.parametrize('stamps, others, limit, expected', [
    ([0, 10, 20], [1, 11, 21], 5, [(0, 0), (1, 1), (2, 2)]),
    ([0, 10, 20], [11], 5, [(1, 0)]),                     # no two poses share one
    ([10, 11, 12], [11], 5, [(1, 0)]),
    ([0, 10], [5], 5, [(0, 0)]),                          # the earlier of two as near
    ([0], [5], 5, [(0, 0)]),
    ([0], [6], 5, []),
    ([0, 10], [9, 12], 20, [(1, 0)]),                     # 0 and 12 would go against the order
    ([0, 4], [3, 30], 50, [(1, 0)]),
    ([0, 3], [2, 30], 50, [(1, 0)]),
    ([2, 5], [3, 30], 50, [(0, 0), (1, 1)]),              # the second nearest, where it is free
    ([], [1], 5, []),
    ([1], [], 5, [])])
def test_pairs_counted_by_hand(stamps, others, limit, expected):
    assert pairs_of(stamps, others, limit) == expected


@pytest.mark.parametrize('seed', range(10))
def test_pairs_are_those_taken_one_by_one(seed):
    rng = np.random.default_rng(seed)
    stamps = np.sort(rng.choice(10 ** 6, 60, replace=False)) * 2
    others = np.sort(rng.choice(10 ** 6, 80, replace=False)) * 2 + 1
    pairs = pairs_of(stamps, others, 20_000)
    assert pairs == pairs_slowly(stamps.tolist(), others.tolist(), 20_000)
    assert len(pairs) > 20


def test_the_nearest_moment_is_that_of_a_search(rng):
    others = np.sort(rng.choice(10 ** 6, 50, replace=False))
    stamps = rng.integers(-10 ** 5, 11 * 10 ** 5, 200)
    difference = np.abs(stamps[:, None] - others)
    found = nearest_moments(stamps, others)
    np.testing.assert_array_equal(difference[np.arange(200), found], difference.min(axis=1))


@pytest.mark.parametrize('poses, stamps_ns, message', [
    (np.zeros((0, 4, 4)), None, r'poses must be \(N, 4, 4\), got \(0, 4, 4\)'),
    (np.zeros((2, 3, 4)), None, r'got \(2, 3, 4\)'),
    (np.full((2, 4, 4), np.inf), None, 'poses must be finite'),
    (np.zeros((2, 4, 4)), np.array([2, 1]), 'one for each pose and must not fall'),
    (np.zeros((2, 4, 4)), np.array([1]), 'one for each pose and must not fall')])
def test_a_trajectory_that_is_none_is_refused(poses, stamps_ns, message):
    with pytest.raises(DatasetError, match=message):
        Trajectory(poses, stamps_ns)


def test_the_shorter_list_takes_the_nearest_of_the_longer_one_even_twice():
    short, long = np.array([10, 12, 50]), np.array([0, 11, 11, 30, 70])
    first, second = associate_nearest(short, long, 15)
    np.testing.assert_array_equal(first, [0, 1])   # 50 is 20 away from both neighbours
    np.testing.assert_array_equal(second, [1, 1])   # of the two at 11 the first
    second, first = associate_nearest(long, short, 20)
    np.testing.assert_array_equal(first, [0, 1, 2])
    np.testing.assert_array_equal(second, [1, 1, 3])   # of two as near the earlier
