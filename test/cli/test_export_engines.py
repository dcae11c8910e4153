# SPDX-License-Identifier: Apache-2.0
"""Verb export writes engines: what it refuses, and that it needs no GPU for TensorRT-RTX."""
import importlib.util

from crossview_ros.cli.main import main
from crossview_ros.errors import BackendError
import pytest

needs_rtx = pytest.mark.skipif(not importlib.util.find_spec('tensorrt_rtx'),
                               reason='tensorrt-rtx is not installed')


def test_the_other_formats_need_a_place_to_write_to(capsys):
    assert main(['export', 'crossview_tiny', '--format', 'official']) == 1
    assert '--format official needs --out' in capsys.readouterr().err


@pytest.mark.skipif(bool(importlib.util.find_spec('tensorrt')), reason='tensorrt is installed')
def test_without_tensorrt_it_says_what_to_install(capsys):
    assert main(['export', 'crossview_tiny', '--format', 'tensorrt']) == 1
    assert 'pip install tensorrt' in capsys.readouterr().err


@pytest.fixture(scope='module')
def cache(tmp_path_factory):
    """Return a cache that the tests share: graphs are exported once."""
    return tmp_path_factory.mktemp('cache')


@needs_rtx
def test_engines_go_into_the_cache_and_are_built_once(cache, tmp_path, capsys, monkeypatch):
    from crossview_ros.export import tensorrt
    builds = []
    monkeypatch.setattr(tensorrt, 'build_engine',
                        lambda trt, path, *_: builds.append(path.stem) or b'engine')
    command = ['export', 'crossview_tiny', '--format', 'tensorrt-rtx', '--size', '64x96',
               '--cache-dir', str(cache)]
    assert main(command) == main([*command, '--out', str(tmp_path / 'out')]) == 0
    assert sorted(builds) == ['depth', 'encode', 'flow', 'stereo']
    told = capsys.readouterr().out
    assert '64x96 fp16' in told and 'compute capability 8.6 8.9 12.0' in told
    assert (tmp_path / 'out' / 'stereo.engine').read_bytes() == b'engine'
    assert main([*command, '--force']) == 0 and len(builds) == 8


@needs_rtx
def test_several_sizes_get_their_engines_in_one_call(cache, tmp_path, capsys, monkeypatch):
    from crossview_ros.export import tensorrt
    monkeypatch.setattr(tensorrt, 'build_engine', lambda trt, path, *_: b'engine')
    assert main(['export', 'crossview_tiny', '--format', 'tensorrt-rtx', '--size', '64x96',
                 '--size', '60x90', '--size', '32x64', '--cache-dir', str(cache), '--out',
                 str(tmp_path)]) == 0
    # images of 60x90 are padded to 64x96
    assert sorted(path.name for path in tmp_path.iterdir()) == ['32x64', '64x96']
    assert capsys.readouterr().out.count('32x64 fp16') == 4


@needs_rtx
def test_a_cache_that_keeps_nothing_is_an_error(cache, capsys, monkeypatch):
    from crossview_ros.export import tensorrt
    from crossview_ros.runtime.backends import engine_cache

    def full(path, write):
        raise BackendError('no room')
    monkeypatch.setattr(tensorrt, 'build_engine', lambda trt, path, *_: b'engine')
    monkeypatch.setattr(engine_cache, 'write_file', full)
    assert main(['export', 'crossview_tiny', '--format', 'tensorrt-rtx', '--size', '64x96',
                 '--max-batch', '3', '--cache-dir', str(cache)]) == 1
    assert 'nothing was kept' in capsys.readouterr().err
