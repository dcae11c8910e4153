# SPDX-License-Identifier: Apache-2.0
"""Every data set keeps one contract: kinds, units, signs, unknown values, cameras, damage."""
from dataclasses import replace
import importlib.util

from crossview_ros.data.datasets import DATASETS
from crossview_ros.data.samples import DepthSample, FrameSample, StereoSample
from crossview_ros.errors import DatasetError
from crossview_ros.geometry.flow import warp_by_disparity, warp_image
from layouts import FLOW_LAYOUTS, LAYOUTS, STEREO_LAYOUTS
import numpy as np
import pytest
from textured_pairs import DISPARITY, FLOW, UNKNOWN
PACKAGES = {'spring_flow': ['h5py'], 'spring_stereo': ['h5py'], 'nyuv2': ['h5py', 'scipy']}


@pytest.fixture(scope='session')
def written(tmp_path_factory):
    """Return a function that writes a data set once: name -> (root, layout)."""
    done = {}

    def write(name):
        if name not in done:
            root = tmp_path_factory.mktemp(name)
            _need_packages(name)
            done[name] = root, LAYOUTS[name](root)
        return done[name]
    return write


@pytest.fixture
def opened(written):
    """Return a function: name of a data set -> (its first split, layout)."""
    def open_first(name):
        root, layout = written(name)
        return DATASETS[name](root, next(iter(layout.counts)), **layout.options), layout
    return open_first


def _need_packages(name):
    for package in PACKAGES.get(name, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f'{package} is not installed')


def rig_or_camera(sample):
    return sample.rig.left if hasattr(sample, 'rig') else sample.camera


def test_every_data_set_has_a_fixture():
    assert DATASETS.keys() == LAYOUTS.keys()


@pytest.mark.parametrize('name', DATASETS)
def test_each_split_has_its_samples_under_different_names(written, name):
    root, layout = written(name)
    for split, count in layout.counts.items():
        dataset = DATASETS[name](root, split, **layout.options)
        samples = list(dataset)

        assert len(dataset) == len(samples) == count, split
        assert all(isinstance(sample, layout.kind) for sample in samples)
        assert len({sample.name for sample in samples}) == count
        assert samples[-1].name == dataset[-1].name
        with pytest.raises(IndexError):
            dataset[count]


@pytest.mark.parametrize('name', DATASETS)
def test_the_first_sample_holds_what_was_written(opened, name):
    dataset, layout = opened(name)
    for attribute, value in layout.truth.items():
        np.testing.assert_allclose(getattr(dataset[0], attribute), value, atol=1e-5,
                                   err_msg=attribute)


@pytest.mark.parametrize('name', STEREO_LAYOUTS)
def test_disparity_is_positive_explains_the_pair_and_is_nan_where_unknown(opened, name):
    dataset, layout = opened(name)
    for sample in dataset:
        unknown = np.zeros(sample.disparity.shape, bool)
        if layout.unknown:
            unknown[UNKNOWN] = True
        np.testing.assert_array_equal(np.isnan(sample.disparity), unknown)
        np.testing.assert_allclose(sample.disparity[~unknown], DISPARITY, atol=1e-4)

        photo = [photometric(sample.left, warp_by_disparity(sample.right, sign * sample.disparity))
                 for sign in (1, 0, -1)]
        assert photo[0] < 4 and min(photo[1:]) > 20   # JPEG costs up to 3 grey values


@pytest.mark.parametrize('name', FLOW_LAYOUTS)
def test_flow_points_from_the_first_image_to_the_second_and_is_nan_where_unknown(opened, name):
    dataset, layout = opened(name)
    for sample in dataset:
        backward = layout.times and layout.times[1] in sample.name
        unknown = np.zeros(sample.flow.shape[:2], bool)
        if layout.unknown:
            unknown[UNKNOWN] = True
        np.testing.assert_array_equal(np.isnan(sample.flow), unknown[..., None].repeat(2, -1))
        np.testing.assert_allclose(sample.flow[~unknown] * (-1 if backward else 1),
                                   np.broadcast_to(FLOW, sample.flow[~unknown].shape), atol=1e-2)

        photo = [photometric(sample.image1, warp_image(sample.image2, sign * sample.flow))
                 for sign in (1, 0, -1)]
        assert photo[0] < 1 and min(photo[1:]) > 20


def photometric(image, warped):
    return np.nanmean(np.abs(image - warped))


@pytest.mark.parametrize('name', DATASETS)
def test_calibration_is_read_and_a_crop_keeps_the_rays_of_its_pixels(opened, name):
    dataset, layout = opened(name)
    sample = dataset[0]
    if layout.rig is None:
        assert getattr(sample, 'rig', None) is None
        return
    focal, baseline = layout.rig
    camera = rig_or_camera(sample)
    if focal is not None:
        assert camera.fx == pytest.approx(focal, abs=1e-3)
    if baseline is not None:
        assert sample.rig.baseline == pytest.approx(baseline)

    crop = sample.cropped(5, 3, 40, 32)

    cropped = rig_or_camera(crop)
    assert cropped.size_hw == (32, 40)
    np.testing.assert_allclose(cropped.rays(), camera.rays()[3:35, 5:45], atol=1e-12)
    if isinstance(sample, (StereoSample, FrameSample)):
        assert crop.rig.doffs == pytest.approx(sample.rig.doffs)
        np.testing.assert_array_equal(crop.right, sample.right[3:35, 5:45])
    if isinstance(sample, DepthSample):
        np.testing.assert_array_equal(crop.depth, sample.depth[3:35, 5:45])


