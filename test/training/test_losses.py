# SPDX-License-Identifier: Apache-2.0
"""Promises of the matching loss."""
import math

from crossview_ros.networks.heads import Prediction
from crossview_ros.training.losses import end_point_error, matching_loss
import torch


def prediction(value, log_scale=0.0):
    return Prediction(value, torch.full_like(value[:, :1], log_scale))


def test_unknown_truth_gives_no_gradient_and_counts_in_no_mean():
    value = torch.zeros(1, 1, 2, 2, requires_grad=True)
    truth = torch.tensor([[[[3.0, math.nan], [1.0, math.nan]]]])
    terms = matching_loss(prediction(value), truth)
    terms['loss'].backward()
    assert terms['epe'].item() == 2.0   # mean of 3 and 1
    assert value.grad[0, 0, :, 1].abs().sum() == 0
    assert (value.grad[0, 0, :, 0] < 0).all()


def test_best_scale_is_the_mean_error():
    torch.manual_seed(0)
    errors = torch.distributions.Laplace(0.0, 2.0).sample((1, 1, 100, 100)).abs()
    scales = torch.linspace(0.5, 1.0, 51)
    nll = [matching_loss(prediction(torch.zeros_like(errors), float(s)), errors)['nll']
           for s in scales]
    best = scales[int(torch.stack(nll).argmin())].exp()
    assert abs(best - errors.mean()) < 0.03   # grid step of 1 % of about 2 px


def test_doubt_never_excuses_a_wrong_match():
    gradients = []
    for log_scale in (-1.0, 3.0):
        value = torch.zeros(1, 1, 4, 4, requires_grad=True)
        matching_loss(prediction(value, log_scale), torch.ones(1, 1, 4, 4))['loss'].backward()
        gradients.append(value.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_end_point_error_of_flow_is_the_length_of_the_difference():
    value, target = torch.zeros(1, 2, 1, 1), torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    assert abs(end_point_error(value, target).item() - 5.0) < 1e-5
