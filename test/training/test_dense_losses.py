# SPDX-License-Identifier: Apache-2.0
"""The official losses: golden vectors, limits, and the strings of checkpoints."""
import math

from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.training.dense_losses import (
    CRITERIA, Criterion, criterion, LOG_SCALES, parse_criterion, valid_pixels)
import numpy as np
import pytest
import torch

GOLDEN = 'reference/golden/croco/losses_metrics.npz'
CASES = [f'{name}({arguments})' for name in CRITERIA for arguments in (
    '', *{'L1Loss': ['max_gtnorm=40.0'], 'LaplacianLoss': ['max_gtnorm=40.0'],
          'LaplacianLossBounded': ['max_gtnorm=None,a=0.5,b=3.0'],
          'LaplacianLossBounded2': ['max_gtnorm=40.0,a=2.0,b=5.0']}[name])]


@pytest.fixture
def golden(shared_dir):
    with np.load(shared_dir / GOLDEN, allow_pickle=False) as file:
        return {key: torch.from_numpy(np.array(file[key])) for key in file.files
                if key.startswith(('stereo', 'flow'))}


def loss_and_gradients(text, value, raw, truth):
    value, raw = value.clone().requires_grad_(), raw.clone().requires_grad_()
    loss = parse_criterion(text)(value, raw, truth)
    loss.backward()
    return loss.detach(), value.grad, raw.grad


def test_every_loss_of_the_golden_file_is_compared(golden):
    found = {key.partition('/loss/')[2] for key in golden if '/loss/' in key}
    assert found == set(CASES)


@pytest.mark.parametrize('task', ['stereo', 'flow'])
@pytest.mark.parametrize('text', CASES)
@pytest.mark.parametrize('unknown', [math.inf, math.nan])
def test_loss_and_gradients_are_those_of_the_reference(golden, task, text, unknown):
    truth = golden[f'{task}/gt']
    truth = torch.where(torch.isfinite(truth), truth, unknown)
    loss, value_grad, raw_grad = loss_and_gradients(
        text, golden[f'{task}/pred'], golden[f'{task}/conf'], truth)
    assert loss.item() == pytest.approx(golden[f'{task}/loss/{text}'].item(), rel=2e-6)
    expected = golden[f'{task}/grad_pred/{text}']
    torch.testing.assert_close(value_grad, expected, rtol=2e-6, atol=1e-7)
    if text.startswith('L1'):
        assert raw_grad is None and f'{task}/grad_conf/{text}' not in golden
    else:
        torch.testing.assert_close(raw_grad, golden[f'{task}/grad_conf/{text}'], rtol=2e-6,
                                   atol=1e-7)


@pytest.mark.parametrize('text, per_pixel', [
    ('L1Loss()', lambda r, c: r / 2),
    ('LaplacianLoss()', lambda r, c: r / math.exp(c) + c),
    ('LaplacianLossBounded()',
     lambda r, c: r / (3.75 / (1 + math.exp(-c)) + 0.25)
     + math.log(3.75 / (1 + math.exp(-c)) + 0.25)),
    ('LaplacianLossBounded2()',
     lambda r, c: r / math.exp(6 / (1 + math.exp(-c / 3)) - 3) + 6 / (1 + math.exp(-c / 3)) - 3)])
def test_the_loss_of_one_pixel_is_the_formula(text, per_pixel):
    value, truth = torch.tensor([1.0, -2.0]), torch.tensor([1.5, 2.0])     # r = 4.5
    loss = parse_criterion(text)(value.view(1, 2, 1, 1), torch.full((1, 1, 1, 1), 0.7),
                                 truth.view(1, 2, 1, 1))
    assert loss.item() == pytest.approx(per_pixel(4.5, 0.7), rel=1e-6)


