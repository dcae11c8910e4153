# SPDX-License-Identifier: Apache-2.0
"""Rendered pairs show the same scene from different places, and enough of it in both."""
from crossview_ros.data.synthetic import dataset
from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.dataset import SHARD, ShardDataset, write_shards
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.scene import rotation_from_vector
from crossview_ros.data.synthetic.textures import make_atlas
from crossview_ros.data.synthetic.view_pairs import covisible_share, PairConfig, render_pairs
import numpy as np
import pytest
import torch

SIZE_HW = 48, 64


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(8, 0, 'train')


@pytest.fixture
def draw():
    return Draw(torch.Generator().manual_seed(4))


def test_pairs_show_enough_of_the_same_from_different_places(atlas, draw):
    pairs = render_pairs(8, SIZE_HW, PairConfig(), atlas, draw)
    assert pairs['target'].shape == pairs['reference'].shape == (8, 3, *SIZE_HW)
    assert (pairs['covisible'] >= 0.5).all()
    # a walk of no length would show all of the target
    assert (pairs['covisible'] < 0.97).float().mean() > 0.7
    difference = (pairs['target'] - pairs['reference']).abs().mean((1, 2, 3))
    assert (difference > 0.01).all()


def test_the_wanted_share_is_kept(atlas, draw):
    config = PairConfig(motion_range=(0.3, 0.6), covisible_share=0.8)
    assert (render_pairs(4, SIZE_HW, config, atlas, draw)['covisible'] >= 0.8).all()


def two_views(atlas, draw, T):
    scenes, view = sample_scenes(2, SIZE_HW, SceneConfig(), len(atlas), draw)
    still = torch.zeros(2)
    cameras = (Cameras.centred(SIZE_HW, view.focal, torch.eye(4).repeat(2, 1, 1), still),
               Cameras.centred(SIZE_HW, view.focal, T, still))
    return scenes, tuple(render(scenes, atlas, c, smooth=False) for c in cameras), cameras


def test_one_place_sees_all_and_the_opposite_direction_sees_nothing(atlas, draw):
    T = torch.eye(4).repeat(2, 1, 1)
    assert covisible_share(*two_views(atlas, draw, T)).tolist() == [1, 1]
    T[:, :3, :3] = rotation_from_vector(torch.tensor([[0.0, torch.pi, 0.0]]))
    assert covisible_share(*two_views(atlas, draw, T)).tolist() == [0, 0]


def test_co_visibility_agrees_with_the_depth_maps(atlas, draw):
    T = torch.eye(4).repeat(2, 1, 1)
    T[:, 0, 3] = torch.tensor([0.3, 0.8])
    T[:, :3, :3] = rotation_from_vector(torch.tensor([[0.0, -0.1, 0.05], [0.1, 0.0, 0.0]]))
    scenes, views, cameras = two_views(atlas, draw, T)
    share = covisible_share(scenes, views, cameras)
    for i in range(2):
        both = [seen_share(views, cameras, i, a, 1 - a) for a in (0, 1)]
        # the nearest pixel's depth stands for the ray: borders differ
        assert share[i].item() == pytest.approx(min(both), abs=0.05)


def seen_share(views, cameras, i, a, b):
    """Project the pixels of view a into view b and compare depths there, one by one."""
    T = torch.linalg.inv(cameras[b].T_world_camera[i]) @ cameras[a].T_world_camera[i]
    (cx, cy), f = cameras[a].centre[i].tolist(), cameras[a].focal[i].item()
    seen = 0
    for v in range(SIZE_HW[0]):
        for u in range(SIZE_HW[1]):
            z = views[a].depth[i, v, u]
            x, y, depth = (T[:3, :3] @ (z * torch.tensor([(u - cx) / f, (v - cy) / f, 1]))
                           + T[:3, 3]).tolist()
            if depth <= 0.01:
                continue
            col, row = round(x / depth * f + cx), round(y / depth * f + cy)
            if 0 <= row < SIZE_HW[0] and 0 <= col < SIZE_HW[1]:
                seen += abs(views[b].depth[i, row, col].item() / depth - 1) < 0.05
    return seen / (SIZE_HW[0] * SIZE_HW[1])


def test_pairs_lie_in_shards_and_repeat_with_their_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, 'ATLAS_SIZE', 8)
    for name in ('one', 'two'):
        write_shards(tmp_path / name, SHARD, (32, 32), seed=3, config=PairConfig())
    one, two = (ShardDataset(tmp_path / name) for name in ('one', 'two'))
    assert set(one[0]) == {'target', 'reference', 'covisible'}
    assert one[0]['target'].dtype == np.uint8 and one[0]['target'].shape == (3, 32, 32)
    assert all(one[i]['covisible'] >= 0.5 for i in range(SHARD))
    assert np.array_equal(one[5]['reference'], two[5]['reference'])
