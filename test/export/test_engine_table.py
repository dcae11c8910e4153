# SPDX-License-Identifier: Apache-2.0
"""`make engines` tells of each build how it ended, and goes on with the next."""
import importlib.util
from pathlib import Path
import sys
from types import SimpleNamespace

from crossview_ros.errors import BackendError
from crossview_ros.export import tensorrt
import pytest

PATH = Path(__file__).resolve().parents[2] / 'benchmarks' / 'engines.py'


@pytest.fixture
def table(monkeypatch):
    """Return the script as a module; it is told to build the shipped model in fp16."""
    spec = importlib.util.spec_from_file_location('engines_table', PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [
        'engines.py', '--models', 'crossview_tiny', '--precisions', 'fp16', '--targets', '8.6',
        '8.9'])
    return module


def test_a_build_that_is_killed_is_a_row_and_the_others_go_on(table, monkeypatch, capsys):
    built = []

    def run(command):
        built.append(command[command.index('--graph') + 1])
        return SimpleNamespace(returncode=-9 if built[-1] == 'flow' else 0)
    monkeypatch.setattr(table.subprocess, 'run', run)
    assert table.main() == 1
    assert built[0] == 'encode' and {'flow', 'stereo'} < set(built)
    killed, = (line for line in capsys.readouterr().out.splitlines() if 'killed' in line)
    assert killed.split()[:6] == ['crossview_tiny', 'flow', 'fp16', 'killed', 'by', 'signal']
    assert built[-1] != 'flow'


def test_all_is_well_when_every_build_ends_well(table, monkeypatch):
    monkeypatch.setattr(table.subprocess, 'run', lambda command: SimpleNamespace(returncode=0))
    assert table.main() == 0


def test_a_build_that_fails_for_one_target_leaves_the_others(table, monkeypatch, capsys):
    def build_engine(trt, path, options):
        if options.targets == ('8.6',):
            raise BackendError("graph 'encode': the builder gave up: out of memory")
        return bytes(1_000_000)
    monkeypatch.setattr(tensorrt, 'build_engine', build_engine)
    monkeypatch.setattr('crossview_ros.runtime.backends.tensorrt_module.load_tensorrt',
                        lambda name: None)

    def write_graph(name, graph, precision, folder):
        (folder / 'encode.onnx').write_bytes(bytes(2_000_000))
        return folder / 'encode.onnx'
    monkeypatch.setattr(table, 'write_graph', write_graph)
    monkeypatch.setattr(sys, 'argv', [*sys.argv, '--graph', 'encode'])
    assert table.main() == 1
    failed, built = capsys.readouterr().out.splitlines()
    assert '8.6' in failed and failed.endswith('the builder gave up: out of memory')
    assert built.split()[:6] == ['crossview_tiny', 'encode', 'fp16', '8.9', '2.0', '1.0']
