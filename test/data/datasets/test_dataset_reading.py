# SPDX-License-Identifier: Apache-2.0
"""What the readers of data sets share: series of files, poses between poses, optional packages."""
from pathlib import Path
import sys

from crossview_ros.data import io
from crossview_ros.data.datasets import DATASETS
from crossview_ros.data.datasets.dataset import FileDataset, without_gaps
from crossview_ros.data.datasets.poses import pose_at
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.geometry.trajectory import Trajectory
from layouts import LAYOUTS
import numpy as np
import pytest


def test_a_series_of_files_is_completed_from_its_first_number_to_its_last():
    files = [Path('a/frame_0004_l.png'), Path('a/frame_0002_l.png'), Path('a/none.png')]

    assert without_gaps(files) == [Path(f'a/frame_000{k}_l.png') for k in (2, 3, 4)]
    assert without_gaps(files, first=1)[0] == Path('a/frame_0001_l.png')
    assert without_gaps([]) == without_gaps(files[2:]) == []


def test_a_pose_between_two_is_on_the_geodesic_and_never_guessed_beyond():
    turn = np.array([0.4, 0, 0, 0, 0, 0.6])
    path = Trajectory(np.stack([np.eye(4), exp_se3(turn), exp_se3(turn)]),
                      np.array([1000, 50_001_000, 200_001_000]))

    np.testing.assert_allclose(pose_at(path, 25_001_000), exp_se3(turn / 2), atol=1e-9)
    np.testing.assert_array_equal(pose_at(path, 1000), np.eye(4))
    np.testing.assert_allclose(pose_at(path, 200_001_000), exp_se3(turn))
    assert pose_at(path, 100_001_000) is None        # a gap of 0.15 s
    assert pose_at(path, 999) is None and pose_at(path, 200_001_001) is None


def test_negative_indices_count_from_the_end_and_errors_other_than_ours_pass():
    def read(entry):
        return 10 // entry

    dataset = FileDataset(Path('x'), [5, 0, 2], read, 'get it', skip_damaged=True)

    assert dataset[-1] == 5 and dataset[0] == 2
    with pytest.raises(ZeroDivisionError):
        dataset[1]


@pytest.mark.parametrize('name, package', [('nyuv2', 'h5py'), ('spring_flow', 'h5py'),
                                           ('nyuv2', 'scipy')])
def test_an_optional_package_that_is_absent_is_named(tmp_path, monkeypatch, name, package):
    pytest.importorskip('h5py')
    pytest.importorskip('scipy')
    LAYOUTS[name](tmp_path)
    for module in (package, f'{package}.io'):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(DatasetError, match=f'need.* the package {package}: pip install {package}'):
        DATASETS[name](tmp_path)[0]


def test_nyuv2_tells_which_file_is_damaged_and_gives_the_measured_depth_where_asked(tmp_path):
    pytest.importorskip('h5py')
    pytest.importorskip('scipy')
    LAYOUTS['nyuv2'](tmp_path)

    assert np.isnan(DATASETS['nyuv2'](tmp_path, filled=False)[0].depth).all()
    (tmp_path / 'splits.mat').write_bytes(b'nothing')
    with pytest.raises(DatasetError, match=r"splits.mat: has no 'trainNdxs'.*put nyu_depth"):
        DATASETS['nyuv2'](tmp_path)
    (tmp_path / 'nyu_depth_v2_labeled.mat').write_bytes(b'nothing')
    with pytest.raises(DatasetError, match=r'labeled.mat: damaged: .*put nyu_depth'):
        DATASETS['nyuv2'](tmp_path, 'all')


def test_gps_poses_of_kitti_raw_move_the_camera_forward_by_the_way_on_the_map(tmp_path):
    LAYOUTS['kitti_raw'](tmp_path)

    pose = DATASETS['kitti_raw'](tmp_path)[1].T_world_camera

    # 1e-5 deg of longitude at the equator, driving east: z of the camera
    np.testing.assert_allclose(pose[:3, 3], (0, 0, np.radians(1e-5) * 6378137), atol=1e-5)
    np.testing.assert_allclose(pose[:3, :3], np.eye(3), atol=1e-9)


def test_a_left_turn_of_the_car_turns_its_camera_left(tmp_path):
    LAYOUTS['kitti_raw'](tmp_path)
    drive = tmp_path / '2011_09_26/2011_09_26_drive_0001_sync'
    (drive / 'oxts/data/0000000001.txt').write_text('0 0 5 0 0 0.1 9 9 9\n')   # yaw [rad]

    pose = DATASETS['kitti_raw'](tmp_path)[1].T_world_camera

    # yaw counts counter-clockwise seen from above; x points right, z forward
    np.testing.assert_allclose(pose[:3, 2], (-np.sin(0.1), 0, np.cos(0.1)), atol=1e-9)


