# SPDX-License-Identifier: Apache-2.0
"""Replay in process: every pair once, scored against the bag's truth, the same each time."""
import json

from crossview_ros.errors import CalibrationError, ConfigError, MessageError
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.metrics_file import metrics_dict
from crossview_ros.replay.run import replay_bag, ReplayOptions
import numpy as np
import pytest

FX, BASELINE, DISPARITY = 100.0, 0.2, 8   # as in conftest.py
DEPTH = FX * BASELINE / DISPARITY


def replay(path, perception, out, **options):
    """Replay with options."""
    return replay_bag(path, perception, ReplayOptions(**options), out, title='test',
                      command='crossview replay')


def test_every_pair_is_answered_once_in_order(make_stereo_bag, fake_perception, tmp_path):
    perception = fake_perception()
    data = replay(make_stereo_bag(num_frames=5), perception, tmp_path)
    assert [stamp for stamp, _ in perception.calls] == [10**9 + i * 10**8 for i in range(5)]
    assert perception.num_resets == 1
    assert data.num_answered == len(data.frames) == 5
    counts = {count.name: count.value for count in data.counts}
    assert counts['stereo pairs'] == counts['answered'] == 5
    assert counts['rejected'] == counts['unmatched'] == counts['out of order'] == 0


def test_error_against_the_truth_is_the_one_put_in(make_stereo_bag, fake_perception, tmp_path):
    data = replay(make_stereo_bag(), fake_perception(error_px=2.0), tmp_path)
    wrong = FX * BASELINE / (DISPARITY + 2.0)   # 2.0 m instead of 2.5 m; one row of 32 is missing
    expected = ((DEPTH - wrong) / DEPTH * 31 + 1.0) / 32
    assert data.figures['depth.abs_rel'].value == pytest.approx(expected, rel=1e-5)
    assert data.figures['depth.coverage'].value == pytest.approx(31 / 32)
    assert data.figures['disparity.epe'].value == pytest.approx((2.0 * 31 + 20.0) / 32, rel=1e-5)
    assert data.figures['disparity.epe_constant'].value == pytest.approx(0.0, abs=1e-5)


def test_right_disparity_matches_the_images_and_wrong_does_not(make_stereo_bag, fake_perception,
                                                               tmp_path):
    path = make_stereo_bag(truth=False)
    right = replay(path, fake_perception(), tmp_path).figures
    wrong = replay(path, fake_perception(error_px=3.0), tmp_path).figures
    assert right['photo.error'].value == pytest.approx(0.0, abs=1e-3)
    # random grey values differ by 48 on average: sqrt(2 / pi) * sqrt(2 / 3 * 256 ** 2 / 12)
    assert wrong['photo.error'].value == pytest.approx(48, abs=5)
    assert right['photo.unmoved'].value == pytest.approx(48, abs=5)


def test_bag_without_truth_has_no_error_figures(make_stereo_bag, fake_perception, tmp_path):
    data = replay(make_stereo_bag(truth=False), fake_perception(), tmp_path)
    assert not data.has_truth
    assert data.figures['depth.median'].value == pytest.approx(DEPTH)


def test_two_replays_give_the_same_figures_and_files(make_stereo_bag, fake_perception, tmp_path):
    path, results = make_stereo_bag(), []
    for name in ('a', 'b'):
        data = metrics_dict(replay(path, fake_perception(), tmp_path / name))
        data.pop('timing')
        for row in data['per_frame']:
            row.pop('latency_ms')
        results.append((json.dumps(data), (tmp_path / name / 'outputs.mcap').read_bytes()))
    assert results[0] == results[1]


def test_max_frames_stops_early(make_stereo_bag, fake_perception, tmp_path):
    steps = []
    replay_bag(make_stereo_bag(num_frames=6), fake_perception(), ReplayOptions(max_frames=2),
               tmp_path, progress=lambda done, total: steps.append((done, total)), title='t',
               command='c')
    assert steps == [(1, 2), (2, 2)]


