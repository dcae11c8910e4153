# SPDX-License-Identifier: Apache-2.0
"""backend: auto takes the fastest backend that gives PyTorch's numbers, and decides once."""
import json
import time

from block_matching import BlockMatcher
from crossview_ros.errors import BackendError
from crossview_ros.runtime.backends import auto, BackendOptions, BACKENDS
from crossview_ros.runtime.backends.auto import open_chosen, sample_pair
from crossview_ros.runtime.manifest import load_manifest
from crossview_ros.runtime.perception import Perception
import numpy as np
import pytest
from small_model import write_small_model

SIZE_HW = (32, 48)


class Rival(BlockMatcher):
    """A backend of a chosen speed and error."""

    def __init__(self, name, run_s, error):
        super().__init__()
        self.name, self._run_s, self._error = name, run_s, error

    def run(self, graph, inputs):
        """Take its time; be off by a share of the value."""
        time.sleep(self._run_s)
        if graph == 'encode':
            return {'features': None}
        return {'disparity' if graph == 'stereo' else 'flow':
                np.full((1, 1, 2, 2), 10 * (1 + self._error), np.float32)}


@pytest.fixture
def folder(tmp_path):
    """Return a model folder."""
    return write_small_model(tmp_path / 'small')


@pytest.fixture
def choose(folder, tmp_path, monkeypatch):
    """Return a function that lets torch and a rival compete."""
    made = {}

    def opener(name, run_s, error):
        def make(*_):
            made[name] = Rival(name, run_s, error)
            return made[name]
        return make

    def choose(rival_s=0.0, error=0.0, torch_s=0.01, heads=('stereo', 'flow'), **options):
        made.clear()
        monkeypatch.setitem(BACKENDS, 'torch', opener('torch', torch_s, 0.0))
        monkeypatch.setitem(BACKENDS, 'onnxruntime', opener('onnxruntime', rival_s, error))
        monkeypatch.setattr(auto, '_installed', lambda package: True)
        backend, reason = open_chosen(
            'auto', folder, load_manifest(folder),
            BackendOptions('cpu', cache_dir=tmp_path / 'cache', **options), SIZE_HW, heads)
        return backend, reason, made
    return choose


def test_the_faster_one_runs_and_the_reason_has_the_figures(choose):
    backend, reason, made = choose()
    assert backend.name == 'onnxruntime' and made['torch'].num_closed == 1
    assert reason.startswith('torch ') and 'onnxruntime' in reason and '32x48 on cpu' in reason


@pytest.mark.parametrize('race', [
    {'rival_s': 0.02}, {'rival_s': 0.01},   # slower; no faster
    {'error': 2e-3}, {'error': float('nan')}])
def test_torch_stays_where_the_rival_is_no_faster_or_wrong(race, choose):
    backend, reason, made = choose(**race)
    assert backend.name == 'torch' and made['onnxruntime'].num_closed == 1
    if 'error' in race:
        assert 'is off by' in reason and 'disparity' in reason


def test_the_choice_is_measured_once(choose):
    _, reason, _ = choose()
    backend, again, made = choose(rival_s=0.02)   # would lose another race
    assert (backend.name, again) == ('onnxruntime', reason) and set(made) == {'onnxruntime'}


@pytest.mark.parametrize('change', [{'heads': ('stereo',)}, {'num_threads': 3}])
def test_another_use_is_measured_anew(choose, change):
    choose()
    assert choose(rival_s=0.02, **change)[0].name == 'torch'


@pytest.mark.parametrize('text', ['', '{}', '[]', '{"backend": "os", "reason": "x"}'])
def test_a_damaged_choice_is_made_again(choose, tmp_path, text):
    choose()
    path, = (tmp_path / 'cache' / 'auto').iterdir()
    path.write_text(text)
    assert choose(rival_s=0.02)[0].name == 'torch'
    assert json.loads(path.read_text())['backend'] == 'torch'


def test_a_cache_that_cannot_be_written_leaves_torch(choose, tmp_path):
    (tmp_path / 'cache').write_text('')
    backend, reason, _ = choose()
    assert backend.name == 'torch' and 'cannot be written' in reason


def test_a_rival_that_cannot_be_opened_leaves_torch(choose, monkeypatch):
    def refuse(*_):
        raise BackendError('no luck')
    setitem = monkeypatch.setitem
    monkeypatch.setattr(monkeypatch, 'setitem', lambda table, name, value: setitem(
        table, name, refuse if name == 'onnxruntime' else value))
    backend, reason, _ = choose()
    assert (backend.name, reason) == ('torch', 'no luck')


@pytest.mark.parametrize('absent, name, reason', [
    ('onnxruntime', 'torch', 'onnxruntime is not installed'),
    ('onnx', 'torch', 'onnx is not installed'),
    ('torch', 'onnxruntime', 'PyTorch is not installed')])
def test_what_is_not_installed_does_not_compete(absent, name, reason, folder, monkeypatch):
    monkeypatch.setattr(auto, '_installed', lambda package: package != absent)
    backend, why = open_chosen('auto', folder, load_manifest(folder), BackendOptions('cpu'),
                               SIZE_HW, ['stereo'])
    assert (backend.name, why) == (name, reason)


def test_another_precision_rules_torch_out(folder):
    pytest.importorskip('onnxruntime', reason='the onnx extra is not installed')
    backend, reason = open_chosen('auto', folder, load_manifest(folder),
                                  BackendOptions('cpu', precision='fp16'), SIZE_HW, ['stereo'])
    assert (backend.name, backend.precision) == ('onnxruntime', 'fp16')
    assert reason == "precision fp16 rules out 'torch'"


def test_large_weights_are_not_exported_for_a_choice(folder, monkeypatch):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    monkeypatch.setattr(auto, 'MAX_WEIGHTS_MB', 0.0)
    backend, reason = open_chosen('auto', folder, load_manifest(folder), BackendOptions('cpu'),
                                  SIZE_HW, ['stereo'])
    assert backend.name == 'torch' and 'take long to export' in reason


def test_perception_tells_why_its_backend_runs(folder, tmp_path):
    pytest.importorskip('onnx', reason='the onnx extra is not installed')
    with Perception.open(folder, device='cpu', num_threads=1,
                         engine_cache_dir=str(tmp_path / 'cache')) as opened:
        assert opened.backend_name in ('torch', 'onnxruntime')
        assert opened.backend_reason.startswith('torch ')
    with Perception.open(folder, 'torch', 'cpu') as opened:
        assert (opened.backend_reason, opened.precision) == ('chosen by name', 'fp32')


def test_the_sample_views_show_one_scene_four_pixels_apart():
    first, second = sample_pair((32, 48))
    assert first.shape == second.shape == (1, 32, 48, 3)
    np.testing.assert_array_equal(first[:, :, 4:], second[:, :, :-4])
