# SPDX-License-Identifier: Apache-2.0
"""Promises of task pose: what the truth means, how views are turned, and that it learns."""
import math

from crossview_ros.config import from_dict
from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.se3 import exp_se3, log_se3
from crossview_ros.networks.heads import PosePrediction
from crossview_ros.training.augmentation import flip_pose_views
from crossview_ros.training.pose_losses import (
    pose_error, pose_loss, rotation_vector, ROTATION_WEIGHT_M)
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks import TASKS
import numpy as np
import pytest
import torch

DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (64, 96), 'scale_range': (1.0, 1.0),
        'num_validation': 4}
MODEL = {'preset': 'crossview_tiny_pose', 'head': {'pose_dim': 16}, 'backbone': {
    'enc_embed_dim': 32, 'enc_num_layers': 1, 'enc_num_heads': 2, 'stem_dims': (8, 8, 16),
    'dec_embed_dim': 32, 'dec_num_layers': 1, 'dec_num_heads': 2}}


def run_config(**values):
    return from_dict(RunConfig, {'task': 'pose', 'steps': 1, 'batch_size': 4, 'data': DATA,
                                 'model': MODEL, **values}, 'test')


@pytest.fixture
def pose(records):
    """Return task, network and batches of a narrow run."""
    config = run_config()
    task = TASKS['pose'](config)
    torch.manual_seed(0)
    model = task.build()
    return task, model, task.batches(records[0], config, model.config)


def test_the_truth_is_the_pose_of_the_record(pose, records):
    batch = next(pose[2].validation_batches(4))
    dataset = ShardDataset(records[0])
    expected = np.stack([dataset.sample(i).T_prev_cur for i in range(4)])
    np.testing.assert_allclose(batch['T_previous_left'].numpy(), expected, atol=1e-5)
    assert batch['previous'].shape == batch['left'].shape == (4, 3, 64, 96)
    assert batch.keys() == {'previous', 'left', 'T_previous_left'}


def test_mirrors_and_swaps_keep_the_motion_of_a_point_true():
    torch.manual_seed(0)
    views = {name: torch.rand(1, 3, 4, 6) for name in ('previous', 'left')}
    T = torch.tensor(exp_se3(np.array([0.3, -0.2, 0.5, 0.1, -0.2, 0.3])), dtype=torch.float32)
    point = torch.tensor([0.4, -0.7, 3.0, 1.0])   # in the frame of left
    seen = {'left': point, 'previous': T @ point}
    kinds = set()
    for seed in range(60):
        out = flip_pose_views({**views, 'T_previous_left': T[None]},
                              torch.Generator().manual_seed(seed))
        # which view the first one was, and how it was mirrored, by comparing pixels
        name, axes = next((name, axes) for name in views for axes in ((), (-1,), (-2,), (-1, -2))
                          if torch.equal(views[name].flip(axes), out['previous']))
        other = 'left' if name == 'previous' else 'previous'
        assert torch.equal(views[other].flip(axes), out['left'])
        mirror = torch.ones(4)
        for axis in axes:
            mirror[-1 - axis] = -1   # columns: x, rows: y
        torch.testing.assert_close(out['T_previous_left'][0] @ (mirror * seen[other]),
                                   mirror * seen[name], atol=1e-5, rtol=1e-5)
        kinds.add((name, axes))
    assert len(kinds) == 8


@pytest.mark.parametrize('angle', [0.0, 1e-6, 0.01, 1.0, 3.0])
def test_rotation_vectors_are_those_of_the_logarithm(angle):
    axis = np.array([0.48, -0.6, 0.64])
    T = exp_se3(np.concatenate((np.zeros(3), angle * axis)))
    vector = rotation_vector(torch.tensor(T[:3, :3], dtype=torch.float32))
    # near half a turn float32 leaves the sine four digits
    np.testing.assert_allclose(vector, angle * axis, atol=1e-5 if angle < 2 else 1e-4)
    np.testing.assert_allclose(vector, log_se3(T)[3:], atol=1e-5 if angle < 2 else 1e-4)


def test_the_error_is_what_is_left_in_frame_2_and_the_loss_weighs_it():
    estimate = torch.tensor(exp_se3(np.array([1.0, 2, 3, 0.3, -0.5, 0.2])))[None].float()
    left = np.array([0.1, -0.2, 0.3, 0.0, 0.04, 0.0])
    rest = np.eye(4)
    rest[:3, :3] = exp_se3(np.array([0, 0, 0, *left[3:]]))[:3, :3]
    rest[:3, 3] = left[:3]
    truth = estimate @ torch.tensor(rest).float()
    np.testing.assert_allclose(pose_error(estimate, truth)[0], left, atol=2e-6)
    log_scale = torch.full((1, 6), math.log(0.1))
    terms = pose_loss(PosePrediction(estimate, log_scale), truth)
    nll = math.log(0.1) + np.abs(left).mean() / 0.1
    assert terms['nll'].item() == pytest.approx(nll, rel=1e-4)
    expected = 0.6 + ROTATION_WEIGHT_M * 0.04 + 0.2 * nll
    assert terms['loss'].item() == pytest.approx(expected, rel=1e-4)
    assert terms['translation_m'].item() == pytest.approx(np.linalg.norm(left[:3]), rel=1e-4)
    assert terms['rotation_rad'].item() == pytest.approx(0.04, rel=1e-4)


def test_a_perfect_identity_has_a_finite_gradient():
    estimate = torch.eye(4)[None].requires_grad_()
    pose_loss(PosePrediction(estimate, torch.zeros(1, 6)), torch.eye(4)[None])['loss'].backward()
    assert torch.isfinite(estimate.grad).all()


def test_it_learns_the_motions_of_four_records_by_heart(pose):
    task, model, batches = pose
    batch = next(batches.validation_batches(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    first = None
    for _ in range(60):
        output = task.step(model, batch)
        first = output.loss.item() if first is None else first
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
    still = batch['T_previous_left'][:, :3, 3].norm(dim=-1).mean().item()
    metrics = task.validate(model, [batch])
    assert output.loss.item() < 0.5 * first
    assert metrics['translation_m'] < 0.5 * still   # of what the identity would miss
    assert task.score(metrics) == pytest.approx(
        metrics['translation_m'] + ROTATION_WEIGHT_M * math.radians(metrics['rotation_deg']))


@pytest.mark.parametrize('values, message', [
    ({'model': {'preset': 'crossview_tiny'}}, r"'crossview_tiny' has no head for \['pose'\]"),
    ({'model': {'preset': 'crossview_huge'}}, 'unknown model.preset'),
    ({'model': {**MODEL, 'head': {'pose_dims': 4}}}, "did you mean 'pose_dim'"),
    ({'data': {**DATA, 'crop_hw': (60, 96)}}, 'must be multiples of the patch size 16')])
def test_runs_that_cannot_be_built_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        TASKS['pose'](run_config(**values)).build()
