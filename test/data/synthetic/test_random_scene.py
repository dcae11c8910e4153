# SPDX-License-Identifier: Apache-2.0
"""Promises of random scenes: what a room of habits keeps to, and that others stay as drawn."""
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import (
    RoomSceneConfig, sample_scenes, SceneConfig)
import pytest
import torch

BATCH = 16


def draw_scenes(config):
    return sample_scenes(BATCH, (48, 64), config, 4, Draw(torch.Generator().manual_seed(3)))


def test_a_room_of_no_habits_is_drawn_like_any_other():
    ours, plain = (draw_scenes(config) for config in (RoomSceneConfig(), SceneConfig()))
    for field in ('centre', 'rotation', 'half_size', 'texture'):
        assert torch.equal(getattr(ours[0], field), getattr(plain[0], field))
    assert torch.equal(ours[1].baseline, plain[1].baseline)


def test_all_things_stand_on_the_floor_of_a_level_room_below_the_camera():
    scenes, _ = draw_scenes(RoomSceneConfig(
        near_range=(2.0, 2.0), upright_share=1.0, stand_share=1.0, eye_range=(0.6, 0.6),
        tilt_rad=(0.0, 0.3, 0.0)))
    # y points down; the room comes last
    bottom = scenes.centre[..., 1] + scenes.half_size[..., 1]
    # 0.6 times the 2 m of the nearest thing below the camera, at the origin
    torch.testing.assert_close(bottom, torch.full_like(bottom, 1.2), atol=1e-4, rtol=0)


def test_the_room_is_as_long_as_it_is_told():
    scenes, _ = draw_scenes(RoomSceneConfig(near_range=(2.0, 2.0), depth_ratio=8.0,
                                            far_range=(1.5, 1.5)))
    assert scenes.half_size[:, -1, 2].tolist() == pytest.approx([24.0] * BATCH)
