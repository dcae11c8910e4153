# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.dataset import render_records
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.textures import make_atlas
from crossview_ros.data.synthetic.truth import motion_field
import cv2
import numpy as np
import pytest
import torch

SIZE_HW = 96, 128
BATCH = 4


@pytest.fixture(scope='module')
def atlas():
    return make_atlas(24, 0)


@pytest.fixture(scope='module')
def scene(atlas):
    """Return scenes, cameras (previous, left, right), their views, and both motion fields."""
    draw = Draw(torch.Generator().manual_seed(11))
    scenes, view = sample_scenes(BATCH, SIZE_HW, SceneConfig(), len(atlas), draw)
    T_left = torch.eye(4).repeat(BATCH, 1, 1)
    T_right = T_left.clone()
    T_right[:, 0, 3] = view.baseline
    poses = {'previous': (view.T_world_previous, 0.0), 'left': (T_left, 1.0),
             'right': (T_right, 1.0)}
    cameras = {name: Cameras.centred(SIZE_HW, view.focal, T, torch.full((BATCH,), time_s))
               for name, (T, time_s) in poses.items()}
    views = {name: render(scenes, atlas, camera) for name, camera in cameras.items()}
    fields = {pair: motion_field(scenes, views[pair[0]], cameras[pair[0]], cameras[pair[1]])
              for pair in (('left', 'right'), ('previous', 'left'))}
    return scenes, cameras, views, fields


def rodrigues(vector):
    return cv2.Rodrigues(np.asarray(vector, np.float64))[0]


def reproject(scenes, camera, view, other, b):
    """Move each hit point with its object and project it, all in float64: (H, W, 2), depth."""
    rows, cols = SIZE_HW
    v, u = np.mgrid[:rows, :cols].astype(np.float64)
    focal = float(camera.focal[b])
    cx, cy = camera.centre[b].double().numpy()
    depth = view.depth[b].double().numpy()
    local = np.stack(((u - cx) / focal * depth, (v - cy) / focal * depth, depth), -1)
    T = camera.T_world_camera[b].double().numpy()
    world = local @ T[:3, :3].T + T[:3, 3]
    index = view.primitive[b].numpy()
    for p in np.unique(index):
        velocity, spin, centre = (getattr(scenes, name)[b, p].double().numpy()
                                  for name in ('velocity', 'spin', 'centre'))
        t0, t1 = float(camera.time_s[b]), float(other.time_s[b])
        turn = rodrigues(spin * t1) @ rodrigues(spin * t0).T
        mask = index == p
        world[mask] = (world[mask] - centre - velocity * t0) @ turn.T + centre + velocity * t1
    T = other.T_world_camera[b].double().numpy()
    seen = (world - T[:3, 3]) @ T[:3, :3]
    return seen[..., :2] / seen[..., 2:] * focal + (cx, cy), seen[..., 2]


@pytest.mark.parametrize('pair', [('left', 'right'), ('previous', 'left')])
def test_motion_is_the_reprojection_of_the_points_that_were_hit(scene, pair):
    scenes, cameras, views, fields = scene
    flow = fields[pair][0].permute(0, 2, 3, 1).numpy()
    v, u = np.mgrid[:SIZE_HW[0], :SIZE_HW[1]]
    for b in range(BATCH):
        uv, depth = reproject(scenes, cameras[pair[0]], views[pair[0]], cameras[pair[1]], b)
        known = depth > 0.02
        error = np.abs(uv - np.stack((u, v), -1) - flow[b])[known]
        assert known.mean() > 0.99
        assert error.max() < 1e-3


def test_scenes_contain_moving_things_that_are_seen(scene):
    scenes, _, views, _ = scene
    moving = (scenes.velocity.abs().sum(-1) > 0).gather(1, views['previous'].primitive.flatten(1))

    assert 0.02 < moving.float().mean() < 0.8


def test_disparity_is_focal_times_baseline_over_depth(scene):
    _, cameras, views, fields = scene
    baseline = cameras['right'].T_world_camera[:, 0, 3]
    expected = (cameras['left'].focal * baseline)[:, None, None] / views['left'].depth

    flow = fields['left', 'right'][0]

    torch.testing.assert_close(-flow[:, 0], expected, atol=1e-3, rtol=0)
    # rectified: matches lie on the same row
    assert flow[:, 1].abs().max() < 1e-3


def sample_at(image, uv):
    """Look up (H, W, C) at uv (H, W, 2), bilinearly."""
    return cv2.remap(image, uv.astype(np.float32), None, cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture(scope='module')
def records(atlas):
    draw = Draw(torch.Generator().manual_seed(21))
    config = SceneConfig()
    parts = [render_records(BATCH, (192, 256), config, atlas, draw) for _ in range(2)]
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


@pytest.mark.parametrize('first, second', [('left', 'right'), ('previous', 'left')])
def test_warping_by_the_truth_reproduces_the_other_view(records, first, second):
    flow = records['flow']
    if first == 'left':
        flow = torch.cat((-records['disparity'], torch.zeros_like(records['disparity'])), 1)
    seen = ~records[f'{first}_occluded'][:, 0] & flow.isfinite().all(1)
    v, u = np.mgrid[:192, :256]
    errors = {1: [], 0: [], -1: []}
    for b in range(len(flow)):
        image1, image2 = (records[name][b].permute(1, 2, 0).numpy() for name in (first, second))
        for sign, values in errors.items():
            shift = np.nan_to_num(sign * flow[b].permute(1, 2, 0).numpy())
            difference = np.abs(sample_at(image2, np.stack((u, v), -1) + shift) - image1)
            values.append(difference.mean(-1)[seen[b].numpy()])
    warped, unwarped, negated = (np.concatenate(errors[sign]).mean() for sign in (1, 0, -1))
    assert seen.float().mean() > 0.7
    assert warped < 0.02
    assert warped < unwarped / 5 < negated / 5


@pytest.mark.parametrize('pair', [('left', 'right'), ('previous', 'left')])
def test_points_said_to_be_seen_have_the_depth_that_is_seen_there(scene, pair):
    scenes, cameras, views, fields = scene
    for b in range(BATCH):
        uv, depth = reproject(scenes, cameras[pair[0]], views[pair[0]], cameras[pair[1]], b)
        nearest = np.rint(uv)
        inside = ((nearest >= 0) & (nearest < SIZE_HW[::-1])).all(-1)
        u, v = (np.clip(nearest[..., i], 0, SIZE_HW[1 - i] - 1).astype(int) for i in (0, 1))
        rendered = views[pair[1]].depth[b].numpy()[v, u]
        hidden = fields[pair][1][b, 0].numpy()
        # at borders and on slopes the nearest pixel's own depth is another one
        same = np.abs(rendered / depth - 1) < 0.05
        assert same[~hidden & inside].mean() > 0.95
        assert (rendered < depth)[hidden & inside].mean() > 0.75
        assert hidden[(np.abs(uv - np.array(SIZE_HW[::-1]) / 2) > np.array(SIZE_HW[::-1])).any(-1)
                      ].all()