def test_a_broken_image_is_counted_and_the_next_frame_answered(make_stereo_bag, fake_perception,
                                                               tmp_path):
    perception = fake_perception()
    data = replay(make_stereo_bag(num_frames=4, break_frame=1), perception, tmp_path)
    assert len(perception.calls) == data.num_answered == 3
    assert [frame.latency_ms is None for frame in data.frames] == [False, True, False, False]
    assert {count.name: count.value for count in data.counts}['rejected'] == 1
    assert any('1 pairs were rejected' in note and 'nonsense' in note for note in data.notes)


def test_a_bag_with_only_broken_images_is_refused(make_stereo_bag, fake_perception, tmp_path):
    path = make_stereo_bag(num_frames=1, break_frame=0)
    with pytest.raises(MessageError, match='no stereo pair could be answered.*nonsense'):
        replay(path, fake_perception(), tmp_path)
    assert not (tmp_path / 'outputs.mcap').exists()


def test_stamps_too_far_apart_say_so(make_stereo_bag, fake_perception, tmp_path):
    path = make_stereo_bag(right_offset_ns=30_000_000)
    with pytest.raises(MessageError, match=r'within 0\.02 s of each other'):
        replay(path, fake_perception(), tmp_path)
    assert replay(path, fake_perception(), tmp_path, slop=0.04).num_answered == 4


def test_swapped_pair_is_refused(make_stereo_bag, fake_perception, tmp_path):
    with pytest.raises(CalibrationError, match='swapped'):
        replay(make_stereo_bag(p3=20.0), fake_perception(), tmp_path)


def test_time_that_jumps_back_resets_the_perception(make_bag, make_stereo_bag, fake_perception,
                                                    tmp_path, images_of):
    with make_bag('loop') as bag:
        for index, stamp in enumerate((5 * 10**9, 51 * 10**8, 2 * 10**9, 21 * 10**8)):
            left, right = images_of(index)
            time_ns = 10**10 + index
            bag.info('/stereo/left/camera_info', stamp, time_ns=time_ns)
            bag.info('/stereo/right/camera_info', stamp, -FX * BASELINE, 'right', time_ns=time_ns)
            bag.image('/stereo/left/image_rect', stamp, left, 'rgb8', time_ns=time_ns)
            bag.image('/stereo/right/image_rect', stamp, right, 'rgb8', 'right', time_ns=time_ns)
            bag.image('/ground_truth/depth', stamp, np.full((32, 48), DEPTH, np.float32),
                      '32FC1', time_ns=time_ns)
    perception = fake_perception()
    data = replay(bag.folder, perception, tmp_path)
    assert len(perception.calls) == 4 and perception.num_resets == 2
    assert all('depth.abs_rel' in frame.figures for frame in data.frames)   # truth found again


def test_outputs_are_ros_messages_under_the_left_header(make_stereo_bag, fake_perception,
                                                        tmp_path):
    replay(make_stereo_bag(num_frames=2), fake_perception(), tmp_path)
    with Bag(tmp_path / 'outputs.mcap') as bag:
        found = {topic: message for topic, _, message in bag.messages()}
        counts = {topic.name: topic.count for topic in bag.topics}
    assert counts == dict.fromkeys(('/depth/image', '/depth/camera_info', '/depth/confidence',
                                    '/disparity'), 2)
    depth, disparity = found['/depth/image'], found['/disparity']
    assert (depth.header.stamp.sec, depth.header.stamp.nanosec) == (1, 10**8)
    assert depth.header.frame_id == disparity.image.header.frame_id == 'left'
    assert depth.encoding == '32FC1'
    values = depth.data.view(np.float32).reshape(32, 48)
    assert np.isnan(values[0]).all() and values[1:] == pytest.approx(DEPTH)
    pixels = disparity.image.data.view(np.float32).reshape(32, 48)
    assert (pixels[0] == -1.0).all() and pixels[1:] == pytest.approx(DISPARITY)
    assert (disparity.f, disparity.t) == pytest.approx((FX, BASELINE))
    assert found['/depth/camera_info'].p[3] == 0.0
    assert not list(tmp_path.glob('.outputs*'))


