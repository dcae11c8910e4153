# SPDX-License-Identifier: Apache-2.0
"""Promises of glossy surfaces."""
from dataclasses import replace

from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.scene import Scenes
from crossview_ros.data.synthetic.textures import make_atlas
import pytest
import torch


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(4, 0, 'train')


def wall(gloss, light=(0.0, -50.0, 0.0), ambient=1.0):
    """Return a box whose front face fills the view, in a room of 100 m."""
    return Scenes(
        (1, 0, 0), torch.tensor([[(0.0, 0, 11), (0.0, 0, 0)]]), torch.eye(3).repeat(1, 2, 1, 1),
        torch.tensor([[(50.0, 50, 1), (100.0, 100, 100)]]), torch.zeros(1, 2, 3),
        torch.zeros(1, 2, 3), torch.tensor([[[1] * 6, [2] * 6]]), torch.full((1, 2), 5.0),
        torch.zeros(1, 2, 2), torch.tensor([light]), torch.tensor([ambient]), torch.zeros(1),
        None if gloss is None else torch.tensor([[gloss, 0.0]]))


def seen(scenes, atlas, shift=0.0):
    T = torch.eye(4)[None].clone()
    T[:, 0, 3] = shift
    cameras = Cameras.centred((32, 48), torch.tensor([40.0]), T, torch.zeros(1))
    return render(scenes, atlas, cameras, smooth=False).image


def test_matt_surfaces_look_as_without_gloss(atlas):
    torch.testing.assert_close(seen(wall(0.0), atlas), seen(wall(None), atlas))


def test_a_perfect_mirror_shows_the_surroundings_and_nothing_of_itself(atlas):
    mirror = wall(1.0)
    other = replace(mirror, texture=torch.tensor([[[3] * 6, [2] * 6]]))
    torch.testing.assert_close(seen(mirror, atlas), seen(other, atlas))
    assert (seen(mirror, atlas) - seen(wall(None), atlas)).abs().max() > 0.05


def test_what_is_mirrored_does_not_move_with_the_surface(atlas):
    # directions, and with them a far surrounding, are the same from both cameras
    torch.testing.assert_close(seen(wall(1.0), atlas), seen(wall(1.0), atlas, shift=1.0))
    assert (seen(wall(None), atlas) - seen(wall(None), atlas, shift=1.0)).abs().max() > 0.05


def test_the_highlight_is_where_the_lamp_is_mirrored(atlas):
    # wall at z = 10, lamp at (5, 0, 0), camera at 0: the mirrored lamp is seen at x = 2.5
    glossy, matt = (seen(wall(gloss, (5.0, 0.0, 0.0)), atlas) for gloss in (0.4, 1e-6))
    brightest = (glossy - matt)[0].mean(0).flatten().argmax().item()
    row, col = divmod(brightest, 48)
    assert abs(col - (47 / 2 + 40 * 0.25)) <= 2
    assert abs(row - 31 / 2) <= 2


def test_a_share_of_the_surfaces_is_glossy():
    config = replace(SceneConfig(), gloss_share=0.3)
    draw = Draw(torch.Generator().manual_seed(0))
    gloss = sample_scenes(50, (32, 48), config, 8, draw)[0].gloss
    assert 0.25 < (gloss > 0).float().mean() < 0.35
    assert gloss.max() <= 0.5
    plain, _ = sample_scenes(50, (32, 48), SceneConfig(), 8,
                             Draw(torch.Generator().manual_seed(0)))
    assert plain.gloss is None
