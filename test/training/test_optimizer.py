# SPDX-License-Identifier: Apache-2.0
"""The learning rate is the reference's, and weight decay leaves out what it leaves out."""
import json

from crossview_ros.config import from_dict
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.training.optimizer import learning_rate, make_optimizer
from crossview_ros.training.run_config import OptimizerConfig
import numpy as np
import pytest
import torch


@pytest.mark.parametrize('case', [0, 1])
def test_learning_rate_is_the_reference_schedule(shared_dir, case):
    with np.load(shared_dir / 'reference/golden/croco/misc.npz') as file:
        expected = file[f'f64/lr/{case}']
        settings = json.loads(str(file['meta_json']))['lr'][case]
    config = OptimizerConfig(lr=settings['lr'], warmup_steps=settings['warmup_epochs'],
                             min_lr_ratio=settings['min_lr'] / settings['lr'])
    # an epoch of one step: the formula knows only shares of the plan
    rates = [learning_rate(config, at, at, settings['epochs'], 64) for at in settings['at']]
    np.testing.assert_allclose(rates, expected, rtol=1e-12, atol=0)


def test_rate_per_256_samples_grows_with_the_batch():
    config = from_dict(OptimizerConfig, {'lr_per_256': 1.5e-4, 'warmup_steps': 0}, 'test')
    assert learning_rate(config, 0, 0, 100, 512) == pytest.approx(3e-4)
    assert learning_rate(config, 0, 0, 100, 64) == pytest.approx(3.75e-5)


def test_minutes_speed_up_the_decay_but_not_the_warm_up():
    config = OptimizerConfig(lr=1.0, warmup_steps=10, min_lr_ratio=0.0)
    assert learning_rate(config, 5, 60, 110, 8) == 0.5
    assert learning_rate(config, 20, 60, 110, 8) == pytest.approx(0.5)   # half of the decay
    assert learning_rate(config, 50, 110, 110, 8) == pytest.approx(0.0)


def test_one_cycle_is_that_of_pytorch_at_every_step():
    config = OptimizerConfig(lr=1e-4, schedule='onecycle')
    weight = torch.nn.Parameter(torch.zeros(1))
    for planned in (100, 37, 7):
        adam = torch.optim.AdamW([weight], lr=1.0)
        oracle = torch.optim.lr_scheduler.OneCycleLR(
            adam, 1e-4, planned, pct_start=0.3, anneal_strategy='cos', div_factor=25,
            final_div_factor=100, cycle_momentum=False)
        for step in range(planned):
            rate = learning_rate(config, step, step, planned, 16)
            assert rate == pytest.approx(oracle.get_last_lr()[0], rel=1e-9)
            adam.step()
            if step < planned - 1:
                oracle.step()


@pytest.mark.parametrize('rise_share, planned', [(0.5, 2), (0.3, 1), (0.5, 4)])
def test_one_cycle_of_a_few_steps_stays_between_its_ends(rise_share, planned):
    config = OptimizerConfig(lr=1.0, schedule='onecycle', rise_share=rise_share)
    rates = [learning_rate(config, step, step, planned, 16) for step in range(planned + 1)]
    assert all(1 / 2500 - 1e-12 <= rate <= 1 for rate in rates)
    assert rates[-1] == pytest.approx(1 / 2500)


def test_everything_decays_where_it_is_asked_for():
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    group, = make_optimizer(model, OptimizerConfig(decay_all=True)).param_groups
    assert group['weight_decay'] == 0.01 and len(group['params']) == 4


def test_matrices_and_the_mask_token_decay_while_biases_and_norms_do_not():
    model = CroCo(CroCoConfig(patch_size=8, enc_embed_dim=16, enc_num_layers=1, enc_num_heads=2,
                              dec_embed_dim=24, dec_num_layers=1, dec_num_heads=2))
    decayed, free = make_optimizer(model, OptimizerConfig()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    free_names = [names[id(p)] for p in free['params']]
    assert 'decoder.mask_token' in {names[id(p)] for p in decayed['params']}
    assert all(name.endswith('.bias') or 'norm' in name for name in free_names)
    assert len(free_names) + len(decayed['params']) == len(names)
    assert (decayed['weight_decay'], free['weight_decay']) == (0.01, 0.0)


def test_layer_decay_lowers_the_rate_block_by_block_towards_the_input():
    model = CroCo(CroCoConfig(patch_size=8, enc_embed_dim=16, enc_num_layers=3, enc_num_heads=2,
                              dec_embed_dim=16, dec_num_layers=1, dec_num_heads=2))
    groups = make_optimizer(model, OptimizerConfig(layer_decay=0.5)).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    scales = {names[id(p)]: group['lr_scale'] for group in groups for p in group['params']}
    assert len(scales) == len(names)
    # three blocks: 0.5 to the power of the blocks passed on the way from the decoder
    assert scales['encoder.patch_embed.proj.weight'] == 0.5 ** 4
    assert scales['encoder.blocks.0.attn.qkv.weight'] == 0.5 ** 3
    assert scales['encoder.blocks.2.norm1.bias'] == 0.5
    assert scales['encoder.norm.weight'] == scales['decoder.blocks.0.mlp.fc1.weight'] == 1.0
    free = {names[id(p)] for g in groups if g['weight_decay'] == 0 for p in g['params']}
    assert free == {name for name, p in model.named_parameters() if p.ndim <= 1}
