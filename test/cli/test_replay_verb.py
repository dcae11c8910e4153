# SPDX-License-Identifier: Apache-2.0
"""Verbs replay and demo, in process, with a Perception that needs no weights."""
import argparse
import json
import sys
from types import SimpleNamespace

from crossview_ros.cli import demo, replay
from crossview_ros.cli.main import main
from crossview_ros.errors import ConfigError
from crossview_ros.runtime.perception import Perception
import numpy as np
import pytest


class ConstantPerception:
    """Answer every pair with a disparity of 6 px."""

    def __init__(self, **options):
        """Remember the options that it was opened with."""
        self.options = options
        self.backend_name, self.device, self.tasks = 'constant', 'cpu', ('stereo',)
        self.backend_reason = 'there is no other'
        self.manifest = SimpleNamespace(name='constant', default_size_hw=(240, 320),
                                        licence='Apache-2.0', files={})

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *_):
        """Close nothing."""

    def reset(self):
        """Forget nothing."""

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
        """Answer."""
        size = left.shape[:2]
        disparity = np.full(size, 6.0, np.float32)
        return SimpleNamespace(depth=np.float32(rig.left.fx * rig.baseline / 6.0) + 0 * disparity,
                               disparity=disparity, confidence=np.full(size, 0.5, np.float32),
                               flow=None, T_odom_camera=None, timing_ms={'encode': 1.0})


@pytest.fixture
def opened(monkeypatch):
    """Open ConstantPerception instead of a model; return the list of those opened."""
    made = []

    def open_constant(model, backend='auto', device='auto', tasks=None, **options):
        made.append(ConstantPerception(model=model, tasks=tasks, **options))
        return made[-1]
    monkeypatch.setattr(Perception, 'open', open_constant)
    return made


@pytest.fixture
def bag_path(shared_dir):
    """Return a recorded stereo bag."""
    return shared_dir / 'data' / 'bags' / 'kitti_raw_residential_a'


def test_replay_writes_what_the_contract_says(bag_path, opened, tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['replay', str(bag_path), '--out', str(out), '--max-frames', '3']) == 0
    captured = capsys.readouterr()
    for text in ('Stereo pairs answered', '3/3', 'frames/s', 'grey levels', 'report.html'):
        assert text in captured.out
    assert 'replay' in captured.err   # the progress bar
    assert {path.name for path in out.iterdir()} == {
        'report.html', 'metrics.json', 'per_frame.csv', 'outputs.mcap', 'report_pictures'}
    stored = json.loads((out / 'metrics.json').read_text())
    assert stored['mode'] == 'in_process'
    assert stored['command'] == f'crossview replay {bag_path} --out {out} --max-frames 3'
    assert stored['facts']['Input']['baseline'] == '0.5372 m'


def test_replay_json_is_one_object_and_the_same_as_the_file(bag_path, opened, tmp_path, capsys):
    assert main(['replay', str(bag_path), '--out', str(tmp_path), '--max-frames', '1',
                 '--no-outputs', '--json']) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((tmp_path / 'metrics.json').read_text())
    assert not (tmp_path / 'outputs.mcap').exists()


def test_flags_win_over_the_file(bag_path, opened, tmp_path):
    config = tmp_path / 'replay.yaml'
    config.write_text('max_depth: 20.0\nmax_frames: 2\nmodel: from_file\n')
    assert main(['replay', str(bag_path), '--config', str(config), '--model', 'from_flag',
                 '--out', str(tmp_path), '--no-outputs']) == 0
    options = json.loads((tmp_path / 'metrics.json').read_text())['options']
    assert (options['model'], options['max_depth'], options['max_frames']) == ('from_flag', 20.0,
                                                                               2)
    assert opened[0].options['max_depth'] == 20.0


def test_the_network_can_see_smaller_images_and_be_taken_at_its_word(bag_path, opened, tmp_path):
    assert main(['replay', str(bag_path), '--out', str(tmp_path), '--size', '96x128', '--sharpen',
                 'off']) == 0
    assert opened[0].options['inference_size'] == (96, 128)
    assert opened[0].options['sharpen'] == 'off'


