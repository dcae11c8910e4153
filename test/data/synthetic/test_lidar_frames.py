# SPDX-License-Identifier: Apache-2.0
"""Rendered frames: the cloud lies on what the camera sees, and knows its colour."""
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.lidar_frames import LidarFrameConfig, render_lidar_frames
from crossview_ros.data.synthetic.textures import make_atlas
import pytest
import torch

SIZE_HW = (48, 64)
CONFIG = LidarFrameConfig(rings=24, azimuth_steps=32)


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(8, 0, 'train')


@pytest.fixture(scope='module')
def frames(atlas):
    return render(atlas, 0)


def render(atlas, seed, config=CONFIG):
    with torch.inference_mode():
        return render_lidar_frames(4, SIZE_HW, config, atlas,
                                   Draw(torch.Generator().manual_seed(seed)))


def in_camera(frames, row):
    """Return the points of a frame in optical axes, their pixels and their reflectance."""
    points = frames['points'][row]
    points = points[points.isfinite().all(1)]
    T = frames['T_camera_lidar'][row]
    xyz = points[:, :3] @ T[:3, :3].T + T[:3, 3]
    middle = torch.tensor([(SIZE_HW[1] - 1) / 2, (SIZE_HW[0] - 1) / 2])
    return xyz, xyz[:, :2] / xyz[:, 2:] * frames['focal'][row] + middle, points[:, 3]


def test_points_lie_on_the_surfaces_that_the_left_image_shows(frames):
    for row in range(4):
        xyz, pixels, _ = in_camera(frames, row)
        assert len(xyz) > 150 and bool((xyz[:, 2] > 0).all())
        u, v = pixels.round().long().unbind(1)
        # the view reaches half a pixel beyond the outer pixels' centres
        assert int(u.min()) >= -1 and int(u.max()) <= SIZE_HW[1]
        depth = frames['depth'][row][v.clamp(0, SIZE_HW[0] - 1), u.clamp(0, SIZE_HW[1] - 1)]
        # at the borders of things, a beam and a pixel meet different surfaces
        assert float(((xyz[:, 2] - depth).abs() < 0.05 * depth).float().mean()) > 0.8


def test_reflectance_goes_with_the_brightness_of_the_image(frames):
    for row in range(4):
        _, pixels, reflectance = in_camera(frames, row)
        assert 0 <= float(reflectance.min()) and float(reflectance.max()) <= 1
        u, v = pixels.round().long().unbind(1)
        shown = frames['left'][row].mean(0)[v.clamp(0, SIZE_HW[0] - 1),
                                            u.clamp(0, SIZE_HW[1] - 1)]
        assert float(torch.corrcoef(torch.stack((shown, reflectance)))[0, 1]) > 0.4


def test_the_lidar_stands_near_the_camera_and_looks_where_it_does(frames):
    T = frames['T_camera_lidar']
    rotation = T[:, :3, :3]
    torch.testing.assert_close(rotation @ rotation.transpose(1, 2), torch.eye(3).expand(4, 3, 3),
                               atol=1e-5, rtol=0)
    forward = rotation[:, 2, 0]   # optical z of the LiDAR's x axis
    assert bool((forward > 0.95).all()) and bool((T[:, :3, 3].abs() <= 0.2).all())
    assert float(T[:, :3, 3].std(0).min()) > 0.01


def test_frames_repeat_by_seed_and_noise_is_as_asked(atlas, frames):
    again = render(atlas, 0)
    for name, value in frames.items():
        assert torch.equal(value.nan_to_num(-1), again[name].nan_to_num(-1)), name
    assert not torch.equal(render(atlas, 1)['left'], frames['left'])
    exact = render(atlas, 0, LidarFrameConfig(rings=24, azimuth_steps=32, range_noise=0.0,
                                              lost_share=0.0))
    near = exact['points'][..., :3].norm(dim=2), frames['points'][..., :3].norm(dim=2)
    both = near[0].isfinite() & near[1].isfinite()
    error = (near[1] / near[0] - 1)[both]
    assert float(error.std()) == pytest.approx(0.002, rel=0.1)
    lost = near[0].isfinite() & ~near[1].isfinite()
    assert 0.02 < float(lost.sum() / near[0].isfinite().sum()) < 0.09


def test_beams_that_fill_no_group_are_refused():
    with pytest.raises(ValueError, match='multiple of 16'):
        LidarFrameConfig(azimuth_steps=40)
