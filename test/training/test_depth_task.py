# SPDX-License-Identifier: Apache-2.0
"""Promises of task depth: metres in, metres out, and that it learns."""
import math

from crossview_ros.config import from_dict
from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.errors import ConfigError
from crossview_ros.networks.checkpoint import load_model, save_weights
from crossview_ros.networks.downstream import OneViewConfig
from crossview_ros.networks.heads import Prediction
from crossview_ros.training.depth_losses import log_depth_loss
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks import TASKS
import numpy as np
import pytest
import torch

DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}
MODEL = {'preset': 'crossview_tiny_depth', 'backbone': {
    'enc_embed_dim': 32, 'enc_num_layers': 4, 'enc_num_heads': 2, 'stem_dims': (8, 8, 16)},
    'head': {'layer_dims': (8, 8, 8, 8), 'feature_dim': 16, 'last_dim': 8}}


def run_config(**values):
    return from_dict(RunConfig, {'task': 'depth', 'steps': 1, 'batch_size': 4, 'data': DATA,
                                 'model': MODEL, **values}, 'test')


@pytest.fixture
def depth(records):
    """Return task, network and batches of a narrow run."""
    config = run_config()
    task = TASKS['depth'](config)
    torch.manual_seed(0)
    model = task.build()
    return task, model, task.batches(records[0], config, model.config)


def test_the_truth_is_the_depth_of_the_record_in_metres(depth, records):
    batch = next(depth[2].validation_batches(4))
    dataset = ShardDataset(records[0])
    for i, truth in enumerate(batch['depth']):
        sample = dataset.sample(i)
        expected = sample.rig.left.fx * sample.rig.baseline / sample.disparity
        # stored disparities have 11 bits
        np.testing.assert_allclose(truth[0], expected[16:48, 16:80], rtol=1e-5)
    assert batch.keys() == {'left', 'depth', 'focal'}
    assert batch['left'].shape == (4, 3, 32, 64)
    assert batch['focal'].tolist() == [pytest.approx(dataset.sample(i).rig.left.fx)
                                       for i in range(4)]


def test_enlarging_an_image_leaves_its_metres_alone(depth):
    task, _, batches = depth
    seen = [batches.training_batch(step)['depth'] for step in range(6)]
    stored = batches._read(range(8))['depth']
    known = set(stored.flatten().tolist())
    assert all(set(depth.flatten().tolist()) <= known for depth in seen)
    assert any(not torch.equal(seen[0], other) for other in seen[1:])


def test_enlarging_an_image_enlarges_its_focal_length(depth):
    batches = depth[2]
    batch = {**batches._read(range(4)), 'focal': torch.full((4,), 96.0)}
    larger = from_dict(type(batches.config.data), {
        **DATA, 'scale_range': (1.5, 1.5)}, 'test')
    moved = batches.kind.move(batch, larger, torch.Generator().manual_seed(0))
    assert moved['focal'].tolist() == [144.0] * 4   # 96 columns become 144


def test_the_ground_stays_below(depth):
    batches, data = depth[2], depth[2].config.data
    ramp = torch.arange(64.0).view(1, 1, 64, 1).expand(1, 1, 64, 96)
    batch = {'left': ramp.expand(-1, 3, -1, -1) / 64, 'depth': ramp + 1,
             'focal': torch.ones(1)}
    for seed in range(6):
        moved = batches.kind.move(batch, data, torch.Generator().manual_seed(seed))['depth']
        assert (moved[0, 0].diff(dim=0) >= 0).all()


def test_the_loss_of_a_canonical_camera_does_not_depend_on_the_lens(depth):
    task, model, batches = depth
    model.eval()
    batch = next(batches.validation_batches(4))
    # twice the focal length makes the same image of all things twice as far
    zoomed = {**batch, 'depth': 2 * batch['depth'], 'focal': 2 * batch['focal']}
    assert model.config.focal_px == 256.0
    torch.testing.assert_close(task.step(model, zoomed).loss, task.step(model, batch).loss)
    here, there = task.validate(model, [batch]), task.validate(model, [zoomed])
    assert there['abs_rel'] == pytest.approx(here['abs_rel'], rel=1e-4)
    assert there['rmse_m'] == pytest.approx(2 * here['rmse_m'], rel=1e-4)


