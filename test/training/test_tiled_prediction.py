# SPDX-License-Identifier: Apache-2.0
"""Whole images are validated by windows, with the numbers of the reference."""
from crossview_ros.config import from_dict
from crossview_ros.data.samples import FlowSample, StereoSample
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.tiling import TilingSpec
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.heads import DptHeadConfig, MatchingHeadConfig, Prediction
from crossview_ros.networks.normalisation import Normalisation
from crossview_ros.training.dataset_batches import DatasetBatches
from crossview_ros.training.mixture import Mixture, Part
from crossview_ros.training.panels import panels
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks import TASKS
from crossview_ros.training.tiled_prediction import predict_tiled, tiling
from dpt_folders import GOLDEN, golden_network, load_golden
import numpy as np
import pytest
from textured_pairs import disparity_truth, FLOW, flow_frames, stereo_pair
import torch

BACKBONE = {'enc_embed_dim': 32, 'enc_num_layers': 2, 'enc_num_heads': 2, 'dec_embed_dim': 32,
            'dec_num_layers': 2, 'dec_num_heads': 2}
HEAD = {'hooks': (0, 1, 2, 3), 'layer_dims': (8, 8, 8, 8), 'feature_dim': 16, 'last_dim': 8}


def tiled_config(task='stereo', **data):
    return from_dict(RunConfig, {
        'task': task, 'steps': 1, 'batch_size': 2,
        'model': {'preset': {'stereo': 'crocostereo', 'flow': 'crocoflow'}.get(task, task),
                  'backbone': BACKBONE, 'head': HEAD},
        'data': {'source': 'datasets', 'root': '.', 'mixture': [{'name': 'eth3d'}],
                 'validation': [{'name': 'eth3d'}], 'crop_hw': (32, 64), 'workers': 1,
                 'validation_mode': 'tiled', **data}}, 'test')


def batches_of(config, *samples):
    mixture = Mixture([Part(samples, range(len(samples)))])
    return DatasetBatches(Mixture([Part(samples, range(len(samples)), 2)]), mixture, config,
                          Normalisation())


@pytest.mark.parametrize('task, num', [*(('stereo', num) for num in range(4)),
                                       *(('flow', num) for num in range(2))])
def test_whole_images_are_predicted_as_by_the_reference(shared_dir, task, num):
    meta, data = load_golden(shared_dir / GOLDEN / f'tiled_{task}.npz')
    config, weights = golden_network(task, meta['kwargs'], meta['head'], {
        key[3:]: value for key, value in data.items() if key.startswith('sd/')})
    network = MultiTaskModel(config)
    network.load_state_dict(weights)
    job = meta['jobs'][num]
    spec = TilingSpec(tuple(meta['crop']), job['overlap'], job['mode'])
    views = [torch.from_numpy(data[f'j{num}/img{i}']) for i in (1, 2)]
    with torch.inference_mode():
        value = predict_tiled(network.eval().task(task), *views, spec, 4)
    np.testing.assert_allclose(value, data[f'j{num}/out_pred'], atol=1e-4, rtol=0)


@pytest.mark.parametrize('size_hw', [(45, 100), (20, 100), (40, 30)])   # (20, 100): too low
def test_values_are_in_pixels_of_the_image(size_hw):
    """The stand-in sees where a window lies and how much the image was enlarged."""
    def where(view1, view2):
        assert view1.shape[-2:] == (32, 64) and torch.equal(view1, view2)
        return Prediction(view1[:, :2], torch.zeros_like(view1[:, :1]))
    v, u = torch.meshgrid(*(torch.arange(side) + 0.5 for side in size_hw), indexing='ij')
    factor = max(1, 32 / size_hw[0], 64 / size_hw[1])
    view = torch.stack((u, v, v))[None] * factor   # position in the enlarged image
    value = predict_tiled(where, view, view, TilingSpec((32, 64), 0.5), 3)
    assert value.shape == (1, 2, *size_hw)
    inner = value[0, :, 4:-4, 4:-4]
    torch.testing.assert_close(inner, torch.stack((u, v))[:, 4:-4, 4:-4], rtol=0.01, atol=0.15)


