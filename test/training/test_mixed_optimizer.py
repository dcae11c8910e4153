# SPDX-License-Identifier: Apache-2.0
"""Parts of a network follow rules of their own, and the rules of SimIPU are those published."""
import json
from pathlib import Path

from crossview_ros.config import from_dict, load_config
from crossview_ros.networks.simipu_keys import from_official_key
from crossview_ros.training.mixed_optimizer import MixedOptimizer
from crossview_ros.training.optimizer import learning_rate, make_optimizer
from crossview_ros.training.run_config import OptimizerConfig, RunConfig
from crossview_ros.training.tasks import TASKS
import pytest
import torch
from torch import nn

RECIPE = Path(__file__).resolve().parents[2] / 'config/train/official/simipu_kitti.yaml'
RULES = [{'part': 'slow', 'algorithm': 'sgd', 'lr_scale': 30.0, 'weight_decay': 1e-4},
         {'part': 'weight', 'algorithm': 'adamw', 'betas': [0.95, 0.99]}]


def network():
    torch.manual_seed(0)
    return nn.ModuleDict({'slow': nn.Linear(3, 2), 'fast': nn.Linear(3, 2)})


def optimizer_of(model, **changes):
    config = from_dict(OptimizerConfig, {'lr': 1e-3, 'weight_decay': 0.01, 'decay_all': True,
                                         'rules': RULES, **changes}, 'test')
    return make_optimizer(model, config)


def step(model, optimizer, seed):
    for group in optimizer.param_groups:   # as the loop does
        group['lr'] = 1e-3 * group['lr_scale']
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer.step()


def test_each_part_moves_as_with_an_optimizer_of_its_own():
    model, oracle = network(), network()
    mixed = optimizer_of(model)
    own = (torch.optim.SGD(oracle['slow'].parameters(), 0.03, momentum=0.9, weight_decay=1e-4),
           torch.optim.AdamW([oracle['fast'].weight], 1e-3, (0.95, 0.99), weight_decay=0.01),
           torch.optim.AdamW([oracle['fast'].bias], 1e-3, (0.9, 0.98), weight_decay=0.01))
    for seed in range(4):
        step(model, mixed, seed)
        generator = torch.Generator().manual_seed(seed)
        for parameter in oracle.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in own:
            optimizer.step()
    for name, value in oracle.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_a_stored_state_continues_exactly(tmp_path):
    model = network()
    optimizer = optimizer_of(model)
    step(model, optimizer, 0)
    torch.save((model.state_dict(), optimizer.state_dict()), tmp_path / 'state.pt')
    step(model, optimizer, 1)
    weights, state = torch.load(tmp_path / 'state.pt', weights_only=True)
    other = network()
    other.load_state_dict(weights)
    resumed = optimizer_of(other)
    assert isinstance(resumed, MixedOptimizer)
    resumed.load_state_dict(state)
    step(other, resumed, 1)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_parts_without_gradient_stay_and_do_not_decay():
    model = network()
    before = model['slow'].weight.clone()
    optimizer = optimizer_of(model)
    model['fast'].weight.grad = torch.ones(2, 3)
    optimizer.step()
    assert torch.equal(model['slow'].weight, before)


def test_vectors_are_exempt_from_decay_unless_all_decay():
    decays = {group['weight_decay'] for group in optimizer_of(network()).param_groups}
    assert decays == {1e-4, 0.01}
    groups = optimizer_of(network(), decay_all=False).param_groups
    assert {group['weight_decay'] for group in groups
            if any(p.ndim == 1 for p in group['params'])} == {0.0}


def test_the_rate_falls_by_a_share_with_each_epoch(shared_dir):
    path = shared_dir / 'reference/golden/simipu_facts/optimizer_groups.json'
    published = json.loads(path.read_text())['lr_pts_at_epochs_0_10_to_100']
    config = load_config(RunConfig, RECIPE)
    epoch = 3712 // 32
    for number, rate in zip(range(0, 101, 10), published):
        for at in (number * epoch, number * epoch + epoch - 1):   # constant inside of an epoch
            assert learning_rate(config.optimizer, at, at, config.steps, 32) \
                == pytest.approx(rate, rel=1e-12)


def test_the_official_recipe_has_the_published_groups(shared_dir):
    facts = json.loads((shared_dir / 'reference/golden/simipu_facts/optimizer_groups.json')
                       .read_text())
    config = load_config(RunConfig, RECIPE)
    with torch.device('meta'):
        model = TASKS['simipu'](config).build()
    optimizer = make_optimizer(model, config.optimizer)
    group_of = {id(p): group for group in optimizer.param_groups for p in group['params']}
    names = {id(p): name for name, p in model.named_parameters()}
    official = json.loads((shared_dir / 'reference/golden/simipu_facts/'
                           'statedict_pretrain_full.json').read_text())['keys']
    checked = 0
    for key in official:
        ours = from_official_key(key)
        parameter = next((p for p in model.parameters() if names[id(p)] == ours), None)
        if parameter is None or not parameter.requires_grad:
            continue
        expected = facts['hyper'][facts['groups'][key.split('.')[0]][0]]
        group = group_of[id(parameter)]
        assert group['algorithm'] == expected['opt'].lower()
        assert config.optimizer.lr * group['lr_scale'] == pytest.approx(expected['lr'])
        assert group['weight_decay'] == expected['weight_decay']
        for name in ('momentum', 'eps'):
            assert group.get(name) == expected.get(name) or name not in expected
        if 'betas' in expected:
            assert tuple(group['betas']) == tuple(expected['betas'])
        checked += 1
    assert checked == len(group_of)
