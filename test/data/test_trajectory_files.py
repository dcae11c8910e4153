# SPDX-License-Identifier: Apache-2.0
"""Files of poses: what is read, and what is refused with the line that is wrong."""
from crossview_ros.data.trajectory_files import read_trajectory
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.replay.outputs import write_trajectory
import numpy as np
import pytest

TUM = '1.5 0 0 0 0 0 0 1\n'


def written(tmp_path, text):
    path = tmp_path / 'poses.txt'
    path.write_text(text)
    return path


def test_what_replay_writes_is_read_back_to_the_nanosecond(tmp_path, rng):
    poses = [(1_403_715_529_112_143_517 + 10 ** 8 * k, exp_se3(rng.normal(size=6)))
             for k in range(5)]
    write_trajectory(tmp_path / 'poses.tum', poses)
    trajectory = read_trajectory(tmp_path / 'poses.tum')
    assert trajectory.stamps_ns.tolist() == [stamp_ns for stamp_ns, _ in poses]
    np.testing.assert_allclose(trajectory.poses, [T for _, T in poses], atol=1e-8)


def test_a_tum_line_is_position_then_quaternion_xyzw(tmp_path):
    path = written(tmp_path, '# t x y z\n\n 1e-3 1 2 3 0 0 0.70710678 0.70710678 \n')
    trajectory = read_trajectory(path)
    assert trajectory.stamps_ns.tolist() == [1_000_000]
    np.testing.assert_allclose(trajectory.poses[0], [[0, -1, 0, 1], [1, 0, 0, 2], [0, 0, 1, 3],
                                                     [0, 0, 0, 1]], atol=1e-12)


def test_a_kitti_line_is_a_matrix_without_time(tmp_path):
    trajectory = read_trajectory(written(tmp_path, '0 -1 0 1 1 0 0 2 0 0 1 3\n' * 2))
    assert trajectory.stamps_ns is None and len(trajectory) == 2
    np.testing.assert_array_equal(trajectory.poses[1, :3], [[0, -1, 0, 1], [1, 0, 0, 2],
                                                            [0, 0, 1, 3]])


def test_a_line_of_euroc_has_nanoseconds_and_the_quaternions_w_first(tmp_path):
    path = written(tmp_path, '#timestamp, p\n1403715524907143168,1,2,3,0.5,0.5,0.5,0.5,9,9\n')
    trajectory = read_trajectory(path)
    assert trajectory.stamps_ns.tolist() == [1403715524907143168]
    np.testing.assert_allclose(trajectory.poses[0, :3], [[0, 0, 1, 1], [1, 0, 0, 2],
                                                         [0, 1, 0, 3]], atol=1e-12)


def test_of_poses_of_one_time_the_first_stays_and_it_is_told(tmp_path):
    notes = []
    path = written(tmp_path, TUM + '1.5 7 0 0 0 0 0 1\n2 8 0 0 0 0 0 1\n')
    trajectory = read_trajectory(path, notes.append)
    assert trajectory.stamps_ns.tolist() == [1_500_000_000, 2_000_000_000]
    assert trajectory.poses[:, 0, 3].tolist() == [0, 8]
    assert len(notes) == 1 and '1 of 3 poses repeat the time' in notes[0]


@pytest.mark.parametrize('text, message', [
    ('', 'poses.txt: holds no pose'),
    ('# nothing\n', 'holds no pose'),
    ('1 2 3\n', r'a line has 3 columns; expected 8 \(TUM'),
    (TUM + '2 0 0 0 1\n', 'line 2: 5 columns where the first line has 8'),
    (TUM + '# a\n1.4 0 0 0 0 0 0 1\n',
     r'line 3: the time 1.4 s lies before that of the pose above, 1.5 s; sort'),
    (TUM + 'x 0 0 0 0 0 0 1\n', "line 2: the time 'x' is no number"),
    ('nan 0 0 0 0 0 0 1\n', "the time 'nan' is no time in seconds"),
    ('1403715524907143168 0 0 0 0 0 0 1\n', 'is no time in seconds since 1970'),
    ('1 0 x 0 0 0 0 1\n', "line 1: could not convert string to float: 'x'"),
    ('1 0 nan 0 0 0 0 1\n', 'line 1: the pose is not finite; leave lost frames out'),
    ('1 0 0 0 0 0 0 0\n', r'line 1: quaternion \(x, y, z, w\) = .* is no rotation'),
    ('2 0 0 0 0 1 0 0 0 0 1 0\n', 'line 1: the first three columns of the 3 x 4 matrix are no'),
    ('1 0 0 0 0 1 0 0 0 0 -1 0\n', 'are no rotation')])
def test_a_file_that_is_wrong_is_refused_with_its_line(tmp_path, text, message):
    with pytest.raises(DatasetError, match=message):
        read_trajectory(written(tmp_path, text))


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    with pytest.raises(DatasetError, match='nowhere.txt: cannot be read: No such file'):
        read_trajectory(tmp_path / 'nowhere.txt')
    (tmp_path / 'image.png').write_bytes(b'\x89PNG\xff\xfe')
    with pytest.raises(DatasetError, match='image.png: is no text file'):
        read_trajectory(tmp_path / 'image.png')
