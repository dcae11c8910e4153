# SPDX-License-Identifier: Apache-2.0
"""The synchroniser: which messages find each other, which are counted as lost and why."""
from crossview_ros.ros.synchronizer import Synchronizer
import numpy as np
import pytest

MS = 1_000_000
S = 1_000_000_000
START = 1_700_000_000 * S
PAIR = ('left', 'right')
FOUR = ('left', 'left_info', 'right', 'right_info')


def feed(sync, *items):
    """Add (stream, stamp) pairs, the stamp itself being the message; return stamps of sets."""
    return [matched for stream, stamp in items for matched in sync.add(stream, stamp, stamp)]


def stamps(sets):
    """Return the messages of each set in the order of the streams."""
    return [tuple(matched.messages.values()) for matched in sets]


def test_equal_stamps_match_once_all_streams_have_them():
    sync = Synchronizer(FOUR)
    assert feed(sync, ('right_info', START), ('left', START), ('right', START)) == []
    (matched,) = feed(sync, ('left_info', START))
    assert matched.stamp_ns == START
    assert matched.messages == dict.fromkeys(FOUR, START)
    assert all(counts.matched == 1 and counts.unmatched == 0 for counts in sync.counts.values())


def test_exact_matching_refuses_one_nanosecond():
    sync = Synchronizer(PAIR)
    assert feed(sync, ('left', START), ('right', START + 1)) == []
    assert sync.nearest_ns == {'right': 1}


def test_what_a_stream_has_passed_is_counted_as_unmatched():
    sync = Synchronizer(PAIR)
    found = feed(sync, ('left', START), ('left', START + 100 * MS), ('right', START + 100 * MS))
    assert stamps(found) == [(START + 100 * MS,) * 2]
    assert sync.counts['left'].unmatched == 1
    assert sync.counts['right'].unmatched == 0


@pytest.mark.parametrize('seed', range(20))
def test_exact_matching_finds_the_intersection_of_the_streams(seed):
    rng = np.random.default_rng(seed)
    times = START + np.arange(60) * 50 * MS
    kept = {name: times[rng.random(60) > 0.2] for name in FOUR}
    # each stream in order, the streams interleaved with delays of up to 3 periods
    arrivals = sorted((stamp + rng.integers(0, 40 * MS) + offset, name, int(stamp))
                      for name, offset in zip(FOUR, rng.integers(0, 110 * MS, 4))
                      for stamp in kept[name])
    sync = Synchronizer(FOUR)
    found = feed(sync, *[(name, stamp) for _, name, stamp in arrivals])
    expected = sorted(set.intersection(*(set(stamps.tolist()) for stamps in kept.values())))
    assert [matched.stamp_ns for matched in found] == expected
    for name, counts in sync.counts.items():
        assert counts.received == len(kept[name])
        assert counts.matched == len(expected)


def test_nearest_stamps_match_within_the_interval_only():
    sync = Synchronizer(PAIR, max_interval_ns=5 * MS)
    assert stamps(feed(sync, ('left', START), ('right', START + 5 * MS))) == [
        (START, START + 5 * MS)]
    assert feed(sync, ('left', START + 100 * MS), ('right', START + 106 * MS)) == []
    assert sync.counts['left'].unmatched == 1


def test_a_nearer_partner_is_waited_for():
    sync = Synchronizer(PAIR, max_interval_ns=20 * MS)
    assert feed(sync, ('right', START - 10 * MS), ('left', START)) == []
    assert stamps(feed(sync, ('right', START + 2 * MS))) == [(START, START + 2 * MS)]
    assert sync.counts['right'].unmatched == 1


def test_a_known_period_spares_the_wait_for_a_partner_that_comes_early():
    sync = Synchronizer(PAIR, max_interval_ns=20 * MS)
    feed(sync, ('right', START - 3 * MS), ('left', START), ('right', START + 97 * MS))
    # the next right is not due before START + 147 ms, so nothing nearer can come
    assert stamps(feed(sync, ('left', START + 100 * MS))) == [
        (START + 100 * MS, START + 97 * MS)]


@pytest.mark.parametrize('seed', range(20))
def test_jittered_streams_match_pair_by_pair(seed):
    rng = np.random.default_rng(seed)
    times = START + np.arange(50) * 100 * MS
    lefts = times + rng.integers(-4, 5, 50) * MS
    rights = times + rng.integers(-4, 5, 50) * MS
    arrivals = sorted(
        [(int(stamp) + delay, 'left', int(stamp))
         for stamp, delay in zip(lefts, rng.integers(0, 30 * MS, 50))]
        + [(int(stamp) + delay, 'right', int(stamp))
           for stamp, delay in zip(rights, rng.integers(0, 30 * MS, 50))])
    sync = Synchronizer(PAIR, max_interval_ns=10 * MS)
    found = feed(sync, *[(name, stamp) for _, name, stamp in arrivals],
                 ('right', START + 6 * S))   # ends the wait for a nearer last partner
    assert stamps(found) == list(zip(lefts.tolist(), rights.tolist()))


def test_each_message_is_used_once():
    sync = Synchronizer(PAIR, max_interval_ns=50 * MS)
    found = feed(sync, ('left', START), ('left', START + 10 * MS), ('right', START + 5 * MS),
                 ('right', START + 200 * MS))
    assert len(found) == 1


