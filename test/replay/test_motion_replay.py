# SPDX-License-Identifier: Apache-2.0
"""Flow and odometry of a replay: scored against the truth of the bag, written, pictured."""
import json

from crossview_ros.messages.image import read_float_image
from crossview_ros.messages.odometry import read_pose
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.metrics_file import metrics_dict
from crossview_ros.replay.report import write_report
from crossview_ros.replay.run import replay_bag, ReplayOptions
import numpy as np
import pytest


def replay(path, perception, out, **options):
    """Replay with options."""
    return replay_bag(path, perception, ReplayOptions(**options), out, title='test',
                      command='crossview replay')


def counts_of(data):
    """Return {task: (answered, possible)}."""
    return {output.task: (output.answered, output.possible) for output in data.outputs}


def test_flow_error_is_the_one_put_in_and_the_first_frame_has_none(
        make_moving_bag, moving_perception, tmp_path):
    data = replay(make_moving_bag([0, 1, 2, 3]), moving_perception(flow_x=5.0), tmp_path)
    figures = {name: metric.value for name, metric in data.figures.items()}
    assert figures['flow.epe'] == pytest.approx(2.0)   # the truth is 3 px
    assert figures['flow.epe_zero'] == pytest.approx(3.0)
    assert figures['flow.coverage'] == 1.0 and figures['flow.fl_all'] == 0.0
    assert 'flow.epe_visible' not in figures   # the bag does not say what is hidden
    assert counts_of(data) == {'stereo': (4, 4), 'flow': (3, 3), 'odometry': (3, 3)}
    assert 'flow.epe' not in data.frames[0].figures


def test_hidden_pixels_are_left_out_of_the_visible_error(
        make_moving_bag, moving_perception, tmp_path, monkeypatch):
    perception = moving_perception()
    process = perception.process

    def answer(*args, **more):
        result = process(*args, **more)
        if result.flow is not None:
            result.flow[:, 24:] += 4.0   # wrong where the mask of the bag hides, by sqrt(32)
        return result
    monkeypatch.setattr(perception, 'process', answer)
    data = replay(make_moving_bag([0, 1, 2], hidden=True), perception, tmp_path)
    assert data.figures['flow.epe'].value == pytest.approx(np.sqrt(32) / 2)
    assert data.figures['flow.epe_visible'].value == pytest.approx(0.0, abs=1e-6)


def test_right_flow_matches_the_images_and_wrong_is_called_useless(
        make_moving_bag, moving_perception, tmp_path):
    path = make_moving_bag([0, 1, 2])
    right = replay(path, moving_perception(flow_x=3.0), tmp_path)
    wrong = replay(path, moving_perception(flow_x=-3.0), tmp_path)
    assert right.figures['flow.photo'].value == pytest.approx(0.0, abs=1e-3)
    # random grey values differ by 48 on average, as in test_replay_run.py
    assert right.figures['flow.photo_unmoved'].value == pytest.approx(48, abs=5)
    assert wrong.figures['flow.photo'].value == pytest.approx(48, abs=5)
    assert any('flow is of no use' in note for note in wrong.notes)
    assert not any('flow is of no use' in note for note in right.notes)


def test_flow_over_a_lost_frame_is_not_compared_with_the_truth_of_one_step(
        make_moving_bag, moving_perception, tmp_path, monkeypatch):
    from crossview_ros.errors import MessageError
    from crossview_ros.replay.inputs import InputReader
    read = InputReader.read

    def break_second(self, frame, cloud=None):
        if frame.index == 1:
            raise MessageError('broken')
        return read(self, frame, cloud)
    monkeypatch.setattr(InputReader, 'read', break_second)
    data = replay(make_moving_bag([0, 1, 2, 3]), moving_perception(), tmp_path)
    scored = [frame.index for frame in data.frames if 'flow.epe' in frame.figures]
    pictured = [frame.index for frame in data.frames if 'flow.photo' in frame.figures]
    assert scored == [3] and pictured == [2, 3]


def test_drift_is_the_share_of_the_path_that_is_missing(make_moving_bag, moving_perception,
                                                        tmp_path):
    path = make_moving_bag([0.0, 0.5, 1.0, 1.5, 2.0])
    data = replay(path, moving_perception(step_m=0.45), tmp_path)
    figures = {name: metric.value for name, metric in data.figures.items()}
    assert figures['odometry.true_path'] == pytest.approx(2.0)
    assert figures['odometry.path'] == pytest.approx(1.8)
    assert figures['odometry.drift_percent'] == pytest.approx(10.0)
    assert figures['odometry.rpe'] == pytest.approx(0.05)
    assert figures['odometry.rpe_angle'] == pytest.approx(0.0, abs=1e-6)
    assert 'drifted by 10.0 % of the true path of 2.00 m' in (
        write_report(tmp_path, data).read_text(encoding='utf-8'))


def test_a_lost_step_is_counted_and_missing_from_the_path(make_moving_bag, moving_perception,
                                                          tmp_path):
    path = make_moving_bag([0.0, 0.5, 1.0, 1.5, 2.0])
    data = replay(path, moving_perception(step_m=0.5, lost=(2,)), tmp_path)
    assert {count.name: count.value for count in data.counts}['odometry lost'] == 1
    assert counts_of(data)['odometry'] == (3, 4)
    assert data.figures['odometry.drift_percent'].value == pytest.approx(25.0)
    assert data.figures['odometry.rpe'].value == pytest.approx(0.0, abs=1e-9)   # of seen steps
    rows = np.loadtxt(tmp_path / 'trajectory.tum')
    np.testing.assert_allclose(rows[:, 0], [1.0, 1.1, 1.3, 1.4])
    np.testing.assert_allclose(rows[:, 3], [0.0, 0.5, 1.0, 1.5])