def test_a_truth_at_the_limit_is_left_out_and_a_negative_disparity_is_not():
    disparity = torch.tensor([39.9, 40.0, 41.0, -50.0, math.inf, math.nan]).view(1, 1, 1, 6)
    assert valid_pixels(disparity, 40.0).flatten().tolist() == [True, False, False, True, False,
                                                                False]
    flow = torch.tensor([[3.0, 30.0], [4.0, -40.0]]).view(1, 2, 1, 2)      # lengths 5 and 50
    assert valid_pixels(flow, 50.0).flatten().tolist() == [True, False]


def test_without_a_valid_pixel_the_loss_is_not_a_number():
    nothing = torch.full((1, 1, 2, 2), math.nan)
    for name in CRITERIA:
        assert math.isnan(criterion(name)(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2), nothing))


def test_only_the_laplacian_losses_have_a_confidence():
    assert {name for name in CRITERIA if criterion(name).has_scale} == set(LOG_SCALES) \
        == set(CRITERIA) - {'L1Loss'}
    with pytest.raises(ConfigError, match='L1Loss has no confidence'):
        criterion('L1Loss').log_scale(torch.ones(1))
    with pytest.raises(ConfigError, match='LaplacianLoss needs a network with confidence'):
        criterion('LaplacianLoss')(torch.ones(1, 1, 1, 1), None, torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize('text, expected', [
    ('LaplacianLossBounded2(max_gtnorm=None, a=3.0, b=3.0)',
     Criterion('LaplacianLossBounded2', None, 3.0, 3.0)),
    ('LaplacianLossBounded2()', Criterion('LaplacianLossBounded2', None, 3.0, 3.0)),
    (' LaplacianLossBounded( 256 , b=5) ', Criterion('LaplacianLossBounded', 256, 0.25, 5)),
    ('LaplacianLossBounded()', Criterion('LaplacianLossBounded', 10_000, 0.25, 4)),
    ('LaplacianLoss(40.)', Criterion('LaplacianLoss', 40.0)),
    ('L1Loss()', Criterion('L1Loss'))])
def test_the_string_of_a_checkpoint_gives_its_loss_with_defaults(text, expected):
    assert parse_criterion(text) == expected


@pytest.mark.parametrize('text, message', [
    ('MSELoss(1)', "unknown loss 'MSELoss'; known: L1Loss"),
    ('LaplacianLoss', 'is no loss such as'),
    ('torch.nn.L1Loss()', 'is no loss such as'),
    ('', 'is no loss such as'),
    ('L1Loss()\0', 'is no loss such as'),
    ('L1Loss(' * 5000, 'is no loss such as'),
    ('LaplacianLoss(a=3)', "takes max_gtnorm; got 'a'"),
    ('L1Loss(1, 2)', 'takes max_gtnorm, each once'),
    ('L1Loss(1, max_gtnorm=2)', 'takes max_gtnorm, each once'),
    ('L1Loss(**{})', 'is no loss such as'),
    ('L1Loss(max_gtnorm=1, max_gtnorm=2)', 'is no loss such as'),
    ("L1Loss(max_gtnorm='a')", "must be a number above 0, got 'a'"),
    ('L1Loss(max_gtnorm=True)', 'must be a number above 0, got True'),
    ('L1Loss(max_gtnorm=-1)', 'must be a number above 0, got -1'),
    ('L1Loss(max_gtnorm=[1])', r'must be a number above 0, got \[1\]'),
    ('L1Loss(max_gtnorm=print(1))', 'is no loss such as'),
    ('LaplacianLossBounded(a=None)', "'a' must be a number above 0, got None"),
    ('LaplacianLossBounded(a=5)', 'needs a < b, got a=5, b=4')])
def test_any_other_string_is_refused_and_never_run(text, message, capsys):
    with pytest.raises(CheckpointError, match=message):
        parse_criterion(text)
    assert capsys.readouterr().out == ''


def test_a_loss_of_a_config_is_checked_too():
    with pytest.raises(ConfigError, match="loss L1Loss takes max_gtnorm; got 'b'"):
        criterion('L1Loss', b=1.0)
    with pytest.raises(ConfigError, match="unknown loss 'Laplace'"):
        criterion('Laplace')