def test_a_stamp_that_goes_back_a_little_is_dropped_and_counted():
    sync = Synchronizer(PAIR)
    feed(sync, ('left', START + S), ('right', START + S))
    assert feed(sync, ('left', START + S - 1), ('right', START + S - 1)) == []
    assert sync.counts['left'].backward == sync.counts['right'].backward == 1
    assert len(feed(sync, ('left', START + S + 1), ('right', START + S + 1))) == 1


def test_a_repeated_stamp_is_dropped_and_counted():
    sync = Synchronizer(PAIR)
    assert len(feed(sync, ('left', START), ('right', START))) == 1
    assert feed(sync, ('left', START), ('right', START)) == []
    assert sync.counts['left'].repeated == 1


def test_a_jump_back_of_a_second_begins_a_new_epoch_and_loses_nothing_after_it():
    sync = Synchronizer(PAIR)
    before = feed(sync, ('left', START + 9 * S), ('right', START + 9 * S),
                  ('left', START + 10 * S))
    # the right message from before the jump comes after the left one from behind it
    after = feed(sync, ('left', START), ('right', START + 10 * S), ('left', START + 100 * MS),
                 ('right', START), ('right', START + 100 * MS))
    assert [matched.epoch for matched in before] == [0]
    assert stamps(after) == [(START,) * 2, (START + 100 * MS,) * 2]
    assert [matched.epoch for matched in after] == [1, 1]
    assert sync.num_restarts == 1
    assert sync.counts['left'].unmatched == 1


def test_zero_stamps_match_each_other_and_are_counted():
    sync = Synchronizer(FOUR)
    for _ in range(3):
        (matched,) = feed(sync, *[(name, 0) for name in FOUR])
        assert matched.stamp_ns == 0
    assert sync.counts['left'].zero_stamp == 3


def test_one_zero_stamp_among_good_ones_costs_no_other_match():
    sync = Synchronizer(PAIR)
    found = feed(sync, ('left', START), ('right', START), ('left', 0), ('left', START + S),
                 ('right', START + S))
    assert [matched.stamp_ns for matched in found] == [START, START + S]
    assert [matched.epoch for matched in found] == [0, 0]
    assert sync.counts['left'].unmatched == 1


def test_a_negative_stamp_counts_as_none():
    sync = Synchronizer(PAIR)
    (matched,) = feed(sync, ('left', -5), ('right', -7))
    assert matched.stamp_ns == 0


def test_a_stray_stamp_from_the_future_costs_only_itself():
    sync = Synchronizer(PAIR)
    found = feed(sync, ('left', START), ('right', START), ('left', START + 3600 * S),
                 ('left', START + 100 * MS), ('right', START + 100 * MS))
    assert [matched.stamp_ns for matched in found] == [START, START + 100 * MS]
    assert found[1].epoch == 0   # it never came out, so time has not gone back for anybody


def test_the_queue_is_bounded():
    sync = Synchronizer(PAIR, queue_size=3)
    feed(sync, *[('left', START + index * S) for index in range(10)])
    assert sync.counts['left'].unmatched == 7
    assert len(feed(sync, ('right', START + 9 * S))) == 1


def test_restart_forgets_what_waits():
    sync = Synchronizer(PAIR)
    feed(sync, ('left', START))
    sync.restart()
    assert feed(sync, ('right', START)) == []
    (matched,) = feed(sync, ('left', START))
    assert matched.epoch == 1
    assert sync.counts['left'].unmatched == 1


@pytest.mark.parametrize('now_ns, epoch', [(START - 10 * S, 1), (START, 0), (START + 10 * S, 0)])
def test_a_clock_that_jumps_after_the_stamps_forgets_nothing(now_ns, epoch):
    sync = Synchronizer(PAIR)
    feed(sync, ('left', START))
    sync.restart(now_ns)
    assert sync.num_restarts == epoch
    assert len(feed(sync, ('right', START))) == (0 if epoch else 1)


def test_late_messages_from_before_a_jump_of_the_clock_are_dropped():
    sync = Synchronizer(PAIR)
    feed(sync, *[(side, START + 10 * S) for side in PAIR])
    sync.restart(START)
    late = feed(sync, *[(side, START + 10 * S + number * 100 * MS)
                        for number in (1, 2) for side in PAIR])
    again = feed(sync, *[(side, START + number * 100 * MS) for number in (1, 2) for side in PAIR])
    assert late == [] and sync.counts['left'].unmatched == 2
    assert [matched.epoch for matched in again] == [1, 1] and sync.num_restarts == 1


def test_messages_that_never_go_back_are_answered_again_after_a_second():
    sync = Synchronizer(PAIR)
    feed(sync, *[(side, START + 10 * S) for side in PAIR])
    sync.restart(START)
    assert len(feed(sync, *[(side, START + 11 * S) for side in PAIR])) == 1


def test_the_smallest_difference_is_known_until_a_match():
    sync = Synchronizer(PAIR)
    feed(sync, ('left', START), ('right', START + 7 * MS), ('left', START + 10 * MS))
    assert sync.nearest_ns == {'right': 3 * MS}
    feed(sync, ('right', START + 10 * MS))
    assert sync.nearest_ns == {}
