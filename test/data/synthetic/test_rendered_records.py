# SPDX-License-Identifier: Apache-2.0
from concurrent.futures import ThreadPoolExecutor

from crossview_ros.data.synthetic import dataset
from crossview_ros.data.synthetic.dataset import SHARD, ShardDataset, write_shards
from crossview_ros.errors import DatasetError
import numpy as np
import pytest
import torch

SIZE_HW = 32, 48


@pytest.fixture(scope='module')
def small_atlas():
    """Draw few textures: quick to make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, 'ATLAS_SIZE', 8)
        yield


@pytest.fixture(scope='module')
def folder(tmp_path_factory, small_atlas):
    folder = tmp_path_factory.mktemp('records')
    write_shards(folder, SHARD + 1, SIZE_HW, seed=1)
    return folder


def test_records_hold_images_fields_and_masks(folder):
    records = ShardDataset(folder)

    record = records[SHARD]

    assert len(records) == 2 * SHARD           # whole shards
    assert {name: (array.dtype, array.shape) for name, array in record.items()} == {
        'previous': (np.uint8, (3, 32, 48)), 'left': (np.uint8, (3, 32, 48)),
        'right': (np.uint8, (3, 32, 48)), 'disparity': (np.float16, (1, 32, 48)),
        'flow': (np.float16, (2, 32, 48)), 'left_occluded': (np.bool_, (1, 32, 48)),
        'previous_occluded': (np.bool_, (1, 32, 48))}


def test_numbers_beyond_the_end_are_refused(folder):
    with pytest.raises(IndexError):
        ShardDataset(folder)[2 * SHARD]


def test_samples_carry_the_camera_of_their_record(folder):
    sample = ShardDataset(folder).sample(3)

    camera = sample.rig.left
    assert camera.size_hw == SIZE_HW
    assert (camera.cx, camera.cy) == (23.5, 15.5)
    # a still point far away: flow from the rotation alone is the homography of T_prev_cur
    assert np.linalg.det(sample.T_prev_cur[:3, :3]) == pytest.approx(1, abs=1e-5)


def test_motion_of_still_pixels_follows_from_the_pose_of_the_sample(folder):
    records = ShardDataset(folder)
    medians = []
    for i in range(12):
        sample = records.sample(i)
        camera, T_cur_prev = sample.rig.left, np.linalg.inv(sample.T_prev_cur)
        v, u = np.mgrid[:SIZE_HW[0], :SIZE_HW[1]]
        rays = np.stack(((u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy,
                         np.ones(SIZE_HW)), -1)
        # depth on the previous grid is not stored: the motion must lie on the epipolar line
        start = rays @ T_cur_prev[:3, :3].T
        end = np.stack(((u + sample.flow[..., 0] - camera.cx) / camera.fx,
                        (v + sample.flow[..., 1] - camera.cy) / camera.fy,
                        np.ones(SIZE_HW)), -1)
        normal = np.cross(start, T_cur_prev[:3, 3])
        aside = (normal * end).sum(-1) / np.hypot(normal[..., 0], normal[..., 1]) * camera.fx
        medians.append(np.nanmedian(np.abs(aside)))
    # most pixels are still; float16 keeps flow to 0.03 px
    assert np.median(medians) < 0.05


def test_rendering_continues_where_it_was_stopped(tmp_path, small_atlas, folder):
    done = []
    write_shards(tmp_path, SHARD, SIZE_HW, seed=1)
    write_shards(tmp_path, 2 * SHARD, SIZE_HW, seed=1, progress=lambda *n: done.append(n))

    assert done == [(2 * SHARD, 2 * SHARD)]
    for name in ('left', 'flow'):
        np.testing.assert_array_equal(ShardDataset(tmp_path)[SHARD + 5][name],
                                      ShardDataset(folder)[SHARD + 5][name])


def test_train_and_holdout_records_differ(tmp_path, small_atlas, folder):
    write_shards(tmp_path, 1, SIZE_HW, seed=1, split='holdout')

    assert not np.array_equal(ShardDataset(tmp_path)[0]['disparity'],
                              ShardDataset(folder)[0]['disparity'])


def test_folders_of_other_settings_are_refused(folder):
    with pytest.raises(DatasetError, match='rendered with other settings'):
        write_shards(folder, 1, SIZE_HW, seed=2)


def test_damaged_shards_are_named(tmp_path, small_atlas):
    write_shards(tmp_path, 1, SIZE_HW, seed=1)
    path = tmp_path / '00000.npz'
    path.write_bytes(path.read_bytes()[:1000])

    with pytest.raises(DatasetError, match='00000.npz: damaged shard'):
        ShardDataset(tmp_path)[0]


def test_empty_folders_are_refused(tmp_path):
    with pytest.raises(DatasetError, match='no rendered records'):
        ShardDataset(tmp_path)


def test_disparity_and_flow_cover_the_ranges_that_training_needs():
    from crossview_ros.data.synthetic.draw import Draw
    from crossview_ros.data.synthetic.random_scene import SceneConfig
    from crossview_ros.data.synthetic.textures import make_atlas
    draw = Draw(torch.Generator().manual_seed(4))
    record = dataset.render_records(32, (60, 80), SceneConfig(), make_atlas(4, 0), draw)

    share = record['disparity'].flatten() / 80 * 320           # as if 320 px wide
    flow = record['flow'].square().sum(1).sqrt().flatten() / 80 * 256
    low, middle, high = share.quantile(torch.tensor([0.02, 0.5, 0.98])).tolist()
    assert low < 3 and 4 < middle < 16 and 30 < high < 70
    # half of the scenes are slow
    assert 1.5 < flow.nanmedian() < 8
    assert 0.2 < (flow < 2).float().mean() < 0.6
    assert 18 < flow[flow.isfinite()].quantile(0.98) < 70


@pytest.mark.parametrize('wanted, views', [
    (('left', 'right', 'disparity', 'left_occluded'), 2), (('previous_occluded', 'flow'), 2),
    (('previous', 'left', 'T_left_previous'), 2), (('left', 'disparity', 'focal', 'baseline'), 1)])
def test_what_is_not_wanted_is_not_rendered_and_changes_nothing(monkeypatch, wanted, views):
    from crossview_ros.data.synthetic.draw import Draw
    from crossview_ros.data.synthetic.random_scene import SceneConfig
    from crossview_ros.data.synthetic.textures import make_atlas
    atlas, rendered = make_atlas(4, 0), []
    render = dataset.render
    monkeypatch.setattr(dataset, 'render', lambda *args: rendered.append(args) or render(*args))

    def record(*more):
        draw = Draw(torch.Generator().manual_seed(4))
        return dataset.render_records(2, (32, 48), SceneConfig(), atlas, draw, *more)
    whole = record()
    rendered.clear()
    part = record(wanted)

    assert tuple(part) == wanted and len(rendered) == views
    for name, value in part.items():
        assert torch.equal(value.nan_to_num(-1), whole[name].nan_to_num(-1)), name


def test_two_that_need_the_same_records_render_each_once(tmp_path, small_atlas, monkeypatch):
    written, write = [], dataset._write_shard

    def counting(number, **settings):
        written.append(number)
        write(number, **settings)
    monkeypatch.setattr(dataset, '_write_shard', counting)
    with ThreadPoolExecutor(2) as pool:   # the lock is of a file that each has opened
        for task in [pool.submit(write_shards, tmp_path, 2 * SHARD, SIZE_HW, 1)
                     for _ in range(2)]:
            task.result()
    assert sorted(written) == [0, 1]


def test_several_processes_render_the_same_records(tmp_path):
    write_shards(tmp_path / 'one', 2 * SHARD, (16, 24), seed=3)
    write_shards(tmp_path / 'two', 2 * SHARD, (16, 24), seed=3, jobs=2)
    one, two = ShardDataset(tmp_path / 'one'), ShardDataset(tmp_path / 'two')
    for index in (0, SHARD, 2 * SHARD - 1):
        for name, field in one[index].items():
            np.testing.assert_array_equal(field, two[index][name])
