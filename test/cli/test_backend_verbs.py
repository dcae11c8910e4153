# SPDX-License-Identifier: Apache-2.0
"""Verbs verify and bench: tables, JSON, exit codes."""
from dataclasses import replace
import json
import shutil

from crossview_ros.cli.main import main
from crossview_ros.geometry.camera import PinholeCamera, StereoRig
from crossview_ros.runtime.manifest import load_manifest, MANIFEST
from crossview_ros.runtime.parity import OutputParity, tolerance_of
import numpy as np
import pytest
from small_model import write_small_model

pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
OUTPUTS = [('stereo', 'disparity', 'px'), ('stereo', 'log_scale', '-'), ('flow', 'flow', 'px'),
           ('flow', 'log_scale', '-')]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return a model folder with random weights."""
    return write_small_model(tmp_path_factory.mktemp('model') / 'small')


@pytest.fixture(autouse=True)
def frames(monkeypatch):
    """Show noise in the place of rendered frames, which take seconds."""
    def noise(num_frames, size_hw):
        rows, cols = size_hw
        camera = PinholeCamera(cols, rows, 80.0, 80.0, (cols - 1) / 2, (rows - 1) / 2)
        views = np.random.default_rng(0).integers(0, 256, (num_frames, 2, *size_hw, 3), np.uint8)
        return [tuple(pair) for pair in views], StereoRig(camera, camera, 0.1)
    monkeypatch.setattr('crossview_ros.data.synthetic.sample_frames.sample_frames', noise)


@pytest.fixture
def run(folder, tmp_path_factory, capsys):
    """Return a function that runs a verb on the model: exit code and output."""
    cache = tmp_path_factory.getbasetemp() / 'verbs_cache'

    def run(verb, *arguments):
        code = main([verb, str(folder), '--device', 'cpu', '--threads', '1', '--cache-dir',
                     str(cache), *arguments])
        captured = capsys.readouterr()
        return code, captured.out if code != 1 or captured.out else captured.err
    return run


def test_verify_prints_each_output_with_its_tolerance_and_unit(run):
    code, out = run('verify', '--backend', 'onnxruntime')
    heading, *rows, last = [line.split() for line in out.splitlines()]
    assert code == 0
    assert heading == ['output', 'max', 'abs', 'err', 'tolerance', 'relative', 'unit']
    assert [(row[0], row[1], row[-1]) for row in rows] == OUTPUTS
    for row in rows:
        error, tolerance, relative = map(float, row[2:5])
        assert 0 < error < tolerance and relative <= 1e-3
    assert ' '.join(last) == 'ok: 4 outputs, 64x96 (h x w), fp32, onnxruntime on cpu'


def test_verify_tells_the_same_as_json(run):
    code, out = run('verify', '--backend', 'onnxruntime', '--size', '50x90', '--json')
    told = json.loads(out)
    assert code == 0 and told['ok'] and told['size_hw'] == [64, 96]   # padded
    assert (told['backend'], told['precision']) == ('onnxruntime', 'fp32')
    assert [(item['graph'], item['output'], item['unit']) for item in told['outputs']] == OUTPUTS


@pytest.mark.parametrize('flags', [[], ['--json']])
def test_verify_fails_with_the_figures(run, monkeypatch, flags):
    monkeypatch.setattr('crossview_ros.runtime.parity.compare_backends', lambda *_: [
        OutputParity('stereo', 'disparity', 0.5, 10.0, 1e-3),
        OutputParity('flow', 'flow', 0.001, 10.0, 1e-3)])
    code, out = run('verify', '--backend', 'onnxruntime', *flags)
    assert code == 1
    if flags:
        told = json.loads(out)
        assert not told['ok'] and [item['ok'] for item in told['outputs']] == [False, True]
        assert told['outputs'][0]['tolerance'] == pytest.approx(0.01)
    else:
        assert 'stereo disparity      5.0e-01    1.0e-02   5.0e-02  px' in out
        assert '1 of 2 outputs above tolerance, 64x96' in out


def test_verify_writes_what_was_reached_into_the_manifest(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr('crossview_ros.runtime.parity.compare_backends', lambda *_: [
        OutputParity('stereo', 'disparity', 0.00025, 10.0, 1e-3),
        OutputParity('stereo', 'log_scale', 0.002, 10.0, 1e-3),
        OutputParity('flow', 'log_scale', 0.0, 10.0, 1e-3),
        OutputParity('flow', 'flow', 0.0, 10.0, 1e-3)])
    copy = tmp_path / 'small'
    shutil.copytree(folder, copy)
    before = load_manifest(copy)
    command = ['verify', str(copy), '--backend', 'onnxruntime', '--cache-dir',
               str(tmp_path / 'cache'), '--precision', 'fp32', '--write-tolerance']
    assert main(command) == 0
    # ten times 2.5e-5; of two the worst, 2e-4, of which ten times is more than the default; 0
    tolerance = {'onnxruntime': {'fp32': {'disparity': 3e-4, 'log_scale': 1e-3, 'flow': 1e-4}}}
    assert load_manifest(copy) == replace(before, tolerance=tolerance)
    assert tolerance_of(load_manifest(copy), 'onnxruntime', 'fp32', 'disparity') == 3e-4


def test_verify_writes_no_tolerance_where_an_output_is_wrong(run, folder, monkeypatch):
    monkeypatch.setattr('crossview_ros.runtime.parity.compare_backends', lambda *_: [
        OutputParity('stereo', 'disparity', 0.5, 10.0, 1e-3)])
    before = (folder / MANIFEST).read_bytes()
    code, _ = run('verify', '--backend', 'onnxruntime', '--write-tolerance')
    assert code == 1 and (folder / MANIFEST).read_bytes() == before


def test_an_unknown_backend_is_one_line(run):
    code, out = run('verify', '--backend', 'abacus')
    assert code == 1 and "no backend 'abacus'; known: auto, onnxruntime" in out


def test_bench_compares_backends_stage_by_stage(run):
    code, out = run('bench', '--backend', 'torch', 'onnxruntime', '--frames', '2', '--size',
                    '64x96')
    lines = [line.split() for line in out.splitlines()]
    assert code == 0
    assert lines[0][:2] == ['small,', 'stereo,'] and '64x96 px, 1 threads, 2 frames' in out
    assert lines[1] == ['torch', 'cpu', 'fp32', 'onnxruntime', 'cpu', 'fp32']
    assert lines[2] == ['stage', 'p50', 'p95', 'p50', 'p95', 'unit']
    stages = {line[0]: [float(value) for value in line[1:5]] for line in lines
              if line[-1:] == ['ms']}
    assert list(stages) == ['prepare', 'encode', 'stereo', 'flow', 'post', 'odometry', 'frame']
    parts = [max(values[i] for stage, values in stages.items() if stage != 'frame')
             for i in (0, 2)]
    assert all(frame >= part > 0 for frame, part in zip(stages['frame'][::2], parts))
    assert 'peak memory' in out and 'torch  2' in out
    fastest, = (line[1] for line in lines if line[0] == 'fastest')
    assert fastest in ('torch', 'onnxruntime')


def test_bench_tells_the_same_as_json(run):
    code, out = run('bench', '--backend', 'torch', '--tasks', 'stereo', '--frames', '2', '--size',
                    '64x96', '--json')
    told = json.loads(out)
    assert code == 0 and told['tasks'] == ['stereo'] and told['size_hw'] == [64, 96]
    only, = told['backends']
    assert (only['backend'], only['reason']) == ('torch', 'chosen by name')
    assert set(only['stages_ms']) == {'prepare', 'encode', 'stereo', 'post', 'frame'}
    assert told['platform']['peak_memory_mb'] > 10 and told['fastest'] == 'torch'
