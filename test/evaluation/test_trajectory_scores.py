# SPDX-License-Identifier: Apache-2.0
"""Scores of trajectory files: evo's figures on real ones, coverage, what cannot be compared."""
import functools
import json

from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.time_offset import find_time_offset, shifted
from crossview_ros.evaluation.trajectories import score_trajectory
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.geometry.trajectory import Trajectory
from crossview_ros.metrics.path_errors import Steps
import numpy as np
import pytest

FILES = 'data/trajectories'


def path_along_z(count, step_m=1.0, step_s=0.1, start_s=100.0):
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step_m * np.arange(count)
    return Trajectory(poses, np.int64(1e9 * (start_s + step_s * np.arange(count))))


def options_of_evo(words):
    """Return the arguments of `score_trajectory` that do what a command of evo does."""
    steps = Steps()
    if '--delta' in words:
        unit = {'f': 'frames', 'm': 'metres'}[words[words.index('--delta_unit') + 1]]
        steps = Steps(float(words[words.index('--delta') + 1]), unit, '--all_pairs' in words)
    alignment = 'sim3' if '-as' in words else 'se3' if '-a' in words else 'none'
    return {'alignment': alignment, 'max_difference_s': 0.01, 'steps': steps,
            'association': 'nearest'}


def test_every_figure_of_every_real_trajectory_is_that_of_evo(shared_dir):
    folder = shared_dir / FILES
    read = functools.cache(lambda name: read_trajectory(folder / name, keep_repeats=True))
    results = json.loads((folder / 'evo_results.json').read_text())['results']
    for expected in results:
        words = expected['command'].split()
        score = score_trajectory(read(words[3]), read(words[2]), **options_of_evo(words))
        spread = score.spreads[words[0][4:] + ('_angle' if 'angle_deg' in words else '')]
        for name in ('rmse', 'mean', 'median', 'min', 'max', 'std'):
            assert getattr(spread, name) == pytest.approx(expected[name], abs=1e-6), words
        # the file has 6 digits
        assert spread.sse == pytest.approx(expected['sse'], rel=1e-6, abs=1e-6), words
    assert len(results) == 43


@pytest.mark.parametrize('offset_s', [0.0, 0.237, -1.5])
def test_the_offset_between_two_clocks_is_found(rng, offset_s):
    times_s = np.arange(0, 20, 0.05)
    turns = np.cumsum(0.05 * np.interp(times_s, np.arange(21), rng.normal(size=21)))
    poses = np.stack([exp_se3([0, 0, 0, 0, 0, turn]) for turn in turns])
    poses[:, 0, 3] = times_s   # an even speed tells nothing
    estimate = Trajectory(exp_se3([1, 2, 3, 1, 0, 0]) @ poses,
                          np.int64(1e9 * (times_s - offset_s)))
    reference = Trajectory(poses[::2], np.int64(1e9 * times_s[::2]))
    found_s, likeness = find_time_offset(estimate, reference)
    assert found_s == pytest.approx(offset_s, abs=0.005) and likeness > 0.98
    moved = shifted(estimate, found_s)
    assert (moved.stamps_ns - np.int64(1e9 * times_s)) * 1e-9 == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize('estimate, reference, message', [
    ('even', 'even', 'move alike'), ('bare', 'even', 'with times'), ('even', 'late', 'overlap')])
def test_an_offset_that_nothing_tells_is_not_invented(estimate, reference, message):
    paths = {'even': path_along_z(100), 'bare': Trajectory(path_along_z(9).poses),
             'late': path_along_z(100, start_s=900)}
    with pytest.raises(DatasetError, match=message):
        find_time_offset(paths[estimate], paths[reference])


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
    score = score_trajectory(path_along_z(251, 1.02), path_along_z(251), 'origin', steps=Steps(5))
    assert score.spreads['rpe'].median == pytest.approx(0.1)
    assert score.metrics['drift'].value == pytest.approx(2)
    # each segment ends one pose, 1 m, beyond its length
    assert score.metrics['t_err'].value == pytest.approx((15 * 2.02 + 5 * 2.01) / 20)
    assert score.metrics['r_err'].value == pytest.approx(0, abs=1e-6)
    assert score.metrics['length'].value == 250
    short = score_trajectory(path_along_z(50, 1.02), path_along_z(50), 'origin')
    assert short.metrics['t_err'].value == pytest.approx(2.2, abs=0.3)   # a pose more each
    assert short.segments.endswith('of the path') and short.metrics['drift'].unit == '%'


@pytest.mark.parametrize('estimate, reference, options, message', [
    (path_along_z(5), path_along_z(5, start_s=200), {},
     r'no pose of the estimate \(5 poses, 100.000 to 100.400 s\) lies within 0.02 s of one of'),
    (path_along_z(5), path_along_z(5, start_s=100.4), {}, 'only 1 of 5 estimated poses'),
    (path_along_z(5), path_along_z(5), {'steps': Steps(5)}, 'expected more than 5'),
    (path_along_z(5), path_along_z(5), {'alignment': 'se3'}, "use alignment 'origin'"),
    (Trajectory(path_along_z(5).poses), Trajectory(path_along_z(4).poses), {},
     'the estimate has 5 poses but the reference 4; without times'),
    (Trajectory(path_along_z(5).poses), path_along_z(5), {}, 'the estimate has no times'),
    (path_along_z(5), Trajectory(path_along_z(5).poses), {}, 'the reference has no times')])
def test_what_cannot_be_compared_says_why(estimate, reference, options, message):
    with pytest.raises(DatasetError, match=message):
        score_trajectory(estimate, reference, **{'alignment': 'none', **options})