def test_standing_still_has_no_drift_but_the_motion_itself(make_moving_bag, moving_perception,
                                                           tmp_path):
    data = replay(make_moving_bag([1.0, 1.0, 1.0], flow_x=0.0), moving_perception(step_m=0.01),
                  tmp_path)
    assert data.track.stands_still and 'odometry.drift_percent' not in data.figures
    assert data.figures['odometry.away'].value == pytest.approx(0.02)
    page = write_report(tmp_path, data).read_text(encoding='utf-8')
    assert 'The camera stood still; odometry strayed by 0.0200 m' in page


def test_outputs_hold_flow_and_odometry_of_the_base(make_moving_bag, moving_perception, tmp_path):
    replay(make_moving_bag([0.0, 0.5, 1.0]), moving_perception(step_m=0.5), tmp_path)
    with Bag(tmp_path / 'outputs.mcap') as bag:
        counts = {topic.name: topic.count for topic in bag.topics}
        odom = [message for _, _, message in bag.messages(['/odom'])]
        flow = bag.first('/optical_flow/image')
        meta = bag.first('/optical_flow/meta')
    assert {name: counts[name] for name in ('/odom', '/optical_flow/image', '/optical_flow/meta',
                                            '/optical_flow/confidence', '/depth/image')} == {
        '/odom': 2, '/optical_flow/image': 2, '/optical_flow/meta': 2,
        '/optical_flow/confidence': 2, '/depth/image': 3}
    assert flow.encoding == '32FC2' and flow.header.frame_id == 'left'
    np.testing.assert_allclose(read_float_image(flow)[..., 0], 3.0)
    assert (meta.stamp.sec, meta.stamp.nanosec) == (1, 0)
    assert (odom[0].header.frame_id, odom[0].child_frame_id) == ('odom', 'base_link')
    # the camera looks along x of the base: 0.5 m forward in 0.1 s
    np.testing.assert_allclose(read_pose(odom[1].pose.pose)[:3, 3], [1.0, 0, 0], atol=1e-12)
    twist = odom[0].twist.twist.linear
    np.testing.assert_allclose([twist.x, twist.y, twist.z], [5.0, 0, 0], atol=1e-12)


def test_one_camera_is_replayed_to_the_end_with_flow_alone(make_moving_bag, moving_perception,
                                                           tmp_path):
    perception = moving_perception()
    data = replay(make_moving_bag([0, 1, 2, 3], stereo=False), perception, tmp_path)
    assert len(perception.calls) == data.num_answered == 4
    assert counts_of(data) == {'flow': (3, 3)} and data.subject == 'images'
    assert data.figures['flow.epe'].value == pytest.approx(0.0)
    assert not [name for name in data.figures if name.split('.')[0] != 'flow']
    with Bag(tmp_path / 'outputs.mcap') as bag:
        assert [topic.name for topic in bag.topics] == [
            '/optical_flow/color', '/optical_flow/confidence', '/optical_flow/image',
            '/optical_flow/meta']
    assert any('one moving camera' in note for note in data.notes)
    page = write_report(tmp_path, data).read_text(encoding='utf-8')
    for text in ('answered 4 of 4 images', 'How the image moves', 'Images answered'):
        assert text in page, text
    for text in ('Depth error', 'What it saw', 'Median depth', 'Stereo pairs', 'Where it went'):
        assert text not in page, text
    assert data.facts['Input']['images'] == '/left/image_rect (one camera)'


def test_a_single_image_of_one_camera_says_that_flow_needs_two(make_moving_bag,
                                                               moving_perception, tmp_path):
    data = replay(make_moving_bag([0], stereo=False), moving_perception(), tmp_path)
    assert counts_of(data) == {'flow': (0, 0)}
    assert 'flow needs two' in write_report(tmp_path, data).read_text(encoding='utf-8')
    assert not (tmp_path / 'outputs.mcap').exists()


def test_report_of_motion_has_pictures_of_flow_and_path(make_moving_bag, moving_perception,
                                                        tmp_path):
    data = replay(make_moving_bag([0, 1, 2, 3], hidden=True), moving_perception(), tmp_path)
    page = write_report(tmp_path, data).read_text(encoding='utf-8')
    names = {file.name for file in (tmp_path / 'report_pictures').iterdir()}
    assert {'plot_flow_wheel.png', 'plot_top_view.png', 'plot_error_growth.png',
            'frame_0001_flow.png', 'frame_0001_flow_truth.png', 'frame_0001_flow_error.png',
            'frame_0001_before.png', 'frame_0001_flow_confidence.png'} <= names
    for text in ('How the image moves', 'Where it went', 'Flow error, visible', 'Odometry drift',
                 'flow answered', '3 of 3'):
        assert text in page, text


def test_metrics_file_holds_outputs_and_the_way(make_moving_bag, moving_perception, tmp_path):
    data = replay(make_moving_bag([0.0, 0.5, 1.0]), moving_perception(lost=(2,)), tmp_path)
    stored = json.loads(json.dumps(metrics_dict(data), allow_nan=False))
    assert stored['frames']['outputs']['odometry'] == {'answered': 1, 'possible': 2}
    way = stored['trajectory']
    assert [row['lost'] for row in way] == [False, False, True]
    # both in the frame of the truth: the camera sits at (0.1, 0, 1) on the base
    np.testing.assert_allclose(way[1]['truth'], [0.6, 0, 1])
    np.testing.assert_allclose(way[1]['odometry'], [0.6, 0, 1])
    assert way[2]['odometry'] is None