BREAKABLE = [name for name in DATASETS if name != 'nyuv2']   # which is one file


@pytest.mark.parametrize('name', BREAKABLE)
def test_a_missing_file_is_told_with_path_and_cure_or_skipped_and_counted(tmp_path, name):
    _need_packages(name)
    layout = LAYOUTS[name](tmp_path)
    (tmp_path / layout.breakable).unlink()
    _check_damage(tmp_path, name, layout)


@pytest.mark.parametrize('name', BREAKABLE)
@pytest.mark.parametrize('kept', [0.02, 0.6])
def test_a_torn_file_is_told_with_path_and_cure_or_skipped_and_counted(tmp_path, name, kept):
    _need_packages(name)
    layout = LAYOUTS[name](tmp_path)
    path = tmp_path / layout.breakable
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    _check_damage(tmp_path, name, layout)


def _check_damage(root, name, layout):
    split, count = next(iter(layout.counts.items()))
    with pytest.raises(DatasetError, match='unpack|render|write') as error:
        list(DATASETS[name](root, split, **layout.options))
    assert layout.breakable in str(error.value)

    dataset = DATASETS[name](root, split, **layout.options, skip_damaged=True)
    names = [sample.name for sample in dataset]

    assert len(dataset) == count
    assert len(names) == count - layout.needing and len(set(names)) == len(names)
    assert len(dataset.skipped) == layout.needing
    assert all(layout.breakable in reason for reason in dataset.skipped.values())
    assert all(dataset[index].name in names for index in range(count))


@pytest.mark.parametrize('name', DATASETS)
def test_an_unknown_split_is_told_with_the_known_ones(written, name):
    root, layout = written(name)

    with pytest.raises(DatasetError, match="no split 'nothing'; known: .*"
                                           + next(iter(layout.counts))):
        DATASETS[name](root, 'nothing', **layout.options)


@pytest.mark.parametrize('name', DATASETS)
@pytest.mark.parametrize('exists', [True, False])
def test_an_empty_or_missing_folder_is_told_with_the_cure(tmp_path, name, exists):
    root = tmp_path / 'here'
    if exists:
        root.mkdir()

    with pytest.raises(DatasetError, match=r'here.*(unpack|render|write|put)'):
        DATASETS[name](root)


def test_crops_out_of_the_image_are_refused(opened):
    sample = opened('kitti_2015_flow')[0][0]
    for window in ((-1, 0, 8, 8), (60, 0, 8, 8), (0, 0, 8, 0), (0, 44, 8, 8)):
        with pytest.raises(DatasetError, match='reaches out of the 64x48 image'):
            sample.cropped(*window)


@pytest.mark.parametrize('name, field', [('spring_stereo', 'disparity'), ('spring_flow', 'flow')])
def test_spring_keeps_its_double_truth_where_asked_in_pixels_of_the_image(written, name, field):
    root, _ = written(name)
    sample = DATASETS[name](root, full_truth=True)[0]

    assert sample.truth_scale == 2 and getattr(sample, field).shape[:2] == (96, 128)
    small = replace(sample, **{field: getattr(sample, field)[::2, ::2]}, truth_scale=1)
    np.testing.assert_array_equal(getattr(small, field), getattr(DATASETS[name](root)[0], field))
    crop = sample.cropped(5, 3, 40, 32)
    np.testing.assert_array_equal(getattr(crop, field), getattr(sample, field)[6:70, 10:90])


def test_all_samples_damaged_is_an_error_even_where_damage_may_be_skipped(tmp_path):
    LAYOUTS['crestereo'](tmp_path)
    for path in tmp_path.rglob('*_right.jpg'):
        path.unlink()
    dataset = DATASETS['crestereo'](tmp_path, skip_damaged=True)

    assert list(dataset) == []
    with pytest.raises(DatasetError, match='none of 4 samples can be read; the first: .*right'):
        dataset[2]


def test_habitat_pairs_come_from_the_saved_list_where_it_is(tmp_path):
    LAYOUTS['habitat_pairs'](tmp_path)
    (tmp_path / 'pairs.txt').write_text('hm3d/train/00001-abc/00000001\n')

    dataset = DATASETS['habitat_pairs'](tmp_path)

    assert [sample.name for sample in dataset] == ['hm3d/train/00001-abc/00000001']


@pytest.mark.parametrize('name, pattern', [
    ('sintel_flow', 'training/clean/alley_1/frame_0002.png'),
    ('spring_flow', 'train/0001/frame_left/frame_left_0001.png'),
    ('flying_things_flow', 'FlyingThings3D/frames_cleanpass/TRAIN/A/0000/left/0007.png'),
    ('tartanair_flow', 'office/Easy/P000/image_left/000001_left.png'),
    ('kitti_odometry', 'sequences/00/image_2/000000.png')])
def test_a_lost_frame_never_pairs_its_neighbours_nor_moves_their_truth(tmp_path, name, pattern):
    _need_packages(name)
    LAYOUTS[name](tmp_path)
    whole = {sample.name: sample for sample in DATASETS[name](tmp_path)}
    (tmp_path / pattern).unlink()

    with pytest.raises(DatasetError, match=pattern):
        list(DATASETS[name](tmp_path))
    for sample in DATASETS[name](tmp_path, skip_damaged=True):
        before = whole[sample.name]
        for attribute in vars(before):
            np.testing.assert_array_equal(getattr(sample, attribute), getattr(before, attribute))
