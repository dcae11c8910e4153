# SPDX-License-Identifier: Apache-2.0
"""Verb info: what a bag holds, in a table and as JSON."""
import json

from crossview_ros.cli.main import main
import pytest


@pytest.fixture
def bag_path(shared_dir):
    """Return a recorded stereo bag."""
    return shared_dir / 'data' / 'bags' / 'kitti_raw_residential_a'


def test_bag_as_json(bag_path, capsys):
    assert main(['info', str(bag_path), '--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts['kind'] == 'bag' and facts['storage'] == 'mcap' and facts['messages'] == 226
    topics = {topic['name']: topic for topic in facts['topics']}
    assert topics['/stereo/left/image_rect']['count'] == 45
    assert topics['/stereo/left/image_rect']['rate_hz'] == pytest.approx(9.69, abs=0.01)
    pair, = facts['stereo_pairs']
    assert pair['left'] == '/stereo/left/image_rect' and pair['pairs'] == 45
    assert pair['baseline_m'] == pytest.approx(0.5372, abs=1e-4)   # 193.7872 / 360.76885
    assert pair['problem'] is None
    left = facts['cameras'][0]
    assert (left['width'], left['height'], left['rectified']) == (621, 187, True)


def test_bag_as_table(bag_path, capsys):
    assert main(['info', str(bag_path)]) == 0
    text = capsys.readouterr().out
    for part in ('storage   mcap', '4.54 s', 'sensor_msgs/msg/CameraInfo', '621x187',
                 '/stereo/left/image_rect + /stereo/right/image_rect: 45 pairs, baseline 0.5372'):
        assert part in text, part


def test_raw_cameras_are_said_to_be_not_rectified(shared_dir, capsys):
    path = shared_dir / 'data' / 'bags' / 'euroc_v101_static_a'
    assert main(['info', str(path)]) == 0
    assert 'no, plumb_bob' in capsys.readouterr().out


def test_one_camera_bag_has_no_pair(shared_dir, capsys):
    assert main(['info', str(shared_dir / 'data' / 'bags' / 'tum_fr1_desk')]) == 0
    assert 'no pair found' in capsys.readouterr().out


def test_what_is_neither_bag_nor_model_is_one_line(tmp_path, capsys):
    assert main(['info', str(tmp_path / 'absent.mcap')]) == 1
    assert main(['info', str(tmp_path)]) == 1
    assert main(['info', 'no_such_model']) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith('crossview: ') for line in lines)
    assert 'no such bag' in lines[0] and 'metadata.yaml' in lines[1]
    assert "no model 'no_such_model'" in lines[2]
