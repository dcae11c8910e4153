# SPDX-License-Identifier: Apache-2.0
"""Promises of the image look-up: the numbers of the reference, and where a point is found."""
from crossview_ros.networks.image_sampling import project_points, sample_map, sampling_grid
import numpy as np
import pytest
import simipu_golden as golden
import torch


def look_up(case, lidar_to_image, dtype=torch.float32):
    transform = golden.image_transform(case['scale_factor'], bool(case['flip']),
                                       int(case['img_shape'][1]), case['crop_offset'])
    pixels = project_points(torch.from_numpy(case['points'])[None].to(dtype),
                            lidar_to_image[None, :3].to(dtype), transform[None].to(dtype))
    return sampling_grid(pixels, torch.from_numpy(case['pad_shape'])[None])


def test_projected_and_sampled_features_are_those_of_the_reference(shared_dir):
    data = golden.load(shared_dir, 'a_projection_sampling')
    for case in golden.cases(data):
        grid = look_up(case, golden.tensor(data, 'lidar2img'))
        out = sample_map(torch.from_numpy(case['feat'])[None], grid)[0]
        inside = case['inside']
        # README: geometry 1e-4, sampled features 1e-3; outside, the grid may be anything large
        np.testing.assert_allclose(grid[0][inside], case['grid'][inside], atol=1e-4)
        np.testing.assert_allclose(out, case['out'], atol=1e-3)


def test_pixels_of_the_original_image_are_those_of_the_reference(shared_dir):
    data = golden.load(shared_dir, 'a_projection_sampling')
    identity = torch.eye(2, 3, dtype=torch.float64)[None]
    for case in golden.cases(data):
        pixels = project_points(torch.from_numpy(case['points'])[None].double(),
                                golden.tensor(data, 'lidar2img')[None, :3].double(), identity)[0]
        np.testing.assert_allclose(pixels, case['uv_orig'], rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize('device', ['cpu', pytest.param('cuda', marks=pytest.mark.gpu)])
def test_a_mirrored_image_gives_a_point_the_mirrored_pixel(device):
    camera = torch.tensor([[[50.0, 0, 32, 0], [0, 50, 24, 0], [0, 0, 1, 0]]], device=device)
    point = torch.tensor([[[0.2, -0.1, 2.0]]], device=device)
    plain = golden.image_transform((1, 1), False, 64)[None].to(device)
    mirrored = golden.image_transform((1, 1), True, 64)[None].to(device)
    # u = 50 * 0.2 / 2 + 32, v = 50 * -0.1 / 2 + 24
    assert project_points(point, camera, plain)[0, 0].tolist() == pytest.approx([37, 21.5])
    assert project_points(point, camera, mirrored)[0, 0].tolist() == pytest.approx([27, 21.5])


def test_a_point_behind_the_camera_gets_zeros():
    camera = torch.tensor([[[50.0, 0, 32, 0], [0, 50, 24, 0], [0, 0, 1, 0]]])
    point = torch.tensor([[[0.2, -0.1, -2.0]]])
    pixels = project_points(point, camera, torch.eye(2, 3)[None])
    grid = sampling_grid(pixels, torch.tensor([48, 64]))
    assert not sample_map(torch.ones(1, 3, 6, 8), grid).any()
