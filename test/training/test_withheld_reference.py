# SPDX-License-Identifier: Apache-2.0
"""Single-view masked modelling: the same network, which nothing of the reference reaches."""
from dataclasses import replace

from crossview_ros.training.run_config import CompletionConfig
from crossview_ros.training.tasks import TASKS
import pytest
import torch


@pytest.fixture
def trainer(make_completion_trainer, tmp_path):
    return make_completion_trainer(tmp_path / 'run', [])


def loss_and_gradient(trainer, batch, reference):
    config = replace(trainer.config, completion=CompletionConfig(reference))
    trainer.model.zero_grad()
    loss = TASKS['croco'](config).step(trainer.model, batch).loss
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def other_reference(batch):
    torch.manual_seed(0)
    return {**batch, 'reference': torch.randn_like(batch['reference'])}


def liven(model):
    """Draw the last layers of the residual branches, which start at zero."""
    torch.manual_seed(1)
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and not module.weight.any():
            torch.nn.init.normal_(module.weight, std=0.1)


def test_a_withheld_reference_changes_neither_loss_nor_gradient(trainer):
    liven(trainer.model)
    batch = trainer.training.training_batch(0)
    loss, gradient = loss_and_gradient(trainer, batch, 'withheld')
    same_loss, same_gradient = loss_and_gradient(trainer, other_reference(batch), 'withheld')
    assert loss == same_loss and torch.equal(gradient, same_gradient)
    shown, other = (loss_and_gradient(trainer, data, 'shown')[0]
                    for data in (batch, other_reference(batch)))
    assert shown != other


def test_nothing_hidden_reaches_the_completion(trainer):
    liven(trainer.model)
    batch = trainer.training.training_batch(0)
    hidden = batch['mask'].view(-1, 1, 2, 3)   # crops of 32 x 48 px in patches of 16
    hidden = hidden.repeat_interleave(16, 2).repeat_interleave(16, 3)
    changed = torch.where(hidden, 5.0, batch['target'])
    patches, same, other = (trainer.model(target, None, batch['mask']).patches for target in (
        batch['target'], changed, batch['target'] + 1))
    assert torch.equal(patches, same) and not torch.equal(patches, other)


def test_the_same_weights_are_trained_as_with_a_reference(trainer):
    liven(trainer.model)
    batch = trainer.training.training_batch(0)
    reached = []
    for reference in ('shown', 'withheld'):
        loss_and_gradient(trainer, batch, reference)
        reached.append({name for name, p in trainer.model.named_parameters() if p.grad.any()})
    assert reached[0] == reached[1] and any('cross_attn' in name for name in reached[0])


def test_validation_of_a_withheld_reference_gains_nothing_by_definition(trainer):
    config = replace(trainer.config, completion=CompletionConfig('withheld'))
    metrics = TASKS['croco'](config).validate(
        trainer.model, trainer.validation.validation_batches(8))
    assert metrics['loss'] == metrics['wrong_reference_loss']
    assert metrics['reference_gain_percent'] == 0