def test_a_size_that_is_none_is_refused(bag_path, opened, tmp_path, capsys):
    assert main(['replay', str(bag_path), '--out', str(tmp_path), '--size', '96']) == 1
    assert '--size expects HxW' in capsys.readouterr().err and opened == []


@pytest.mark.parametrize(('flags', 'on_a_gpu', 'on_a_cpu'), [
    ([], None, demo.SIZE_ON_CPU), (['--size', '64x96'], (64, 96), (64, 96)),
    (['--model', 'crossview_tiny'], None, None)])
def test_the_demo_shows_its_model_smaller_images_on_a_cpu(monkeypatch, flags, on_a_gpu, on_a_cpu):
    parser = argparse.ArgumentParser()
    demo.add_arguments(parser)
    args = parser.parse_args(flags)
    for has_gpu, expected in ((True, on_a_gpu), (False, on_a_cpu)):
        monkeypatch.setattr('torch.cuda.is_available', lambda found=has_gpu: found)
        assert demo._inference_size(args) == expected


def test_unknown_key_in_the_file_names_the_nearest(tmp_path):
    config = tmp_path / 'replay.yaml'
    config.write_text('max_dept: 20.0\n')
    parser = argparse.ArgumentParser()
    replay.add_arguments(parser)
    args = parser.parse_args(['bag', '--config', str(config)])
    with pytest.raises(ConfigError, match="unknown key 'max_dept'; did you mean 'max_depth'"):
        replay.read_options(args)


def test_a_wrong_bag_is_told_before_a_model_is_loaded(tmp_path, opened, capsys):
    assert main(['replay', str(tmp_path / 'absent.mcap'), '--out', str(tmp_path)]) == 1
    assert 'no such bag' in capsys.readouterr().err and opened == []


def test_impossible_counts_are_wrong_usage(capsys):
    assert main(['replay', 'bag', '--max-frames', '0']) == 2
    assert 'at least 1' in capsys.readouterr().err


def test_demo_in_process_says_so_and_scores_the_sample(opened, tmp_path, capsys):
    out = tmp_path / 'demo'
    assert main(['demo', '--in-process', '--frames', '3', '--out', str(out)]) == 0
    stored = json.loads((out / 'metrics.json').read_text())
    assert stored['mode'] == 'in_process' and stored['frames']['answered'] == 3
    assert any('Run in process, as asked for' in note for note in stored['notes'])
    assert stored['metrics']['depth.coverage']['value'] == pytest.approx(1.0, abs=0.1)
    assert stored['metrics']['depth.abs_rel']['value'] > 0
    assert opened[0].options['tasks'] is None   # all that the model can do
    assert 'in process, without ROS' in (out / 'report.html').read_text()
    # a second run replaces the sample
    assert main(['demo', '--in-process', '--frames', '2', '--out', str(out)]) == 0
    assert json.loads((out / 'metrics.json').read_text())['frames']['answered'] == 2


@pytest.mark.parametrize(('machine', 'missing', 'reason'), [
    ('aarch64', None, 'aarch64'), ('x86_64', 'no module', 'no module'), ('x86_64', None, None)])
def test_demo_runs_live_only_where_it_can(monkeypatch, machine, missing, reason):
    monkeypatch.setattr(demo.platform, 'machine', lambda: machine)
    monkeypatch.setattr('crossview_ros.cli.ros.missing_ros', lambda: missing)
    found = demo._why_in_process(False)
    assert found is None if reason is None else reason in found


def test_play_refuses_a_bad_remapping(capsys):
    assert main(['play', 'bag', '--remap', '/a=/b']) == 2
    assert main(['play', 'bag', '--rate', '0']) == 2
    err = capsys.readouterr().err
    assert "expected A:=B, got '/a=/b'" in err and 'above zero' in err


def test_play_without_rclpy_says_where_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'rclpy', None)   # import fails, as where it is missing
    assert main(['play', 'bag']) == 1
    assert 'rclpy cannot be loaded' in (text := capsys.readouterr().err)
    assert 'source a ROS 2 installation' in text