def test_tum_depth_is_undistorted_as_its_image_is(tmp_path):
    LAYOUTS['tum_rgbd'](tmp_path)
    folder = tmp_path / 'rgbd_dataset_freiburg3_desk'
    image, depth = np.zeros((480, 640, 3), np.uint8), np.ones((480, 640), np.float32)
    image[40:80, 40:100], depth[40:80, 40:100] = 255, 3
    for name in ('rgb/1305031453.000000.png', 'depth/1305031453.015000.png'):
        (folder / name).unlink()
    io.write_image(folder / 'rgb/1305031453.000000.png', image)
    io.write_scaled_png(folder / 'depth/1305031453.015000.png', depth, 5000)
    folder = folder.rename(tmp_path / 'rgbd_dataset_freiburg1_desk')   # a camera with distortion

    sample = DATASETS['tum_rgbd'](folder)[0]

    bright = sample.image[..., 0] > 127
    assert (bright != (image[..., 0] > 127)).sum() > 100
    assert ((sample.depth == 3) != bright).sum() <= 0.02 * bright.sum()   # rounding at borders


def test_the_right_camera_of_euroc_lies_along_x_of_the_rectified_left_one(tmp_path):
    LAYOUTS['euroc'](tmp_path)
    path = tmp_path / 'V1_01_easy/mav0/cam1/sensor.yaml'
    path.write_text(path.read_text().replace('0, 1.0, 0, 0,', '0, 1.0, 0, 0.02,', 1))

    frame = DATASETS['euroc'](tmp_path)[0]

    # the body stands upright: its axes are the world's
    np.testing.assert_allclose(frame.T_world_camera[:3, 0],
                               np.array([0.11, 0.02, 0]) / np.hypot(0.11, 0.02), atol=1e-6)
    assert frame.rig.baseline == pytest.approx(np.hypot(0.11, 0.02))


def test_spring_reads_the_intrinsics_of_the_frame(tmp_path):
    pytest.importorskip('h5py')
    LAYOUTS['spring_stereo'](tmp_path)

    dataset = DATASETS['spring_stereo'](tmp_path)

    assert [sample.rig.left.fx for sample in dataset] == [100, 120, 100, 120]


def test_drives_without_scans_or_gps_give_none(tmp_path):
    import shutil
    LAYOUTS['kitti_raw'](tmp_path)
    drive = tmp_path / '2011_09_26/2011_09_26_drive_0001_sync'
    for name in ('oxts', 'velodyne_points'):
        shutil.rmtree(drive / name)

    frame = DATASETS['kitti_raw'](tmp_path)[1]

    assert frame.points is None and frame.T_world_camera is None


@pytest.mark.parametrize('name, options, message', [
    ('kitti_raw', {'drives': ('2011_09_26_drive_0002_sync',)}, "no drive '2011_09_26_drive_0002"),
    ('kitti_odometry', {'sequences': ('12',)}, "no sequence '12'; known: 00"),
    ('kitti_odometry', {'cameras': 'thermal'}, "no cameras 'thermal'; known: grey, colour"),
    ('sceneflow', {'passes': 'clean'}, "passes must be a list of 'clean' and 'final'"),
    ('sintel_flow', {'passes': ('albedo',)}, "no pass 'albedo'; known: clean, final"),
    ('nuscenes', {'cameras': ('CAM_TOP',)}, "no camera 'CAM_TOP'; known: CAM_FRONT"),
    ('middlebury_eval3', {'resolution': 'X'}, "no resolution 'X'; known: F, H, Q")])
def test_parts_that_are_not_there_are_told_with_the_known_ones(tmp_path, name, options, message):
    LAYOUTS[name](tmp_path)

    with pytest.raises(DatasetError, match=message):
        DATASETS[name](tmp_path, **options)


def test_tum_folders_that_do_not_tell_their_camera_are_refused(tmp_path):
    LAYOUTS['tum_rgbd'](tmp_path)
    (tmp_path / 'rgbd_dataset_freiburg3_desk').rename(tmp_path / 'desk')

    with pytest.raises(DatasetError, match='desk: its name does not tell the camera'):
        DATASETS['tum_rgbd'](tmp_path)


@pytest.mark.parametrize('name, path, cure', [
    ('kitti_raw', '2011_09_26/calib_velo_to_cam.txt', 'holds no lines'),
    ('kitti_odometry', 'sequences/00/times.txt', '1 times for 2 frames; unpack'),
    ('kitti_odometry', 'poses/00.txt', 'columns'),
    ('euroc', 'V1_01_easy/mav0/cam1/sensor.yaml', 'is no sensor.yaml'),
    ('euroc', 'V1_01_easy/mav0/cam0/data.csv', 'a stamp and a file'),
    ('tum_rgbd', 'rgbd_dataset_freiburg3_desk/rgb.txt', 'a time and a file'),
    ('nuscenes', 'v1.0-mini/sample_data.json', 'is no table'),
    ('flying_chairs', 'FlyingChairs_train_val.txt', 'expected only 1 and 2')])
def test_a_damaged_list_or_calibration_is_told_on_opening(tmp_path, name, path, cure):
    layout = LAYOUTS[name](tmp_path)
    (tmp_path / path).write_text('x, y')

    with pytest.raises(DatasetError, match=f'{path}.*{cure}'):
        DATASETS[name](tmp_path, next(iter(layout.counts)), **layout.options)


def test_point_files_must_end_with_a_whole_row(tmp_path):
    path = tmp_path / 'scan.bin'
    path.write_bytes(np.arange(8, dtype='<f4').tobytes())

    np.testing.assert_array_equal(io.read_point_file(path, 4), [[0, 1, 2, 3], [4, 5, 6, 7]])
    with pytest.raises(DatasetError, match='32 bytes are no rows of 5 float32'):
        io.read_point_file(path, 5)
