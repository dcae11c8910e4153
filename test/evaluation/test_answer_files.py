# SPDX-License-Identifier: Apache-2.0
"""Scores of answers that lie in files."""
from crossview_ros.data import io
from crossview_ros.errors import DatasetError
from crossview_ros.evaluation.answers import score_files
import numpy as np
import pytest


def depth_file(path, value, scale=256.0):
    path.parent.mkdir(exist_ok=True)
    io.write_scaled_png(path, np.full((4, 6), value, np.float32), scale)
    return path


@pytest.mark.parametrize('name, write', [
    ('d.npy', lambda path, values: np.save(path, values)),
    ('d.pfm', io.write_pfm),
    ('d.png', io.write_scaled_png)])
def test_depth_is_read_from_each_kind_of_file(tmp_path, name, write):
    truth = depth_file(tmp_path / 'truth.png', 2.0)
    answer = np.full((4, 6), 3, np.float32)
    answer[0] = np.nan
    write(tmp_path / name, answer)
    score, = score_files('depth', tmp_path / name, truth)
    # a quarter is missing: 100 % error, the rest is 50 % off
    assert score.metrics['abs_rel'].value == (0.25 * 1 + 0.75 * 0.5)
    assert score.metrics['coverage'].value == 0.75 and score.sums == {}
    assert (score.sample, score.method) == ('d', name) and np.isnan(score.elapsed_ms)


def test_the_scale_of_a_png_is_that_of_its_data_set(tmp_path):
    answer, truth = (depth_file(tmp_path / f'{value}.png', value, 5000) for value in (2, 4))
    score, = score_files('depth', answer, truth, png_scale=5000)
    assert score.metrics['rmse'].value == pytest.approx(2)


def test_disparity_and_flow_are_scored_with_their_pooled_sums(tmp_path):
    score, = score_files('stereo', depth_file(tmp_path / 'a.png', 5),
                         depth_file(tmp_path / 'b.png', 7))
    assert score.metrics['epe'].value == 2 and score.sums['L1err'] == (48, 24)
    flow = np.tile(np.float32([3, 4]), (4, 6, 1))
    io.write_flo(tmp_path / 'a.flo', flow)
    io.write_kitti_flow(tmp_path / 'b.png', np.zeros_like(flow))
    score, = score_files('flow', tmp_path / 'a.flo', tmp_path / 'b.png', 'kitti')
    assert score.metrics['epe'].value == 5 and score.sums['EPE'] == (120, 24)


def test_files_of_two_folders_are_compared_by_name(tmp_path):
    for name, value in (('x', 2), ('y', 4)):
        depth_file(tmp_path / 'truth' / f'{name}.png', value)
        np.save(depth_file(tmp_path / 'mine' / 'other.png', 9).with_name(f'{name}.npy'),
                np.full((4, 6), value + 1, np.float32))
    scores = score_files('depth', tmp_path / 'mine', tmp_path / 'truth')
    assert [(score.sample, score.metrics['abs_rel'].value) for score in scores] == \
        [('x', 0.5), ('y', 0.25)]
    (tmp_path / 'mine' / 'y.npy').unlink()
    with pytest.raises(DatasetError, match="no answer for 1 of 2 truths, the first is 'y'"):
        score_files('depth', tmp_path / 'mine', tmp_path / 'truth')


@pytest.mark.parametrize('task, answer, message', [
    ('depth', np.zeros((4, 5)), r"'a': depth is \(4, 5\) but its truth is \(4, 6\)"),
    ('stereo', np.zeros((4, 5)), r"'a': disparity is \(4, 5\) but its truth is \(4, 6\)"),
    ('depth', np.array('x'), 'expected one array of numbers')])
def test_an_answer_that_does_not_fit_is_refused(tmp_path, task, answer, message):
    np.save(tmp_path / 'a.npy', answer)
    with pytest.raises(DatasetError, match=message):
        score_files(task, tmp_path / 'a.npy', depth_file(tmp_path / 'b.png', 2))


def test_a_file_without_truth_or_of_another_kind_is_refused(tmp_path):
    truth, nothing = depth_file(tmp_path / 'b.png', 2), depth_file(tmp_path / 'n.png', 0)
    with pytest.raises(DatasetError, match="'b' has no pixel with truth"):
        score_files('depth', truth, nothing)
    with pytest.raises(DatasetError, match='a depth is expected in a file that ends in'):
        score_files('depth', tmp_path / 'a.txt', truth)
    (tmp_path / 'a.npy').write_bytes(b'not numpy')
    with pytest.raises(DatasetError, match='a.npy: cannot be read as one array'):
        score_files('depth', tmp_path / 'a.npy', truth)
    with pytest.raises(DatasetError, match='is a folder; expected one of answers too'):
        score_files('depth', truth, tmp_path)
