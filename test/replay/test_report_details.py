# SPDX-License-Identifier: Apache-2.0
"""What a report adds for a paper: per-frame table, worst frames, calibration, a baseline, tf."""
import csv
import json

from crossview_ros.metrics import Metric
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.metrics_file import metrics_dict
from crossview_ros.replay.report import write_report
from crossview_ros.replay.run import replay_bag, ReplayOptions
from crossview_ros.replay.worst_frames import WorstFrames
import numpy as np
import pytest


class StandingBaseline:
    """A classical odometry that takes 0.4 m a step, and is lost at its third frame."""

    def __init__(self):
        self.count = 0

    def reset(self):
        """Start anew."""
        self.count = 0

    def process(self, left, right, rig):
        """Return the pose of the next frame."""
        self.count += 1
        T = np.eye(4)
        T[2, 3] = 0.4 * (self.count - 1)
        return None if self.count == 3 else T


@pytest.fixture
def data(make_moving_bag, moving_perception, tmp_path):
    """Replay a bag of 12 frames, 0.5 m each, with 2 % too long steps and the baseline."""
    bag = make_moving_bag(list(0.5 * np.arange(12)))
    return replay_bag(bag, moving_perception(step_m=0.51), ReplayOptions(), tmp_path / 'out',
                      baseline=('steps', StandingBaseline()), title='t', command='c')


def test_a_baseline_stands_beside_in_tables_and_metrics(data, tmp_path):
    assert data.baseline.figures['odometry.drift_percent'].value == pytest.approx(20)
    assert data.baseline.track.num_lost == 1
    rows = {(row.method, row.length_m): row for row in data.subpaths}
    assert set(rows) == {('crossview', 5.0), ('steps', 5.0)}
    assert rows['steps', 5.0].drift_percent == pytest.approx(100 * 1.1 / 5)   # 5.5 m
    stored = json.loads(json.dumps(metrics_dict(data), allow_nan=False))
    assert stored['baseline']['name'] == 'steps' and len(stored['odometry_by_length']) == 2
    page = write_report(tmp_path, data).read_text(encoding='utf-8')
    assert 'Beside steps of OpenCV' in page and 'Drift by length' in page


def test_the_csv_has_a_row_for_each_frame_and_empty_fields_where_nothing_is_known(data, tmp_path):
    write_report(tmp_path, data)
    rows = list(csv.DictReader((tmp_path / 'per_frame.csv').open()))
    assert [int(row['index']) for row in rows] == list(range(12))
    assert rows[0]['odometry.step_error'] == '' and rows[0]['flow.epe'] == ''
    assert float(rows[5]['odometry.step_error']) == pytest.approx(0.01)
    assert float(rows[5]['flow.epe']) == pytest.approx(0, abs=1e-6)
    assert int(rows[3]['stamp_ns']) == 10**9 + 3 * 10**8


def test_outputs_show_the_flow_in_colour_and_place_base_and_camera(data, tmp_path):
    with Bag(tmp_path / 'out' / 'outputs.mcap') as bag:
        topics = {topic.name: topic for topic in bag.topics}
        fixed, moving = bag.first('/tf_static').transforms, bag.first('/tf').transforms
        color = bag.first('/optical_flow/color')
    assert topics['/tf_static'].latched and not topics['/tf'].latched
    assert [topics[name].count for name in ('/tf', '/odom', '/optical_flow/color')] == [11] * 3
    assert (moving[0].header.frame_id, moving[0].child_frame_id) == ('odom', 'base_link')
    assert moving[0].transform.translation.x == pytest.approx(0.51)
    assert (fixed[0].header.frame_id, fixed[0].child_frame_id) == ('base_link', 'left')
    assert fixed[0].transform.translation.z == pytest.approx(1.0)
    assert color.encoding == 'rgb8'


def test_the_worst_frames_are_kept_by_the_most_telling_figure():
    worst = WorstFrames(('truth', 'photo'), num_worst=2)
    made = []
    for name, figures in (('a', {'photo': 90.0}), ('b', {'truth': 0.1}), ('c', {'truth': 0.3}),
                          ('d', {'truth': float('nan')}), ('e', {'truth': 0.2}), ('f', {})):
        worst.add({key: Metric(value, '-') for key, value in figures.items()},
                  lambda name=name: made.append(name) or name)
    assert worst.panels() == ['c', 'e']
    assert 'd' not in made and 'f' not in made


def test_a_page_pictures_the_worst_frame_of_the_run(make_stereo_bag, fake_perception, tmp_path,
                                                    monkeypatch):
    perception = fake_perception()
    process = perception.process

    def answer(*args, **more):
        result = process(*args, **more)
        if len(perception.calls) == 7:
            result.depth = result.depth * np.float32(1.5)
        return result
    monkeypatch.setattr(perception, 'process', answer)
    run = replay_bag(make_stereo_bag(num_frames=9), perception, ReplayOptions(outputs=False),
                     tmp_path, title='t', command='c')
    assert run.worst[0].index == 6 and len(run.worst) == 3
    page = write_report(tmp_path, run).read_text(encoding='utf-8')
    assert 'The worst frames' in page and 'Depth: largest depth error' in page
    assert (tmp_path / 'report_pictures' / 'frame_0006_depth.png').is_file()


def test_confidence_is_calibrated_against_the_true_disparity(make_stereo_bag, fake_perception,
                                                             tmp_path, monkeypatch):
    perception = fake_perception(error_px=0.5)
    process = perception.process

    def answer(*args, **more):
        result = process(*args, **more)
        result.disparity[16:] += 3.0   # the lower half is wrong
        result.confidence[16:] = 0.1   # and doubted
        return result
    monkeypatch.setattr(perception, 'process', answer)
    run = replay_bag(make_stereo_bag(), perception, ReplayOptions(outputs=False), tmp_path,
                     title='t', command='c')
    assert run.figures['disparity.ause'].value == pytest.approx(0, abs=1e-5)
    assert run.figures['disparity.ause_of_chance'].value > 0.2
    row, = run.sparsification
    assert row.name == 'disparity' and row.by_confidence[0] == 1.0
    page = write_report(tmp_path, run).read_text(encoding='utf-8')
    assert 'Does confidence tell where the depth is wrong?' in page
