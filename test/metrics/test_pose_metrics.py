# SPDX-License-Identifier: Apache-2.0
"""Trajectory figures: known errors, alignment, and the figures of the evo tool on real ones."""
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import exp_se3, make_transform
from crossview_ros.metrics.path_errors import (
    rotation_angle_deg, segment_errors, segment_plan, step_pairs, Steps)
from crossview_ros.metrics.pose import (
    align_trajectory, path_length, trajectory_metrics, umeyama)
import numpy as np
import pytest


def straight(count=11, step=1.0):
    """Return poses that go along z."""
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, 2, 3] = step * np.arange(count)
    return poses


def winding(rng, count=40):
    """Return poses that turn and climb."""
    steps = rng.normal((0, 0, 1, 0, 0, 0), (0.1, 0.1, 0.1, 0.1, 0.2, 0.1), (count, 6))
    poses = [np.eye(4)]
    for step in steps:
        poses.append(poses[-1] @ exp_se3(step))
    return np.stack(poses)


def values_of(figures):
    return {name: metric.value for name, metric in figures.items()}


def test_the_truth_has_no_error(rng):
    truth = winding(rng)
    figures = trajectory_metrics(truth, truth)
    for name in ('ape', 'ape_angle', 'rpe', 'rpe_angle', 'drift'):
        assert figures[name].value == pytest.approx(0, abs=1e-5)
    assert figures['length'].value == pytest.approx(path_length(truth))
    assert {name: metric.unit for name, metric in figures.items()} == {
        'ape': 'm', 'ape_angle': 'deg', 'rpe': 'm', 'rpe_angle': 'deg', 'drift': '%',
        'length': 'm', 'scale': '-'}


def test_steps_of_the_wrong_length_give_their_drift():
    figures = values_of(trajectory_metrics(straight(step=1.05), straight()))
    assert figures['length'] == 10 and figures['drift'] == pytest.approx(5)
    assert figures['rpe'] == pytest.approx(0.05) and figures['rpe_angle'] == 0
    assert figures['ape'] == pytest.approx(0.05 * np.sqrt(np.mean(np.arange(11) ** 2)))


def test_a_step_that_turns_too_far_gives_its_angle():
    poses = straight(2)
    poses[1] = poses[1] @ exp_se3([0, 0, 0, 0, np.deg2rad(3), 0])
    figures = values_of(trajectory_metrics(poses, straight(2)))
    assert figures['rpe_angle'] == pytest.approx(3) and figures['rpe'] == pytest.approx(0)


def test_delta_compares_poses_farther_apart():
    figures = values_of(trajectory_metrics(straight(step=1.05), straight(), steps=Steps(4)))
    assert figures['rpe'] == pytest.approx(0.2)


def test_another_world_frame_changes_nothing(rng):
    truth, poses = winding(rng), winding(np.random.default_rng(0))
    poses = poses @ exp_se3([0.1, 0, 0, 0, 0, 0])
    moved = exp_se3([3, -2, 5, 0.4, -1, 0.2]) @ poses
    for alignment in ('origin', 'se3', 'sim3'):
        assert values_of(trajectory_metrics(moved, truth, alignment)) == pytest.approx(
            values_of(trajectory_metrics(poses, truth, alignment)), abs=1e-5)


def test_alignment_undoes_a_motion_and_sim3_a_scale_too(rng):
    truth = winding(rng)
    T = exp_se3([3, -2, 5, 0.4, -1, 0.2])
    poses = T @ truth
    aligned, scale = align_trajectory(poses, truth, 'se3')
    np.testing.assert_allclose(aligned, truth, atol=1e-9)
    assert scale == 1
    poses[:, :3, 3] *= 2.5
    aligned, scale = align_trajectory(poses, truth, 'sim3')
    np.testing.assert_allclose(aligned, truth, atol=1e-9)
    assert scale == pytest.approx(0.4)
    figures = values_of(trajectory_metrics(poses, truth, 'sim3'))
    assert figures['ape'] == pytest.approx(0, abs=1e-9) and figures['scale'] == pytest.approx(0.4)


def test_umeyama_gives_a_rotation_even_for_a_mirrored_cloud(rng):
    points = rng.normal(size=(30, 3))
    rotation, _, _ = umeyama(points, points * (1, 1, -1), with_scale=False)
    assert np.linalg.det(rotation) == pytest.approx(1)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)


