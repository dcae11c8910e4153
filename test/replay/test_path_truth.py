# SPDX-License-Identifier: Apache-2.0
"""True poses of a topic, a file, or KISS-ICP: at the stamps of the images, of the camera."""
import sys
from types import ModuleType, SimpleNamespace

from crossview_ros.errors import ConfigError
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.geometry.trajectory import Trajectory
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.path_truth import PathTruth, read_path_truth
from crossview_ros.replay.report import write_report
from crossview_ros.replay.run import replay_bag, ReplayOptions
from crossview_ros.replay.static_transforms import StaticTransforms
import numpy as np
import pytest
from wall_bag import DEPTH, write_wall_bag

STEP_NS = 10 ** 8


def replay(path, perception, out, **options):
    return replay_bag(path, perception, ReplayOptions(**options), out, title='test', command='c')


def turning(count):
    """Return poses that turn by 0.2 rad a step about z, and go along x."""
    return np.stack([exp_se3([0, 0, 0, 0, 0, 0.2 * k]) + np.eye(4, k=3) * k
                     for k in range(count)])


def test_poses_between_two_are_half_way_and_far_gaps_have_none():
    stamps = np.array([0, 1, 2, 9], np.int64) * STEP_NS
    truth = PathTruth(Trajectory(turning(4), stamps), exp_se3([0, 0, 1, 0, 0, 0]))
    expected = exp_se3([0, 0, 0, 0, 0, 0.1])
    found = truth.at(0, STEP_NS // 2)
    np.testing.assert_allclose(found[:3, :3], expected[:3, :3], atol=1e-12)
    np.testing.assert_allclose(found[2, 3], 1.0, atol=1e-12)   # of the camera, not the body
    np.testing.assert_allclose(truth.at(0, STEP_NS)[0, 3], 1.0)
    assert truth.at(0, 5 * STEP_NS) is None        # 0.7 s between the poses about it
    assert truth.at(0, 9 * STEP_NS + 10 ** 7) is not None   # 10 ms after the last
    assert truth.at(0, 10 * STEP_NS) is None and truth.at(0, -STEP_NS) is None


def test_poses_without_times_are_those_of_the_frames():
    truth = PathTruth(Trajectory(turning(3)))
    assert truth.at(2, 12345)[0, 3] == 2 and truth.at(3, 0) is None


def test_a_file_replaces_the_poses_of_the_bag(make_moving_bag, moving_perception, tmp_path):
    bag = make_moving_bag([0.0, 0.5, 1.0, 1.5])
    file = tmp_path / 'truth.tum'
    file.write_text(''.join(f'{1 + k / 10} 0 0 {0.4 * k} 0 0 0 1\n' for k in range(4)))
    data = replay(bag, moving_perception(step_m=0.5), tmp_path / 'out', truth=str(file))
    assert data.figures['odometry.true_path'].value == pytest.approx(1.2)
    assert data.figures['odometry.drift_percent'].value == pytest.approx(25)
    assert data.path_truth == f'file {file}, poses of left'
    page = write_report(tmp_path / 'out', data).read_text(encoding='utf-8')
    assert 'The true poses: file' in page


def test_a_topic_of_the_bag_is_named_with_its_frame(make_moving_bag):
    with Bag(make_moving_bag([0.0, 0.5, 1.0])) as bag:
        truth = read_path_truth(bag, StaticTransforms.of_bag(bag), '/ground_truth/odom', 'left')
        np.testing.assert_allclose(truth.at(0, 10**9 + STEP_NS)[:3, 3], [0.6, 0, 1])
        assert truth.label == 'topic /ground_truth/odom, poses of base_link' and not truth.pseudo
        with pytest.raises(ConfigError, match='is neither a topic of the bag, nor a file'):
            read_path_truth(bag, StaticTransforms(), '/absent', 'left')
        with pytest.raises(ConfigError, match='needs a LiDAR'):
            read_path_truth(bag, StaticTransforms(), 'kiss-icp', 'left')


@pytest.fixture
def fake_kiss_icp(monkeypatch):
    """Put a package in the place of kiss-icp that moves 1 m along x of the LiDAR each scan."""
    scans = []

    class KissICP:

        def __init__(self, config):
            scans.append(config)
            self.last_pose = np.eye(4)

        def register_frame(self, frame, timestamps):
            assert np.isfinite(frame).all() and len(frame) == len(timestamps)
            self.last_pose = self.last_pose + np.eye(4, k=3) * (len(scans) > 1)
            scans.append(frame)

    config = SimpleNamespace(data=SimpleNamespace(deskew=True), mapping=SimpleNamespace(),
                             registration=SimpleNamespace())
    for name, attributes in (('kiss_icp', {}), ('kiss_icp.config', {'KISSConfig': lambda: config}),
                             ('kiss_icp.kiss_icp', {'KissICP': KissICP})):
        module = ModuleType(name)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, name, module)
    return scans


def test_kiss_icp_gives_pseudo_truth_of_the_lidar(tmp_path, fake_kiss_icp):
    with Bag(write_wall_bag(tmp_path / 'wall', [0, 10, 20], cloud_offset_ns=0)) as bag:
        cloud = next(topic.name for topic in bag.topics if 'PointCloud2' in topic.type)
        camera = bag.first('/left/image_rect').header.frame_id
        truth = read_path_truth(bag, StaticTransforms.of_bag(bag), 'kiss-icp', camera, None,
                                cloud)
    config, *scans = fake_kiss_icp
    assert len(scans) == 3 and scans[0][:, 0].max() == pytest.approx(DEPTH)
    assert config.data.deskew is False and config.registration.max_num_threads == 1
    assert truth.pseudo and 'pseudo ground truth' in truth.label
    # x of the LiDAR is forward, z of the camera
    step = truth.trajectory.stamps_ns[0], truth.trajectory.stamps_ns[1]
    first, second = (truth.at(0, int(stamp)) for stamp in step)
    np.testing.assert_allclose((np.linalg.inv(first) @ second)[:3, 3], [0, 0, 1], atol=1e-12)


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'kiss_icp', None)
    with Bag(write_wall_bag(tmp_path / 'wall', [0, 1], cloud_offset_ns=0)) as bag:
        with pytest.raises(ConfigError, match='pip install kiss-icp'):
            read_path_truth(bag, StaticTransforms.of_bag(bag), 'kiss-icp', 'x', None,
                            next(t.name for t in bag.topics if 'PointCloud2' in t.type))
