# SPDX-License-Identifier: Apache-2.0
"""A topic is read beside the images: the nearest message of a stamp, also where a bag loops."""
from crossview_ros.messages.header import stamp_ns
from crossview_ros.replay.stamped_topic import StampedTopics
import numpy as np
import pytest

BLANK = np.zeros((32, 48), np.uint8)
SECOND = 10**9


@pytest.fixture
def topics(make_bag):
    """Return a function that writes images with stamps and opens them."""
    def write(*stamps):
        with make_bag() as bag:
            for index, stamp in enumerate(stamps):
                bag.image('/image', stamp, BLANK, 'mono8', time_ns=SECOND + index)
        return StampedTopics(bag.folder, ['/image', '/absent'])
    return write


def ask(topics, stamp, tolerance_ns=0):
    """Return the stamp of the message that is found, or None."""
    message = topics.nearest('/image', stamp, tolerance_ns)
    return None if message is None else stamp_ns(message)


def test_the_nearest_before_or_after_is_found_within_the_tolerance(topics):
    with topics(10, 20, 30) as opened:
        assert [ask(opened, stamp, 4) for stamp in (0, 7, 13, 16, 20, 20, 25, 33, 40)] == [
            None, 10, 10, 20, 20, 20, None, 30, None]
        assert opened.names == ['/image'] and opened.nearest('/absent', 10, 4) is None
        assert opened.nearest(None, 10, 4) is None


def test_a_loop_of_the_bag_is_waited_for_and_found(topics):
    with topics(5 * SECOND, 6 * SECOND, 2 * SECOND, 3 * SECOND) as opened:
        # the images go on to 7 s: the second round must not be used up before the restart
        assert [ask(opened, number * SECOND) for number in (5, 6, 7)] == [
            5 * SECOND, 6 * SECOND, None]
        opened.restart()
        assert [ask(opened, number * SECOND) for number in (2, 3)] == [2 * SECOND, 3 * SECOND]


def test_a_topic_that_ends_before_the_loop_is_silent(topics):
    with topics(5 * SECOND) as opened:
        assert ask(opened, 5 * SECOND) == 5 * SECOND
        opened.restart()
        assert ask(opened, 2 * SECOND) is None
