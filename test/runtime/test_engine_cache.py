# SPDX-License-Identifier: Apache-2.0
"""The engine cache is never stale, survives crashes, and does without a disk."""
from dataclasses import replace
import errno
import json
import os
from pathlib import Path
import signal
import stat
import subprocess
import sys
import time

from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends.engine_cache import (
    cached_engine, EngineKey, graph_sha256)
import pytest

ROOT = Path(__file__).resolve().parents[2]
KEY = EngineKey(graph='stereo', graph_sha256='ab' * 32, shapes='batch 1 to 4', precision='fp16',
                builder='tensorrt 10.3.0', gpu='Orin, compute capability 8.7', flags=('no TF32',))
ENGINE = bytes(range(256)) * 40   # with newlines inside

# builds slowly: says that it builds, waits for a file, and gives an engine of its own
BUILDER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from crossview_ros.runtime.backends.engine_cache import cached_engine, EngineKey
folder, name = Path(sys.argv[1]), sys.argv[2]

def build():
    (folder.parent / f'{{name}}.builds').touch()
    while not (folder.parent / 'go').exists():
        time.sleep(0.01)
    return b'engine of ' + name.encode()

engine = cached_engine(folder, {key!r}, build, progress=lambda text: print(text, flush=True))
print(engine.decode())
"""


@pytest.fixture
def folder(tmp_path):
    """Return the cache's folder, which is not there yet."""
    return tmp_path / 'engines'


@pytest.fixture
def builder(folder):
    """Return a function that starts a process which builds; all are ended after the test."""
    started = []

    def start(name):
        started.append(subprocess.Popen(
            [sys.executable, '-c', BUILDER.format(root=str(ROOT), key=KEY), str(folder), name],
            stdout=subprocess.PIPE, text=True))
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.wait()


def never():
    """Stand for a build that must not happen."""
    raise AssertionError('built although there is an engine')


def wait_for(condition):
    """Wait until something is so."""
    deadline_s = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def entry(folder):
    """Return the only engine's file."""
    return next(folder.glob('*.engine'))


def test_an_engine_is_built_once(folder):
    assert cached_engine(folder, KEY, lambda: ENGINE) == ENGINE
    assert cached_engine(folder, KEY, never) == ENGINE


@pytest.mark.parametrize('change', [
    {'graph_sha256': 'cd' * 32}, {'shapes': 'batch 1 to 8'}, {'precision': 'fp32'},
    {'builder': 'tensorrt 10.3.1'}, {'gpu': 'Orin, compute capability 8.9'}, {'flags': ()}])
def test_whatever_an_engine_depends_on_makes_another_one(folder, change):
    cached_engine(folder, KEY, lambda: ENGINE)
    assert cached_engine(folder, replace(KEY, **change), lambda: b'other') == b'other'
    assert cached_engine(folder, KEY, never) == ENGINE


def test_force_builds_anew(folder):
    cached_engine(folder, KEY, lambda: b'old')
    assert cached_engine(folder, KEY, lambda: ENGINE, force=True) == ENGINE
    assert cached_engine(folder, KEY, never) == ENGINE


def test_the_folder_is_the_users_own(folder):
    cached_engine(folder, KEY, lambda: ENGINE)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_engines_that_others_may_have_written_are_refused(folder, monkeypatch):
    cached_engine(folder, KEY, lambda: ENGINE)
    folder.chmod(0o707)
    with pytest.raises(BackendError, match='every user may write .*chmod 700'):
        cached_engine(folder, KEY, never)
    folder.chmod(0o700)
    owner = folder.stat().st_uid + 4321
    os.chown(folder, owner, -1) if os.getuid() == 0 else monkeypatch.setattr(
        os, 'getuid', lambda: owner)
    with pytest.raises(BackendError, match='another user .*engine.cache_dir'):
        cached_engine(folder, KEY, never)


@pytest.mark.parametrize('damage', [
    lambda content: content[:-1], lambda content: content[:-1] + b'x', lambda content: b'',
    lambda content: b'[]\n' + content, lambda content: content.replace(b'sha256', b'sha512')])