def test_the_loss_counts_factors_not_metres_and_leaves_unknown_pixels_out():
    truth = torch.tensor([1.0, 10.0, math.nan, 0.0, -1.0, math.inf]).view(1, 1, 1, 6)
    value = torch.tensor([1.1, 9.0, 5.0, 5.0, 5.0, 5.0]).view(1, 1, 1, 6).requires_grad_()
    terms = log_depth_loss(Prediction(value, torch.zeros(1, 1, 1, 6)), truth)
    error = (math.log(1.1) - math.log(0.9)) / 2
    assert terms['epe'].item() == pytest.approx(error, rel=1e-5)
    shape = (math.log(1.1) - math.log(0.9)) / 2   # each is so far from the mean of both
    expected = 1.2 * error + shape                # 0.2 of e + log 1
    assert terms['loss'].item() == pytest.approx(expected, rel=1e-5)
    terms['loss'].backward()
    assert torch.isfinite(value.grad).all() and not value.grad[..., 2:].any()


def test_it_learns_four_records_by_heart(depth):
    task, model, batches = depth
    batch = next(batches.validation_batches(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first, before = None, task.validate(model, [batch])
    for _ in range(50):
        output = task.step(model, batch)
        first = output.loss.item() if first is None else first
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    after = task.validate(model, [batch])
    assert output.loss.item() < 0.5 * first
    assert after['abs_rel'] < before['abs_rel'] and after['delta_1'] > before['delta_1']
    assert task.score(after) == after['abs_rel']


def test_validation_pools_all_known_pixels(depth):
    task = depth[0]
    truth = torch.tensor([2.0, 4.0, math.nan, 5.0]).view(1, 1, 1, 4)

    class Model:
        config = OneViewConfig(None, None)

        def __call__(self, image):
            value = torch.tensor([2.2, 8.0, 1.0, 5.0]).view(1, 1, 1, 4)
            return Prediction(value, torch.zeros_like(value))
    metrics = task.validate(Model(), [{'left': None, 'depth': truth, 'focal': torch.ones(1)}])
    # the median ratio of truth to answer is 1 / 1.1
    assert metrics == pytest.approx({
        'abs_rel': (0.1 + 1.0) / 3, 'delta_1': 2 / 3, 'rmse_m': math.sqrt((0.04 + 16) / 3),
        'nll': (math.log(1.1) + math.log(2)) / 3,
        'shape_abs_rel': (8 / 4.4 - 1 + 1 - 1 / 1.1) / 3}, rel=1e-5)


def test_a_saved_network_gives_positive_metres_again(depth, tmp_path):
    _, model, batches = depth
    image = next(batches.validation_batches(2))['left']
    save_weights(tmp_path / 'depth.safetensors', model.config, model.state_dict(), torch.float32)
    loaded = load_model(tmp_path / 'depth.safetensors', 'depth')
    with torch.no_grad():
        torch.testing.assert_close(loaded(image).value, model.eval()(image).value)
        assert (loaded(image).value > 0).all()
        assert loaded(image).log_scale.shape == (2, 1, 32, 64)


@pytest.mark.parametrize('values, message', [
    ({'model': {'preset': 'crossview_tiny_pose'}}, 'unknown model.preset .* for task depth'),
    ({'model': {**MODEL, 'head': {'scale': 'none'}}}, "with scale 'exp', got 1 with 'none'"),
    ({'data': {**DATA, 'crop_hw': (48, 64)}}, 'must be multiples of twice the patch size 16')])
def test_runs_that_cannot_be_built_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TASKS['depth'](run_config(**values)).build()
