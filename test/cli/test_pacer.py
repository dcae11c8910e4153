# SPDX-License-Identifier: Apache-2.0
"""A player that waits for a slow node, and does not wait forever for a lost answer."""
from crossview_ros.cli import pacer as pacer_module
from crossview_ros.cli.pacer import Pacer
import pytest


class Node:
    """Answers as many frames as told; waiting makes the rest come, if anything does."""

    def __init__(self):
        self.answered, self.coming, self.waits = 0, 0, []

    def wait_for(self, count, timeout_s):
        """Pretend to wait."""
        if timeout_s and self.answered < count:
            self.waits.append(count)
            self.answered += self.coming
        return self.answered >= count


@pytest.fixture(name='node')
def _node():
    return Node()


def test_a_node_that_keeps_up_is_never_waited_for(node):
    pacer = Pacer(node.wait_for)
    for sent in range(10):
        node.answered = sent
        pacer.before_frame(sent)
    assert node.waits == [] and pacer.num_held == 0 and pacer.held_s == 0


def test_each_frame_waits_for_the_answer_before_it(node):
    pacer, node.coming = Pacer(node.wait_for), 1
    for sent in range(3):
        pacer.before_frame(sent)
    assert node.waits == [1, 2] and pacer.num_held == 2


def test_a_lost_answer_is_waited_for_once(node, monkeypatch):
    monkeypatch.setattr(pacer_module, 'HOLD_LIMIT_S', 0.001)
    pacer = Pacer(node.wait_for)
    pacer.before_frame(1)           # the first answer never comes
    assert node.waits == [1] and pacer.num_held == 1
    node.answered = 1               # that of the second frame
    pacer.before_frame(2)
    assert node.waits == [1]


def test_a_first_frame_that_is_never_answered_is_not_waited_for(node):
    pacer = Pacer(node.wait_for, num_without_answer=1)
    pacer.before_frame(1)
    assert node.waits == []
    pacer.before_frame(2)
    assert node.waits == [1]
