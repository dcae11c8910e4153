# SPDX-License-Identifier: Apache-2.0
"""Samples are found in each layout of folders."""
import json

from crossview_ros.data import io
from crossview_ros.data.folders import (
    find_samples, LAYOUTS, read_flow_sample, read_stereo_sample, SampleFiles)
from crossview_ros.errors import DatasetError
import numpy as np
import pytest

IMAGE1 = np.full((40, 50, 3), (10, 20, 30), np.uint8)
IMAGE2 = np.full((40, 50, 3), 7, np.uint8)
DISPARITY = np.full((40, 50), 2.5, np.float32)
FLOW = np.full((40, 50, 2), -1.5, np.float32)


def write_pair(folder, name1, name2):
    folder.mkdir(parents=True, exist_ok=True)
    io.write_image(folder / name1, IMAGE1)
    io.write_image(folder / name2, IMAGE2)


def write_stereo(folder):
    write_pair(folder, 'left.png', 'right.png')
    io.write_scaled_png(folder / 'disp_gt.png', DISPARITY)


def write_kitti(folder, numbers=('000000', '000007')):
    for number in numbers:
        write_pair(folder / 'image_2', f'{number}_10.png', f'{number}_11.png')
        write_pair(folder / 'image_3', f'{number}_10.png', f'{number}_11.png')
        for name in ('disp_occ_0', 'flow_occ'):
            (folder / name).mkdir(exist_ok=True)
        io.write_scaled_png(folder / 'disp_occ_0' / f'{number}_10.png', DISPARITY)
        io.write_kitti_flow(folder / 'flow_occ' / f'{number}_10.png', FLOW)


def test_a_folder_with_one_stereo_sample_is_that_sample(tmp_path):
    write_stereo(tmp_path / 'teddy')

    files, = find_samples('stereo', tmp_path / 'teddy')
    sample = read_stereo_sample(files)

    assert sample.name == 'teddy' and sample.rig is None
    np.testing.assert_array_equal(sample.left, IMAGE1)
    np.testing.assert_array_equal(sample.right, IMAGE2)
    np.testing.assert_array_equal(sample.disparity, DISPARITY)


def test_pfm_truth_is_preferred_and_a_calibration_beside_it_is_used(tmp_path):
    write_stereo(tmp_path)
    io.write_pfm(tmp_path / 'disp_gt.pfm', DISPARITY + 1)
    (tmp_path / 'calib.json').write_text(json.dumps({
        'fx': 60, 'fy': 60, 'cx_left': 20, 'cx_right': 22, 'cy': 19, 'baseline_m': 0.1}))

    sample = read_stereo_sample(*find_samples('stereo', tmp_path))

    np.testing.assert_array_equal(sample.disparity, DISPARITY + 1)
    assert sample.rig.doffs == 2 and sample.rig.baseline == 0.1


def test_middlebury_2014_names_are_known(tmp_path):
    write_pair(tmp_path, 'im0.png', 'im1.png')
    io.write_pfm(tmp_path / 'disp0.pfm', DISPARITY)

    np.testing.assert_array_equal(
        read_stereo_sample(*find_samples('stereo', tmp_path)).disparity, DISPARITY)


def test_a_folder_of_samples_gives_them_by_name_and_skips_the_rest(tmp_path):
    for name in ('b', 'a'):
        write_stereo(tmp_path / name)
    (tmp_path / 'notes').mkdir()
    (tmp_path / 'README').write_text('x')

    assert [files.name for files in find_samples('stereo', tmp_path)] == ['a', 'b']


@pytest.mark.parametrize('write, truth', [(io.write_flo, 'flow_gt.flo'),
                                          (io.write_kitti_flow, 'flow_gt.png')])
def test_a_flow_sample_is_read(tmp_path, write, truth):
    write_pair(tmp_path, 'frame1.png', 'frame2.png')
    write(tmp_path / truth, FLOW)

    sample = read_flow_sample(*find_samples('flow', tmp_path))

    np.testing.assert_array_equal(sample.image1, IMAGE1)
    np.testing.assert_array_equal(sample.image2, IMAGE2)
    np.testing.assert_array_equal(sample.flow, FLOW)


@pytest.mark.parametrize('inner', ['', 'training'])
def test_kitti_2015_is_read_from_its_root_or_its_training_folder(tmp_path, inner):
    write_kitti(tmp_path / inner)

    stereo, flow = (find_samples(task, tmp_path) for task in ('stereo', 'flow'))

    assert [files.name for files in stereo] == [files.name for files in flow] == \
        ['000000', '000007']
    # the second image of the stereo pair is the right camera's, that of flow the next one
    assert stereo[1].image2 == tmp_path / inner / 'image_3' / '000007_10.png'
    assert flow[1].image2 == tmp_path / inner / 'image_2' / '000007_11.png'
    np.testing.assert_array_equal(read_stereo_sample(stereo[0]).disparity, DISPARITY)
    np.testing.assert_array_equal(read_flow_sample(flow[0]).flow, FLOW)


def test_kitti_2015_brings_its_calibration(tmp_path):
    write_kitti(tmp_path, ('000003',))
    (tmp_path / 'calib_cam_to_cam').mkdir()
    (tmp_path / 'calib_cam_to_cam' / '000003.txt').write_text(
        'P_rect_02: 60 0 20 0 0 60 19 0 0 0 1 0\nP_rect_03: 60 0 20 -30 0 60 19 0 0 0 1 0\n')

    assert read_stereo_sample(*find_samples('stereo', tmp_path)).rig.baseline == 0.5


def test_folders_without_a_sample_say_what_was_expected(tmp_path):
    assert LAYOUTS
    with pytest.raises(DatasetError, match='no stereo sample found; expected left.png, right.png'):
        find_samples('stereo', tmp_path)
    with pytest.raises(DatasetError, match='no flow sample found; expected frame1.png.*flow_occ'):
        find_samples('flow', tmp_path)
    with pytest.raises(DatasetError, match='is no folder'):
        find_samples('flow', tmp_path / 'nothing')


def test_truth_of_another_size_names_the_file(tmp_path):
    write_stereo(tmp_path)
    io.write_scaled_png(tmp_path / 'disp_gt.png', DISPARITY[1:])

    with pytest.raises(DatasetError, match=r'disp_gt.png and its images do not belong together: '
                                           r'disparity must be float32 of shape \(40, 50\)'):
        read_stereo_sample(*find_samples('stereo', tmp_path))


def test_files_of_their_own_need_no_folder(tmp_path):
    write_pair(tmp_path, 'l.png', 'r.png')
    io.write_flo(tmp_path / 'truth.bin', FLOW)

    sample = read_flow_sample(SampleFiles(tmp_path / 'l.png', tmp_path / 'r.png',
                                          tmp_path / 'truth.bin', truth_format='flo', name='x'))

    assert sample.name == 'x'


def test_both_truths_of_a_real_sample_agree(shared_dir):
    folder = shared_dir / 'data' / 'stereo' / 'motorcycle'
    pfm, png = (read_stereo_sample(SampleFiles(folder / 'left.png', folder / 'right.png',
                                               folder / f'disp_gt.{suffix}')).disparity
                for suffix in ('pfm', 'png'))

    np.testing.assert_array_equal(np.isnan(pfm), np.isnan(png))
    np.testing.assert_allclose(pfm, png, atol=1 / 512 + 1e-6)   # half a step of 1/256
