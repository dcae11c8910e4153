# SPDX-License-Identifier: Apache-2.0
"""Promises of mixtures: exact shares, exact epochs, incomplete data told."""
from collections import Counter

from crossview_ros.errors import ConfigError, DatasetError
from crossview_ros.training.data_config import DataConfig, DatasetUse
from crossview_ros.training.mixture import (
    Mixture, open_mixture, Part, places_of_step, steps_per_epoch)
from layouts import LAYOUTS
import pytest


def test_an_epoch_shows_each_sample_as_often_as_its_part_is_repeated():
    mixture = Mixture([Part('abcd', range(4), 1), Part('xy', range(2), 3),
                       Part('0123456789', range(7, 9), 2)])
    assert len(mixture) == 4 + 6 + 4
    expected = Counter({**dict.fromkeys('abcd', 1), 'x': 3, 'y': 3, '7': 2, '8': 2})
    assert Counter(mixture[i] for i in range(len(mixture))) == expected
    drawn = Counter(mixture[place] for step in range(7)
                    for place in places_of_step(0, step, 2, len(mixture)))
    assert drawn == expected
    with pytest.raises(IndexError):
        mixture[14]


def test_each_epoch_has_its_own_order_and_drops_what_fills_no_batch():
    def epoch(number, seed=5):
        return [place for step in range(3 * number, 3 * number + 3)
                for place in places_of_step(seed, step, 3, 10)]
    assert steps_per_epoch(3, 10) == 3
    for number in (0, 1, 7):
        assert len(set(epoch(number))) == 9 and set(epoch(number)) <= set(range(10))
        assert epoch(number) == epoch(number)
    assert len({tuple(epoch(n)) for n in range(5)}) == 5
    assert epoch(0) != epoch(0, seed=6)
    # which one is left out changes, so that none is lost for good
    assert len({(set(range(10)) - set(epoch(n))).pop() for n in range(30)}) > 5


def test_a_shorter_epoch_draws_anew_from_the_whole_mixture():
    epochs = [[place for step in range(2 * n, 2 * n + 2)
               for place in places_of_step(0, step, 4, 100, epoch_size=9)] for n in range(40)]
    assert all(len(set(places)) == 8 for places in epochs)
    assert len(set().union(*epochs)) > 90   # 320 draws of 100: 96 expected


@pytest.mark.parametrize('size, count, epoch_size', [(5, 4, None), (2, 10, 11), (5, 10, 4)])
def test_an_epoch_without_a_whole_batch_is_refused(size, count, epoch_size):
    with pytest.raises(ConfigError, match='must hold a batch of'):
        places_of_step(0, 0, size, count, epoch_size)


@pytest.fixture
def root(tmp_path):
    for name in ('eth3d', 'sintel_flow'):
        LAYOUTS[name](tmp_path / name)
    return tmp_path


def data_config(root, *uses, **values):
    return DataConfig(source='datasets', root=str(root), mixture=uses, validation=uses, **values)


def test_a_mixture_opens_splits_folders_and_options_of_its_parts(root):
    (root / 'sintel_flow').rename(root / 'MPI')
    uses = (DatasetUse('eth3d', 'subtrain', repeat=3),
            DatasetUse('sintel_flow', 'subval', folder='MPI', options={'passes': ['final']}))
    mixture = open_mixture(uses, data_config(root, *uses))
    names = [mixture[i].name for i in range(len(mixture))]
    assert names[:6] == ['delivery_area_1l', 'facade_1s'] * 3
    assert len(names) == 6 + 4 and all(name.startswith('final/temple') for name in names[6:])


def test_an_incomplete_data_set_is_told_unless_it_may_be(root):
    use = DatasetUse('eth3d', count=27)
    with pytest.raises(DatasetError, match='eth3d: expected 27 samples of eth3d train, found 3'):
        open_mixture([use], data_config(root, use))
    assert len(open_mixture([use], data_config(root, use, partial=True))) == 3
    assert len(open_mixture([DatasetUse('eth3d', count=3)], data_config(root, use))) == 3


@pytest.mark.parametrize('use, message', [
    (DatasetUse('eth4d'), "unknown data set 'eth4d'; known: booster"),
    (DatasetUse('eth3d', options={'passes': ['clean']}), "'eth3d': impossible options")])
def test_impossible_parts_are_refused(root, use, message):
    with pytest.raises(ConfigError, match=message):
        open_mixture([use], data_config(root, use))


@pytest.mark.parametrize('values, message', [
    ({'source': 'datasets', 'root': 'x'}, 'data.mixture'),
    ({'source': 'datasets', 'root': 'x', 'mixture': (DatasetUse('eth3d'),)}, 'data.validation'),
    ({'source': 'pairs'}, 'needs data.folder'),
    ({'workers': 0}, 'at least 1'), ({'epoch_size': 0}, 'at least 1'),
    ({'size_hw': (100, 100)}, 'does not fit data.size_hw')])
def test_a_source_without_what_it_needs_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        DataConfig(**values)


def test_a_part_that_is_never_shown_is_refused():
    with pytest.raises(ConfigError, match='repeat must be at least 1'):
        DatasetUse('eth3d', repeat=0)