def test_outputs_can_be_switched_off(make_stereo_bag, fake_perception, tmp_path):
    out = tmp_path / 'out'
    replay(make_stereo_bag(), fake_perception(), out, outputs=False)
    assert list(out.iterdir()) == []


def test_trajectory_is_written_only_with_odometry(make_stereo_bag, fake_perception, tmp_path):
    path = make_stereo_bag(num_frames=3)
    replay(path, fake_perception(), tmp_path / 'without')
    assert not (tmp_path / 'without' / 'trajectory.tum').exists()
    replay(path, fake_perception(odometry=True), tmp_path / 'with')
    rows = np.loadtxt(tmp_path / 'with' / 'trajectory.tum')
    np.testing.assert_allclose(rows[:, 0], [1.0, 1.1, 1.2])
    np.testing.assert_allclose(rows[:, 3], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(rows[:, 4:], [[0, 0, 0, 1]] * 3, atol=1e-12)


def test_disparity_truth_with_doffs_is_read_as_the_images_say(make_bag, fake_perception,
                                                              tmp_path, images_of):
    from types import SimpleNamespace
    doffs = 4.0
    for stored, name in ((DISPARITY + doffs, 'by_definition'), (float(DISPARITY), 'plain')):
        with make_bag(name) as bag:
            left, right = images_of(0)
            bag.info('/l/camera_info', 0)
            bag.info('/r/camera_info', 0, -FX * BASELINE, 'right', cx=23.5 + doffs)
            bag.image('/l/image_rect', 0, left, 'rgb8')
            bag.image('/r/image_rect', 0, right, 'rgb8', 'right')
            pixels = np.full((32, 48), stored, np.float32)
            image = SimpleNamespace(
                header=_header(), height=32, width=48, encoding='32FC1', is_bigendian=0,
                step=4 * 48, data=pixels.reshape(-1).view(np.uint8))
            bag.add('/ground_truth/disparity', 'stereo_msgs/msg/DisparityImage', 0,
                    image=image, f=FX, t=BASELINE, min_disparity=1.0, max_disparity=64.0)
        data = replay(bag.folder, fake_perception(), tmp_path / f'{name}_out')
        assert data.figures['disparity.bad_1'].value == pytest.approx(1 / 32)   # the missing row


def _header():
    from types import SimpleNamespace
    return SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=0), frame_id='left')


def test_options_refuse_impossible_depth_limits():
    with pytest.raises(ConfigError, match='min_depth < max_depth'):
        ReplayOptions(min_depth=5.0, max_depth=2.0)


@pytest.mark.parametrize('name', ['kitti_raw_residential_a', 'middlebury_motorcycle'])
def test_recorded_bags_are_read_to_their_end(shared_dir, tmp_path, fake_perception, name,
                                             monkeypatch):
    # the fake answers 48x32 images only: feed it corners, the pairs and the truth are real
    perception = fake_perception()
    process = perception.process
    shapes = set()

    def answer(left, right, rig, stamp_ns, cloud=None, visible=None):
        shapes.add(left.shape)
        result = process(left[:32, :48], right[:32, :48], rig, stamp_ns, cloud)
        for field in ('depth', 'disparity', 'confidence'):
            setattr(result, field, np.full(left.shape[:2], 1.0, np.float32))
        return result
    monkeypatch.setattr(perception, 'process', answer)
    path = shared_dir / 'data' / 'bags' / name
    data = replay(path, perception, tmp_path, outputs=False)
    with Bag(path) as bag:
        count = bag.topic(data.facts['Input']['left image']).count
    assert data.num_answered == count and len(shapes) == 1
    assert data.has_truth == (name == 'middlebury_motorcycle')
