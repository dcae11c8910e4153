# SPDX-License-Identifier: Apache-2.0
"""Small parts of the node: the model loader, the throttled log, shared memory for images."""
import os
import threading
import time

from crossview_ros.errors import BackendError, CheckpointError
from crossview_ros.ros import large_messages
from crossview_ros.ros.large_messages import LargeMessages
from crossview_ros.ros.model_loader import ModelLoader
from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.throttled_log import ThrottledLog
import pytest

SETTINGS = PerceptionNodeParameters()
LIMIT_S = 5.0
FASTDDS = 'FASTDDS_DEFAULT_PROFILES_FILE'
FASTRTPS = 'FASTRTPS_DEFAULT_PROFILES_FILE'


class Lines(list):
    """Records what a logger is told."""

    def warning(self, text):
        """Record."""
        self.append(('warning', text))

    def error(self, text):
        """Record."""
        self.append(('error', text))


class Closable:
    """An engine that remembers being closed."""

    closed = False

    def close(self):
        """Remember."""
        self.closed = True


@pytest.fixture
def free_choice(monkeypatch, tmp_path):
    """Remove whatever the environment says about middleware and transports."""
    monkeypatch.setattr(large_messages, 'SHARED_MEMORY', tmp_path)
    for name in (*large_messages.USER_SETTINGS, 'RMW_IMPLEMENTATION', 'ROS_DISTRO'):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_loader_hands_over_what_the_factory_made():
    loader = ModelLoader(
        lambda settings, progress: (settings.model, threading.current_thread().name), SETTINGS)
    assert loader.wait(LIMIT_S)
    assert loader.take() == ('crossview_tiny', 'model_loader')


def test_the_loader_tells_while_it_loads():
    release = threading.Event()

    def load(settings, progress):
        """Take its time."""
        progress('building stereo: 40 %')
        release.wait(LIMIT_S)
    loader = ModelLoader(load, SETTINGS)
    assert not loader.wait(0.1)
    assert loader.progress == 'building stereo: 40 %'
    release.set()
    assert loader.wait(LIMIT_S)


def test_an_engine_whose_build_is_given_up_is_not_built_to_the_end():
    steps = []

    def build(settings, progress):
        for percent in range(10000):
            progress(f'{percent} %')
            steps.append(percent)
            time.sleep(0.01)
    loader = ModelLoader(build, SETTINGS)
    loader.discard(LIMIT_S)
    assert loader.wait(0.0) and len(steps) < 1000
    with pytest.raises(BackendError, match='given up'):
        loader.take()


@pytest.mark.parametrize('error, kind, text', [
    (CheckpointError('no model'), CheckpointError, 'no model'),
    (OSError('disk'), BackendError, 'crossview_tiny cannot be loaded: OSError: disk'),
])
def test_a_failure_to_load_is_told_to_who_takes(error, kind, text):
    def fail(settings, progress):
        raise error
    loader = ModelLoader(fail, SETTINGS)
    assert loader.wait(LIMIT_S)
    with pytest.raises(kind, match=text):
        loader.take()


def test_an_engine_that_nobody_took_is_closed():
    engine = Closable()
    ModelLoader(lambda settings, progress: engine, SETTINGS).discard(LIMIT_S)
    assert engine.closed


def test_the_same_key_is_said_once_per_period_with_the_count_of_the_others():
    now_s = [100.0]
    lines = Lines()
    log = ThrottledLog(lines, period_s=5.0, clock=lambda: now_s[0])
    for now_s[0] in (100.0, 101.0, 104.9, 105.0):
        log.error('image', f'at {now_s[0]}')
        log.warning('other', 'text')
    assert lines == [('error', 'at 100.0'), ('warning', 'text'),
                     ('error', 'at 105.0 (and 2 more)'), ('warning', 'text (and 2 more)')]


def test_some_things_are_said_once_only():
    lines = Lines()
    log = ThrottledLog(lines)
    for _ in range(3):
        log.warning_once('frame', 'text')
    assert lines == [('warning', 'text')]


def test_the_profile_exists_while_the_participant_is_made_and_not_after(free_choice):
    with LargeMessages():
        path = os.environ[FASTDDS]
        text = open(path, encoding='utf-8').read()
        assert '<type>SHM</type>' in text and '<type>UDPv4</type>' in text
    assert FASTDDS not in os.environ
    assert not os.path.exists(path)


@pytest.mark.parametrize('distro, names', [
    ('jazzy', {FASTRTPS}), ('kilted', {FASTDDS}), ('', {FASTRTPS, FASTDDS})])
def test_the_profile_goes_by_the_name_that_the_distribution_reads(free_choice, distro, names):
    free_choice.setenv('ROS_DISTRO', distro)
    with LargeMessages():
        assert {FASTRTPS, FASTDDS} & set(os.environ) == names
    assert not {FASTRTPS, FASTDDS} & set(os.environ)


@pytest.mark.parametrize('name, value', [
    ('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp'),
    ('FASTDDS_BUILTIN_TRANSPORTS', 'UDPv4'),
    ('FASTRTPS_DEFAULT_PROFILES_FILE', '/mine.xml'),
])
def test_what_the_user_has_chosen_stays(free_choice, name, value):
    free_choice.setenv(name, value)
    with LargeMessages():
        assert FASTDDS not in os.environ
        assert os.environ[name] == value


def test_scarce_shared_memory_is_left_alone(free_choice):
    free_choice.setattr(large_messages, 'SMALLEST_SEGMENT_BYTES', 1 << 60)
    with LargeMessages():
        assert FASTDDS not in os.environ
