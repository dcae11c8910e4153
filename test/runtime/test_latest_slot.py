# SPDX-License-Identifier: Apache-2.0
"""The newest item wins, the others are counted, and nobody waits for ever."""
import threading

from crossview_ros.runtime.latest_slot import LatestSlot
import pytest


def test_newest_wins_and_the_others_are_counted():
    slot = LatestSlot()
    assert all(slot.put(item) for item in 'abc')
    assert slot.take(timeout_s=0) == 'c'
    assert (slot.num_put, slot.num_dropped) == (3, 2)


def test_an_item_is_taken_once():
    slot = LatestSlot()
    slot.put('a')
    assert slot.take() == 'a'
    assert slot.take(timeout_s=0) is None
    assert slot.num_dropped == 0


def test_items_that_are_false_are_items():
    slot = LatestSlot()
    slot.put(0)
    assert slot.take(timeout_s=0) == 0
    with pytest.raises(ValueError, match='None'):
        slot.put(None)


def test_take_waits_for_an_item_of_another_thread():
    slot, waiting, taken = LatestSlot(), threading.Event(), []

    def taker():
        waiting.set()
        taken.append(slot.take(timeout_s=10))
    thread = threading.Thread(target=taker)
    thread.start()
    assert waiting.wait(10)
    slot.put('a')
    thread.join(10)
    assert taken == ['a']


def test_close_wakes_the_taker_drops_the_item_and_refuses_more():
    slot, taken = LatestSlot(), []
    thread = threading.Thread(target=lambda: taken.append(slot.take()))
    thread.start()
    slot.close()
    thread.join(10)
    assert not thread.is_alive() and taken == [None]
    assert not slot.put('a') and slot.closed and slot.num_put == 0
    slot = LatestSlot()
    slot.put('a')
    slot.close()
    assert slot.take() is None and slot.num_dropped == 1


def test_clear_drops_what_waits_and_stays_open():
    slot = LatestSlot()
    slot.put('a')
    slot.clear()
    assert slot.take(timeout_s=0) is None and slot.num_dropped == 1
    assert slot.put('b') and slot.take(timeout_s=0) == 'b'


def test_each_item_is_taken_or_counted_under_load():
    slot, taken = LatestSlot(), []

    def taker():
        while (item := slot.take()) is not None:
            taken.append(item)
    thread = threading.Thread(target=taker)
    thread.start()
    putters = [threading.Thread(target=lambda: [slot.put(i) for i in range(500)])
               for _ in range(3)]
    for putter in putters:
        putter.start()
    for putter in putters:
        putter.join(20)
    slot.close()
    thread.join(20)
    assert slot.num_put == 1500 == len(taken) + slot.num_dropped
