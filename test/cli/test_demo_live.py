# SPDX-License-Identifier: Apache-2.0
"""The demo as a user starts it: live node, report, clean end; with a model of random weights."""
import hashlib
import json
import os
import re
import subprocess
import sys

from crossview_ros.config import dump_yaml, to_dict
from crossview_ros.networks.checkpoint import save_weights
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.presets import crossview_tiny
from crossview_ros.runtime.manifest import ModelManifest
import pytest
import torch


@pytest.fixture(scope='module')
def random_model(tmp_path_factory):
    """Return a model folder whose weights nobody has trained."""
    folder = tmp_path_factory.mktemp('models') / 'random_tiny'
    folder.mkdir()
    torch.manual_seed(0)
    config = crossview_tiny()
    weights = folder / 'weights.safetensors'
    save_weights(weights, config, MultiTaskModel(config).state_dict())
    tasks = sorted(config.heads)
    manifest = ModelManifest(
        name='random_tiny', architecture={'preset': 'crossview_tiny'}, tasks=tasks,
        size_multiple=32, default_size_hw=(96, 128), normalisation=to_dict(config.normalisation),
        outputs={task: {'unit': 'px', 'log_scale': 'laplace'} for task in tasks},
        files={weights.name: hashlib.sha256(weights.read_bytes()).hexdigest()},
        licence='Apache-2.0')
    (folder / 'manifest.yaml').write_text(dump_yaml(to_dict(manifest)))
    return folder


@pytest.mark.ros
def test_demo_answers_every_pair_live_and_ends_its_node(random_model, tmp_path):
    command = [sys.executable, '-m', 'crossview_ros.cli.main', 'demo', '--frames', '4',
               '--rate', '0.5', '--model', str(random_model), '--out', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150,
                          env={**os.environ, 'OMP_NUM_THREADS': '1'})
    assert done.returncode == 0, done.stderr
    # best effort: a busy machine may lose a pair, and then the report has to say so
    answered = int(re.search(r'Stereo pairs answered +(\d)/4', done.stdout)[1])
    assert answered >= 2
    stored = json.loads((tmp_path / 'metrics.json').read_text())
    assert stored['mode'] == 'live'
    counts = {name: count['value'] for name, count in stored['frames']['counts'].items()}
    assert counts == {'stereo pairs published': 4, 'answered': answered,
                      'not answered': 4 - answered, 'wrong frame_id': 0, 'unasked': 0,
                      'repeated': 0, 'exit code of the node': 0}
    outputs = stored['frames']['outputs']
    assert outputs['stereo'] == {'answered': answered, 'possible': 4}
    assert answered - 2 <= outputs['flow']['answered'] <= 3
    if 'odometry' in outputs:   # random weights may see no motion
        assert outputs['odometry']['possible'] == 3
    assert stored['metrics']['depth.abs_rel']['value'] > 0
    assert answered < 4 or stored['metrics']['flow.epe']['value'] > 0
    assert stored['metrics']['lidar.abs_rel']['value'] > 0
    assert 'of no use' in ' '.join(stored['notes'])   # random weights, and the report says so
    assert 'live ROS 2 node' in (tmp_path / 'report.html').read_text()


@pytest.mark.ros
def test_a_node_that_cannot_start_is_one_line(random_model, tmp_path):
    broken = tmp_path / 'broken'
    broken.mkdir()
    (broken / 'manifest.yaml').write_bytes((random_model / 'manifest.yaml').read_bytes())
    command = [sys.executable, '-m', 'crossview_ros.cli.main', 'demo', '--frames', '1',
               '--model', str(broken), '--out', str(tmp_path / 'out')]
    done = subprocess.run(command, capture_output=True, text=True, timeout=150)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith('crossview: ') and 'weights.safetensors' in last
