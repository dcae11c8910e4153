# SPDX-License-Identifier: Apache-2.0
"""Left and right images are paired by stamp, each once; what stays alone is counted."""
from crossview_ros.replay.pairing import MAX_WAITING, SingleCamera, StereoPairer
import pytest


def pair(pairer, *events):
    """Feed ('l'|'r', stamp) events; return the pairs as (left stamp, right message, restart)."""
    found = []
    for side, stamp in events:
        add = pairer.add_left if side == 'l' else pairer.add_right
        found += add(stamp, f'{side}{stamp}')
    found += pairer.finish()
    assert all(left == f'l{stamp}' for stamp, left, _, _ in found)
    return [(stamp, right, restart) for stamp, _, right, restart in found]


def test_equal_stamps_pair_in_any_order():
    pairer = StereoPairer(0)
    assert pair(pairer, ('l', 10), ('r', 10), ('r', 20), ('l', 20)) == [
        (10, 'r10', False), (20, 'r20', False)]
    assert pairer.counts.unmatched == 0


def test_without_slop_unequal_stamps_stay_alone():
    pairer = StereoPairer(0)
    assert pair(pairer, ('l', 10), ('r', 11), ('l', 20), ('r', 20)) == [(20, 'r20', False)]
    assert pairer.counts.unmatched == 2


def test_the_nearest_within_the_slop_is_taken():
    pairer = StereoPairer(5)
    assert pair(pairer, ('r', 6), ('l', 10), ('r', 11), ('l', 20), ('r', 24), ('l', 30)) == [
        (10, 'r11', False), (20, 'r24', False)]
    assert pairer.counts.unmatched == 2   # r6 and l30


def test_a_later_equal_stamp_beats_an_earlier_near_one():
    assert pair(StereoPairer(5), ('r', 8), ('l', 10), ('r', 10)) == [(10, 'r10', False)]


def test_each_image_is_used_once():
    pairer = StereoPairer(10)
    assert pair(pairer, ('l', 10), ('r', 12), ('l', 14)) == [(10, 'r12', False)]
    assert pairer.counts.unmatched == 1


def test_a_small_step_back_is_dropped_and_counted():
    pairer = StereoPairer(0)
    assert pair(pairer, ('r', 10), ('l', 10), ('r', 5), ('l', 5), ('r', 20), ('l', 20)) == [
        (10, 'r10', False), (20, 'r20', False)]
    assert pairer.counts.backward == 1 and pairer.counts.restarts == 0


@pytest.mark.parametrize('right_first', [False, True])
def test_a_jump_back_of_a_second_starts_anew(right_first):
    second = 10**9
    again = [('l', second), ('r', second)]
    if right_first:
        again.reverse()
    pairer = StereoPairer(0)
    assert pair(pairer, ('l', 5 * second), ('r', 5 * second), *again) == [
        (5 * second, f'r{5 * second}', False), (second, f'r{second}', True)]
    assert pairer.counts.restarts == 1


def test_a_side_that_stops_does_not_fill_the_memory():
    pairer = StereoPairer(0)
    for stamp in range(10 * MAX_WAITING):
        list(pairer.add_left(stamp, None))
    assert len(pairer._lefts) <= MAX_WAITING
    list(pairer.finish())
    assert pairer.counts.unmatched == 10 * MAX_WAITING


def test_counts_add_up():
    pairer = StereoPairer(3)
    pair(pairer, ('l', 0), ('r', 2), ('l', 10), ('l', 20), ('r', 21), ('r', 40), ('l', 19))
    counts = pairer.counts
    assert counts.left + counts.right == 2 * counts.paired + counts.unmatched + counts.backward


def test_images_of_one_camera_pass_in_order_and_old_ones_are_counted():
    camera, second = SingleCamera(), 10**9
    found = []
    for stamp in (5 * second, 5 * second + 7, 5 * second + 3, 2 * second, 2 * second + 1):
        found += [(at, restart) for at, _, _, restart in camera.add_left(stamp, None)]
    assert found == [(5 * second, False), (5 * second + 7, False), (2 * second, True),
                     (2 * second + 1, False)]
    counts = camera.counts
    assert (counts.left, counts.paired, counts.backward, counts.restarts) == (5, 4, 1, 1)
