# SPDX-License-Identifier: Apache-2.0
"""A node process is ended in every case, and its exit code is told."""
import os
import signal
import sys

from crossview_ros.cli.node_process import NodeProcess
from crossview_ros.errors import CrossviewError
import pytest

OBEDIENT = """
import signal, sys, time
signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
print('ready', flush=True)
time.sleep(60)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    """Return a function that makes a process of Python code."""
    return lambda code: NodeProcess([sys.executable, '-c', code], tmp_path / 'node.log',
                                    {'CROSSVIEW_TEST': 'yes'})


def wait_ready(node):
    """Wait until the process has printed 'ready'."""
    while 'ready' not in node.log.read_text():
        node.check()


def is_alive(pid):
    """Tell whether a process exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_sigint_ends_a_good_node_with_code_0(start):
    with start(OBEDIENT) as node:
        wait_ready(node)
        assert node.stop() == 0
    assert (node.ended_by, node.exit_code) == ('SIGINT', 0)


def test_a_stubborn_node_is_killed(start):
    with start(STUBBORN) as node:
        wait_ready(node)
        assert node.stop(interrupt_s=0.2, terminate_s=0.2) == -signal.SIGKILL
    assert node.ended_by == 'SIGKILL'


def test_leaving_by_an_error_ends_it_too(start):
    with pytest.raises(RuntimeError, match='mine'):
        with start(OBEDIENT) as node:
            wait_ready(node)
            pid = node._process.pid
            raise RuntimeError('mine')
    assert node.exit_code == 0 and not is_alive(pid)


def test_a_node_that_died_is_told_with_its_last_words(start):
    with start("import sys; print('no such model'); sys.exit(3)") as node:
        node._process.wait()
        with pytest.raises(CrossviewError, match='exit code 3.*no such model'):
            node.check()
    assert (node.ended_by, node.exit_code) == ('itself', 3)


def test_the_environment_is_passed_on(start):
    with start("import os; print(os.environ['CROSSVIEW_TEST'])") as node:
        node._process.wait()
    assert node.log.read_text().strip() == 'yes'


def test_a_second_interrupt_while_waiting_kills(start, monkeypatch):
    with start(STUBBORN) as node:
        wait_ready(node)
        wait = node._process.wait

        def interrupted(timeout=None):
            if timeout is not None:
                raise KeyboardInterrupt
            return wait()
        monkeypatch.setattr(node._process, 'wait', interrupted)
        with pytest.raises(KeyboardInterrupt):
            node.stop()
    assert node.ended_by == 'SIGKILL' and node.exit_code == -signal.SIGKILL
