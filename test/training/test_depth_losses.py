# SPDX-License-Identifier: Apache-2.0
"""Promises of SigLoss: the reference's values and gradient, and what it is blind to."""
import math

from crossview_ros.training.depth_losses import sig_loss
import numpy as np
import pytest
import simipu_golden as golden
import torch


def test_values_and_gradient_are_those_of_the_reference(shared_dir):
    data = golden.load(shared_dir, 'f_sigloss_metrics')
    depth, truth = golden.tensor(data, 'pred').requires_grad_(), golden.tensor(data, 'gt')
    losses = {
        'default': sig_loss(depth, truth),
        'w10': 10 * sig_loss(depth, truth),
        'max40': sig_loss(depth, truth, (truth > 0) & (truth <= 40)),
        'nomask': sig_loss(depth, torch.where(truth == 0, 10.0, truth)),
        'warmup': sig_loss(depth, truth, mean_only=True)}
    for name, loss in losses.items():
        assert float(loss.detach()) == pytest.approx(float(data[f'loss_{name}']), abs=1e-5), name
        gradient, = torch.autograd.grad(loss, depth, retain_graph=True)
        if f'gradnorm_{name}' in data:
            assert float(gradient.norm()) == pytest.approx(float(data[f'gradnorm_{name}']),
                                                           rel=2e-3)
        if name == 'default':
            reference = data['grad_default']
            np.testing.assert_allclose(gradient, reference, atol=2e-3 * np.abs(reference).max())


def test_a_constant_factor_costs_only_the_weighted_mean():
    truth = torch.rand(1, 1, 8, 8) * 50 + 10
    # far beyond the millimetre that is added before the logarithm
    assert float(sig_loss(1.5 * truth, truth)) \
        == pytest.approx(math.sqrt(0.15) * math.log(1.5), abs=1e-4)


def test_unknown_pixels_do_not_count():
    truth = torch.rand(1, 1, 8, 8) * 50 + 10
    depth = truth * torch.rand(1, 1, 8, 8).add(0.5)
    masked = truth.clone()
    masked[..., 4:, :] = 0.0
    masked[..., 0, 0] = torch.nan
    kept = torch.isfinite(masked) & (masked > 0)
    expected = torch.log(depth[kept] + 1e-3) - torch.log(truth[kept] + 1e-3)
    expected = (expected.var() + 0.15 * expected.mean() ** 2).sqrt()
    assert float(sig_loss(depth, masked)) == pytest.approx(float(expected), abs=1e-6)


def test_without_truth_the_loss_is_zero_and_moves_nothing():
    depth = torch.ones(1, 1, 4, 4, requires_grad=True)
    loss = sig_loss(depth, torch.zeros(1, 1, 4, 4))
    loss.backward()
    assert float(loss.detach()) == 0 and not depth.grad.any()
