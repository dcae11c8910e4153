# SPDX-License-Identifier: Apache-2.0
"""Scores of trajectory files: evo's figures on real ones, coverage, what cannot be compared."""
import json

from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.trajectories import score_trajectory
from crossview_ros.geometry.trajectory import Trajectory
import numpy as np
import pytest

FILES = 'data/trajectories'
PAIRS = [('KITTI_00_gt.txt', 'KITTI_00_ORB.txt'),
         ('fr2_desk_groundtruth.txt', 'fr2_desk_ORB_kf_mono.txt'),
         ('freiburg1_xyz-groundtruth.txt', 'freiburg1_xyz-rgbdslam.txt'),
         ('freiburg1_xyz-groundtruth.txt', 'freiburg1_xyz-ORB_kf_mono.txt')]


def path_along_z(count, step_m=1.0, step_s=0.1, start_s=100.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step_m * np.arange(count)
    return Trajectory(poses, np.int64(1e9 * (start_s + step_s * np.arange(count))))


def results_of_evo(folder, names):
    for result in json.loads((folder / 'evo_results.json').read_text())['results']:
        words = result['command'].split()
        if tuple(words[2:4]) == names and words[-1] != '--all_pairs':
            yield words, result


@pytest.mark.parametrize('names', PAIRS, ids=[estimate for _, estimate in PAIRS])
def test_every_figure_of_a_real_trajectory_is_that_of_evo(shared_dir, names):
    folder = shared_dir / FILES
    reference, estimate = (read_trajectory(folder / name) for name in names)
    results = list(results_of_evo(folder, names))
    for words, expected in results:
        alignment = 'sim3' if '-as' in words else 'se3' if '-a' in words else 'none'
        score = score_trajectory(estimate, reference, alignment, 0.01)
        spread = score.spreads[words[0][4:] + ('_angle' if 'angle_deg' in words else '')]
        steps = score.num_pairs - (words[0] == 'evo_rpe')
        assert steps == round(expected['sse'] / expected['rmse'] ** 2)
        # evo reads times as float64 and its files have 6 digits: 1e-3 of small steps
        for name in ('rmse', 'mean', 'median', 'max'):
            assert getattr(spread, name) == pytest.approx(expected[name], rel=1e-3), words
    assert len(results) >= 7


def test_coverage_is_the_share_of_reference_poses_that_are_paired():
    reference, estimate = path_along_z(20), path_along_z(15)
    score = score_trajectory(estimate, reference, 'none')
    assert (score.num_pairs, score.num_estimated, score.num_reference) == (15, 15, 20)
    assert score.metrics['coverage'].value == score.metrics['time_coverage'].value == 0.75
    assert score.spreads['ape'].max == 0 and score.spreads['ape'].unit == 'm'


def test_a_faster_reference_lowers_the_pairs_but_not_the_time_covered():
    reference = path_along_z(100, step_m=0.1, step_s=0.01)
    score = score_trajectory(path_along_z(5), reference, 'none', 0.051)
    assert score.metrics['coverage'].value == 0.05
    # times 0 to 0.4 s and 0.05 s beyond, of 0 to 0.99 s
    assert score.metrics['time_coverage'].value == 0.46


def test_drift_and_steps_of_a_path_that_is_2_percent_too_long():
    score = score_trajectory(path_along_z(251, 1.02), path_along_z(251), 'origin', delta=5)
    assert score.spreads['rpe'].median == pytest.approx(0.1)
    assert score.metrics['drift'].value == pytest.approx(2)
    # each segment ends one pose, 1 m, beyond its length
    assert score.metrics['segment_drift'].value == pytest.approx((15 * 2.02 + 5 * 2.01) / 20)
    assert score.metrics['segment_turn'].value == pytest.approx(0, abs=1e-6)
    assert score.metrics['length'].value == 250
    short = score_trajectory(path_along_z(50, 1.02), path_along_z(50), 'origin')
    assert 'segment_drift' not in short.metrics and short.metrics['drift'].unit == '%'


@pytest.mark.parametrize('estimate, reference, options, message', [
    (path_along_z(5), path_along_z(5, start_s=200), {},
     r'no pose of the estimate \(5 poses, 100.000 to 100.400 s\) lies within 0.02 s of one of'),
    (path_along_z(5), path_along_z(5, start_s=100.4), {}, 'only 1 of 5 estimated poses'),
    (path_along_z(5), path_along_z(5), {'delta': 5}, 'expected more than 5'),
    (path_along_z(5), path_along_z(5), {'alignment': 'se3'}, "use alignment 'origin'"),
    (Trajectory(path_along_z(5).poses), Trajectory(path_along_z(4).poses), {},
     'the estimate has 5 poses but the reference 4; without times'),
    (Trajectory(path_along_z(5).poses), path_along_z(5), {}, 'the estimate has no times'),
    (path_along_z(5), Trajectory(path_along_z(5).poses), {}, 'the reference has no times')])
def test_what_cannot_be_compared_says_why(estimate, reference, options, message):
    with pytest.raises(DatasetError, match=message):
        score_trajectory(estimate, reference, **{'alignment': 'none', **options})