def test_validation_shows_whole_images_each_alone():
    left, right = stereo_pair(0, (48, 96))
    fine = np.full((96, 192), 3.0, np.float32)   # two values a pixel along each axis, as Spring's
    fine[0, :2] = (5.0, np.nan)
    fine[2:4, 0] = (4.0, 5.0)
    samples = [StereoSample(*stereo_pair(1), disparity_truth()),
               StereoSample(left, right, fine, truth_scale=2)]
    first, second = batches_of(tiled_config(), *samples).validation_batches(8)
    assert first['left'].shape == (1, 3, 48, 64)
    assert first['disparity'].nan_to_num(0)[0, 0].numpy() \
        == pytest.approx(np.nan_to_num(disparity_truth()))
    disparity = second['disparity'][0, 0]
    assert disparity.shape == (48, 96)
    assert torch.isnan(disparity[0, 0]) and disparity[1, 0] == (4 + 5 + 3 + 3) / 4
    assert (disparity[2:] == 3).all()


def test_every_image_counts_the_same_and_unknown_ones_do_not():
    config = tiled_config()
    task = TASKS['stereo'](config)
    model = task.build()
    torch.nn.init.zeros_(model.heads['stereo'].leave.weight)
    model.heads['stereo'].leave.bias.data = torch.tensor([4.0, 2.0])   # disparity, c
    truths = [np.full((48, 64), 5.0, np.float32), np.full((48, 128), 7.0, np.float32),
              np.full((48, 64), np.nan, np.float32)]
    samples = [StereoSample(*stereo_pair(k, truth.shape), truth)
               for k, truth in enumerate(truths)]
    metrics = task.validate(model, batches_of(config, *samples).validation_batches(2))
    assert metrics == pytest.approx({'stereo_epe_px': (1 + 3) / 2, 'stereo_bad_2': 0.5})


def test_flow_of_whole_images_goes_from_the_earlier_to_the_later():
    config = tiled_config('flow')
    task = TASKS['flow'](config)
    model = task.build().eval()
    image1, image2 = flow_frames(0, 2, (48, 64))
    truth = np.broadcast_to(np.float32(FLOW), (48, 64, 2))
    batch, = batches_of(config, FlowSample(image1, image2, truth)).validation_batches(1)
    with torch.inference_mode():
        value = predict_tiled(model.task('flow'), batch['previous'], batch['left'],
                              tiling('flow', model.config.heads['flow'], (32, 64), 0.7), 2)
    expected = (value[0] - torch.tensor(FLOW)[:, None, None]).norm(dim=0).mean().item()
    assert task.validate(model, [batch])['flow_epe_px'] == pytest.approx(expected, rel=1e-5)


def test_the_pictures_of_a_run_show_a_window_of_whole_images():
    config = tiled_config()
    model = TASKS['stereo'](config).build().eval()
    large, small = (next(batches_of(config, StereoSample(
        *stereo_pair(0, size_hw), disparity_truth(size_hw))).validation_batches(1))
        for size_hw in ((48, 96), (24, 96)))
    assert panels(config, model, large)['stereo'].shape == (3, 32, 4 * 64)
    assert panels(config, model, small) == {}


@pytest.mark.parametrize('task, head, weight', [
    ('stereo', DptHeadConfig(1, 'symmetric'), 'conf_expsigmoid_15_3'),
    ('stereo', DptHeadConfig(1, 'exp'), 'conf_expbeta3'),
    ('flow', DptHeadConfig(2, 'bounded'), 'conf_expsigmoid_10_5')])
def test_windows_weigh_as_in_the_releases(task, head, weight):
    assert tiling(task, head, (32, 64), 0.7) == TilingSpec((32, 64), 0.7, weight)


def test_what_cannot_be_tiled_is_refused():
    with pytest.raises(ConfigError, match='a MatchingHead here: use crop'):
        tiling('stereo', MatchingHeadConfig('row'), (32, 64), 0.7)
    with pytest.raises(ConfigError, match="serves stereo and flow, got task 'depth'"):
        tiled_config('depth')
    with pytest.raises(ConfigError, match='needs data.source datasets'):
        tiled_config(source='rendered')
    with pytest.raises(ConfigError, match=r'validation_overlap must be in \[0, 1\)'):
        tiled_config(validation_overlap=1.0)
