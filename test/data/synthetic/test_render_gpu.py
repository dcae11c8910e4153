# SPDX-License-Identifier: Apache-2.0
from crossview_ros.data.synthetic.camera import Cameras, render
from crossview_ros.data.synthetic.dataset import render_records
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.textures import make_atlas
import pytest
import torch

pytestmark = pytest.mark.gpu


def test_gpu_renders_what_the_cpu_renders():
    atlas = make_atlas(8, 0)
    scenes, view = sample_scenes(2, (64, 96), SceneConfig(), len(atlas),
                                 Draw(torch.Generator().manual_seed(1)))

    def look(device):
        cameras = Cameras.centred((64, 96), view.focal.to(device),
                                  view.T_world_previous.to(device),
                                  torch.zeros(2, device=device))
        return render(scenes.to(device), atlas.to(device), cameras)

    cpu, gpu = look('cpu'), look('cuda')

    # rounding may decide otherwise on single pixels at borders
    same = (gpu.depth.cpu() / cpu.depth - 1).abs() < 1e-4
    assert same.float().mean() > 0.999
    assert (gpu.image.cpu() - cpu.image).abs().mean() < 1e-3


def test_records_are_drawn_on_the_generators_device():
    atlas = make_atlas(8, 0).to('cuda')
    draw = Draw(torch.Generator('cuda').manual_seed(1))

    records = render_records(2, (64, 96), SceneConfig(), atlas, draw)

    assert all(value.is_cuda for value in records.values())
    assert records['disparity'].isfinite().all()
