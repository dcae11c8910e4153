# SPDX-License-Identifier: Apache-2.0
"""The interval of a mean: its width by formula, wider for frames that err alike, seeded."""
from crossview_ros.metrics.bootstrap import block_bootstrap, Interval
import numpy as np
import pytest


def test_interval_of_independent_values_is_that_of_the_standard_error(rng):
    values = rng.normal(3.0, 1.0, 400)
    interval = block_bootstrap(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.high - interval.mean == pytest.approx(half, rel=0.2)
    assert interval.mean - interval.low == pytest.approx(half, rel=0.2)


def test_values_that_follow_each_other_alike_widen_the_interval(rng):
    alike = np.repeat(rng.normal(size=100), 8)   # 800 values, 100 of them independent
    mixed = rng.permutation(alike)
    widths = [interval.high - interval.low for interval in map(block_bootstrap, (alike, mixed))]
    assert widths[0] > 2 * widths[1]


def test_same_seed_same_interval_and_few_values_none(rng):
    values = rng.normal(size=50)
    assert block_bootstrap(values) == block_bootstrap(values)
    assert block_bootstrap(values, seed=1) != block_bootstrap(values)
    few = block_bootstrap(values[:4])
    assert few.mean == pytest.approx(values[:4].mean()) and np.isnan((few.low, few.high)).all()
    assert not few.excludes_zero


@pytest.mark.parametrize('low, high, excludes', [(0.1, 0.2, True), (-0.2, -0.1, True),
                                                 (-0.1, 0.2, False), (0.0, 0.2, False)])
def test_an_interval_excludes_zero_only_on_one_side_of_it(low, high, excludes):
    assert Interval((low + high) / 2, low, high).excludes_zero is excludes