def test_a_damaged_engine_is_built_anew_and_said(folder, damage, caplog):
    cached_engine(folder, KEY, lambda: ENGINE)
    entry(folder).write_bytes(damage(entry(folder).read_bytes()))
    assert cached_engine(folder, KEY, lambda: b'new') == b'new'
    assert 'damaged' in caplog.text
    assert cached_engine(folder, KEY, never) == b'new'


def test_a_file_tells_what_its_engine_is_for(folder):
    cached_engine(folder, KEY, lambda: ENGINE)
    facts = json.loads(entry(folder).read_bytes().partition(b'\n')[0])
    assert facts['builder'] == 'tensorrt 10.3.0' and facts['precision'] == 'fp16'


def test_of_two_processes_one_builds_and_the_other_waits(folder, tmp_path, builder):
    first = builder('first')
    wait_for((tmp_path / 'first.builds').exists)
    second = builder('second')
    assert 'waiting for another process' in second.stdout.readline()
    (tmp_path / 'go').touch()
    assert first.communicate(timeout=30)[0] == 'engine of first\n'
    assert second.communicate(timeout=30)[0] == 'engine of first\n'
    assert not (tmp_path / 'second.builds').exists()


def test_after_kill_9_in_a_build_the_one_that_waits_builds(folder, tmp_path, builder):
    first = builder('first')
    wait_for((tmp_path / 'first.builds').exists)
    second = builder('second')
    second.stdout.readline()
    first.send_signal(signal.SIGKILL)
    wait_for((tmp_path / 'second.builds').exists)
    (tmp_path / 'go').touch()
    assert second.communicate(timeout=30)[0] == 'engine of second\n'


def test_what_a_killed_writer_left_is_removed(folder):
    cached_engine(folder, KEY, lambda: ENGINE)
    stale = folder / f'.{KEY.file_name}.abc'
    stale.write_bytes(b'half an eng')
    cached_engine(folder, KEY, lambda: ENGINE, force=True)
    assert not stale.exists()


def test_a_full_disk_costs_the_cache_and_not_the_engine(folder, monkeypatch, caplog):
    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, 'fsync', full)
    assert cached_engine(folder, KEY, lambda: ENGINE) == ENGINE
    assert caplog.text.count('No space left') == len(caplog.records) == 1
    assert [path.suffix for path in folder.iterdir()] == ['.lock']   # no part is left


def test_a_folder_that_cannot_be_made_costs_the_cache_only(caplog):
    assert cached_engine(Path('/proc/crossview/engines'), KEY, lambda: ENGINE) == ENGINE
    assert len(caplog.records) == 1 and 'not kept' in caplog.text


def test_engines_are_read_from_a_folder_that_cannot_be_written(folder, monkeypatch, caplog):
    cached_engine(folder, KEY, lambda: ENGINE)
    plain = Path.open

    def read_only(path, mode='r', *args, **kwargs):
        if mode != 'rb':
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return plain(path, mode, *args, **kwargs)
    monkeypatch.setattr(Path, 'open', read_only)
    assert cached_engine(folder, KEY, never) == ENGINE
    assert not caplog.records


def test_an_error_of_the_build_is_the_callers_and_frees_the_lock(folder):
    with pytest.raises(BackendError, match='no such layer'):
        cached_engine(folder, KEY, lambda: (_ for _ in ()).throw(BackendError('no such layer')))
    assert cached_engine(folder, KEY, lambda: ENGINE) == ENGINE


def test_weights_beside_a_graph_are_part_of_it(tmp_path):
    graph, weights = tmp_path / 'encode.onnx', tmp_path / 'encode.weight'
    graph.write_bytes(b'..encode.weight..')
    weights.write_bytes(b'1')
    (tmp_path / 'unrelated').write_bytes(b'1')
    before = graph_sha256(graph)
    (tmp_path / 'unrelated').write_bytes(b'2')
    assert graph_sha256(graph) == before
    weights.write_bytes(b'2')
    assert graph_sha256(graph) != before