def test_no_small_change_of_umeyama_fits_better(rng):
    points, target = rng.normal(size=(2, 30, 3))
    rotation, translation, scale = umeyama(points, target, with_scale=True)

    def cost(turn, move, factor):
        moved = factor * points @ (turn @ rotation).T + translation + move
        return ((target - moved) ** 2).sum()

    best = cost(np.eye(3), np.zeros(3), scale)
    for sign in (1e-3, -1e-3):
        assert cost(np.eye(3), np.zeros(3), scale + sign) > best
        for axis in np.eye(3):
            assert cost(exp_se3([0, 0, 0, *(sign * axis)])[:3, :3], np.zeros(3), scale) > best
            assert cost(np.eye(3), sign * axis, scale) > best


@pytest.mark.parametrize('angle', [0, 1e-9, 1e-3, 1, 90, 179.9999, 180])
def test_the_angle_of_a_rotation_is_exact_for_small_and_large_ones(angle):
    T = exp_se3([1, 2, 3, *(np.deg2rad(angle) * np.array([0.6, 0, 0.8]))])
    assert rotation_angle_deg(T[None])[0] == pytest.approx(angle, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize('poses, options, text', [
    (straight(5), {}, 'trajectory has 5 poses but the truth has 11'),
    (straight(11), {'steps': Steps(11)}, r'11 poses over 10.000 m hold no step of 11 frames'),
    (straight(11), {'steps': Steps(12.5, 'metres', True)}, 'hold no step of 12.5 metres'),
    (straight(11), {'alignment': 'se3'}, 'in one place or on one line'),
    (straight(11), {'alignment': 'scale'}, "'se3' or 'sim3', got 'scale'"),
    (straight(1), {}, r'trajectory must be \(N, 4, 4\) with two poses or more, got \(1, 4, 4\)'),
    (np.zeros((11, 3)), {}, r'got \(11, 3\)'),
    (np.full((11, 4, 4), np.nan), {}, 'trajectory has poses that are not finite'),
])
def test_what_cannot_be_compared_is_refused(poses, options, text):
    with pytest.raises(DatasetError, match=text):
        trajectory_metrics(poses, straight(11), **options)


def test_standing_still_has_no_drift_figure():
    still = np.tile(make_transform(np.eye(3), (1, 2, 3)), (4, 1, 1))
    assert np.isnan(trajectory_metrics(still, still)['drift'].value)


def test_none_leaves_the_poses_and_origin_moves_the_first_onto_the_true_one(rng):
    truth = winding(rng)
    moved = make_transform(np.eye(3), (3, 0, 4)) @ truth
    assert trajectory_metrics(moved, truth, 'none')['ape'].value == pytest.approx(5)
    assert trajectory_metrics(moved, truth, 'origin')['ape'].value == pytest.approx(0, abs=1e-9)
    assert trajectory_metrics(moved, truth, 'none')['drift'].value == pytest.approx(0, abs=1e-9)


def test_segments_of_the_wrong_length_and_turn_give_their_drift():
    # 2 % too long, and 0.01 degrees too much at each of 250 metres
    truth, poses = straight(251), [np.eye(4)]
    for _ in range(250):
        poses.append(poses[-1] @ exp_se3([0, 0, 1.02, 0, 0, np.deg2rad(0.01)]))
    segments = segment_errors(np.stack(poses), truth)
    # a length is passed one pose after it is reached: 101 m are measured against 100 m
    assert [tuple(row) for row in np.stack(np.unique(segments[:, 0], return_counts=True), 1)] == \
        [(100, 15), (200, 5)]
    first, last = segments[0], segments[-1]
    assert first[1] == pytest.approx(2.02) and first[2] == pytest.approx(0.0101)
    assert last[1] == pytest.approx(100 * 201 * 0.02 / 200) and last[2] == pytest.approx(0.01005)
    assert (first[3], last[3]) == (0, 40)   # where they start


def test_a_short_path_has_no_segment():
    assert segment_errors(straight(100), straight(100)).shape == (0, 4)


def segments_slowly(poses, truth):
    """Walk from each tenth pose until the path is long enough: the oracle."""
    rows = []
    for length in (100, 200, 300, 400, 500, 600, 700, 800):
        for i in range(0, len(truth), 10):
            walked, j = 0.0, i
            while walked <= length and j + 1 < len(truth):
                walked += float(np.linalg.norm(truth[j + 1, :3, 3] - truth[j, :3, 3]))
                j += 1
            if walked > length:
                error = np.linalg.inv(np.linalg.inv(truth[i]) @ truth[j]) \
                    @ (np.linalg.inv(poses[i]) @ poses[j])
                angle = np.arccos(np.clip((np.trace(error[:3, :3]) - 1) / 2, -1, 1))
                rows.append((length, 100 * np.linalg.norm(error[:3, 3]) / length,
                             np.rad2deg(angle) / length, i))
    return np.array(rows)


def test_segments_are_those_of_a_walk_along_the_path(rng):
    truth = winding(rng, 400)
    poses = truth @ exp_se3([0.3, 0, 0, 0, 0.02, 0])
    np.testing.assert_allclose(segment_errors(poses, truth), segments_slowly(poses, truth),
                               rtol=1e-6, atol=1e-6)


def test_short_paths_are_cut_into_shares_and_say_so():
    assert segment_plan(straight(401)) == ((100, 200, 300, 400, 500, 600, 700, 800), 10,
                                           '100-300 m')   # none is longer than 400 m of 400 m
    lengths_m, spacing, label = segment_plan(straight(21))
    assert lengths_m == pytest.approx((2, 4, 6, 8, 10)) and spacing == 1
    assert label == '10% to 50% of the path'


def test_steps_of_frames_follow_each_other_or_start_everywhere():
    pairs = np.stack(step_pairs(straight(8), Steps(3)), 1).tolist()
    assert pairs == [[0, 3], [3, 6]]
    pairs = np.stack(step_pairs(straight(8), Steps(3, all_pairs=True)), 1).tolist()
    assert pairs == [[i, i + 3] for i in range(5)]


def all_metre_pairs_slowly(poses, length):
    """Try every end of every start: the oracle."""
    pairs = []
    for i in range(len(poses) - 1):
        way, best = 0.0, None
        for j in range(i + 1, len(poses)):
            way += float(np.linalg.norm(poses[j, :3, 3] - poses[j - 1, :3, 3]))
            if best is None or abs(way - length) < best[0]:
                best = abs(way - length), j
        if best[0] <= 0.1 * length:
            pairs.append([i, best[1]])
    return pairs


def test_steps_of_metres_end_nearest_to_their_length(rng):
    poses = winding(rng, 60)
    found = np.stack(step_pairs(poses, Steps(5.3, 'metres', all_pairs=True)), 1).tolist()
    assert found == all_metre_pairs_slowly(poses, 5.3) and len(found) > 40
    # one after the other: the first pose at 2.5 m or more, and on from there
    chain = np.stack(step_pairs(straight(8), Steps(2.5, 'metres')), 1).tolist()
    assert chain == [[0, 3], [3, 6]]


@pytest.mark.parametrize('values', [(0, 'frames'), (1.5, 'frames'), (-1, 'metres'), (1, 'miles')])
def test_steps_that_cannot_be_walked_are_refused(values):
    with pytest.raises(DatasetError, match='steps are of a whole number of frames or of metres'):
        Steps(*values)


@pytest.mark.parametrize('alignment, ape, ape_angle, rpe', [
    ('none', 7.790289, None, 0.02812), ('origin', 7.790289, None, 0.02812),
    ('se3', 1.30345, 0.756301, 0.02812), ('sim3', 0.937709, None, 0.027822)])
def test_figures_of_a_real_trajectory_are_those_of_evo(shared_dir, alignment, ape, ape_angle, rpe):
    def read(name):
        rows = np.loadtxt(shared_dir / 'data/trajectories' / name).reshape(-1, 3, 4)
        poses = np.tile(np.eye(4), (len(rows), 1, 1))
        poses[:, :3] = rows
        return poses

    figures = values_of(trajectory_metrics(read('KITTI_00_ORB.txt'), read('KITTI_00_gt.txt'),
                                           alignment))
    # evo does not put the first poses on each other; these differ by micrometres
    assert figures['ape'] == pytest.approx(ape, rel=1e-4)
    assert figures['rpe'] == pytest.approx(rpe, rel=1e-3)
    if ape_angle is not None:
        assert figures['ape_angle'] == pytest.approx(ape_angle, rel=1e-4)
