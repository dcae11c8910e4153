# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.lidar import beam_directions, LidarConfig, spinning_lidar
from crossview_ros.data.synthetic.scene import Scenes
from crossview_ros.data.synthetic.textures import make_atlas
import numpy as np
import pytest
import torch

CONFIG = LidarConfig(rings=5, azimuth_steps=40, elevation_range=(-0.4, 0.4))


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(2, 0)


def empty_room(half_size):
    return Scenes(
        (0, 0, 0), torch.zeros(1, 1, 3), torch.eye(3)[None, None],
        torch.tensor([[half_size]]), torch.zeros(1, 1, 3), torch.zeros(1, 1, 3),
        torch.zeros(1, 1, 6, dtype=torch.int64), torch.ones(1, 1), torch.zeros(1, 1, 2),
        torch.tensor([[0.0, 0, 9]]), torch.ones(1), torch.zeros(1))


def test_beams_go_round_from_x_to_y_and_rise_with_the_ring():
    beams = beam_directions(CONFIG).numpy()

    assert beams.shape == (5, 40, 3)
    np.testing.assert_allclose(np.linalg.norm(beams, axis=-1), 1, atol=1e-6)
    np.testing.assert_allclose(beams[2, 0], (1, 0, 0), atol=1e-6)
    np.testing.assert_allclose(beams[2, 10], (0, 1, 0), atol=1e-6)
    np.testing.assert_allclose(np.arcsin(beams[:, 3, 2]), np.linspace(-0.4, 0.4, 5), atol=1e-6)


def test_points_lie_on_the_walls_of_a_room(atlas):
    T = torch.eye(4)[None].clone()
    T[0, :3, 3] = torch.tensor((1.0, -2.0, 0.5))

    scan = spinning_lidar(empty_room((8.0, 6.0, 3.0)), atlas, T, torch.zeros(1), CONFIG)

    world = scan.points + (1.0, -2.0, 0.5)
    gauge = np.abs(world / (8.0, 6.0, 3.0)).max(-1)
    assert len(world) == 200
    np.testing.assert_allclose(gauge, 1, atol=1e-5)
    np.testing.assert_array_equal(scan.ring, np.repeat(np.arange(5), 40))
    assert scan.intensity.min() >= 0 and scan.intensity.max() <= 255


def test_what_is_beyond_the_range_is_left_out(atlas):
    near = LidarConfig(5, 40, (-0.4, 0.4), max_range_m=7.0)

    scan = spinning_lidar(empty_room((8.0, 6.0, 3.0)), atlas, torch.eye(4)[None], torch.zeros(1),
                          near)

    assert 0 < len(scan.points) < 200
    assert np.linalg.norm(scan.points, axis=-1).max() < 7
