# SPDX-License-Identifier: Apache-2.0
"""Precision, parts of a batch, recomputing and compiling change speed and memory, not results."""
import builtins

from crossview_ros.errors import ConfigError
from crossview_ros.networks.croco import CroCo, CroCoConfig
from crossview_ros.training.blocks import compile_blocks, recompute_activations
from crossview_ros.training.engine import Engine, open_engine
from crossview_ros.training.tasks.step import StepOutput
import pytest
import torch


def step_of(trainer, step=0):
    """Return the scalars and gradients of one step, which are cleared at the next."""
    scalars = trainer._optimize(trainer.training.training_batch(step), 1e-3)
    return scalars, {n: p.grad.clone() for n, p in trainer.model.named_parameters()}


@pytest.fixture
def make(make_completion_trainer, tmp_path):
    def trainer(name='run', **changes):
        return make_completion_trainer(tmp_path / name, [], batch_size=4, **changes)
    return trainer


@pytest.mark.parametrize('size', [1, 2, 4])
def test_a_batch_in_parts_has_the_gradient_of_the_whole(make, size):
    whole_scalars, whole = step_of(make('whole'))
    scalars, gradients = step_of(make('parts', micro_batch=size))
    torch.testing.assert_close(scalars['loss'], whole_scalars['loss'])
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, whole[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize('change', [recompute_activations,
                                    lambda model: compile_blocks(model, 'eager')])
def test_changed_blocks_have_the_same_gradients_and_names(make, change):
    _, plain = step_of(make('plain'))
    trainer = make('changed')
    change(trainer.model)
    _, gradients = step_of(trainer)
    assert list(gradients) == list(plain)
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, plain[name], rtol=1e-4, atol=1e-6)


def test_recomputed_blocks_keep_less():
    kept = {}
    for recompute in (False, True):
        model = CroCo(CroCoConfig(img_size=(32, 32), patch_size=8, enc_embed_dim=16,
                                  enc_num_layers=4, enc_num_heads=2, dec_embed_dim=16,
                                  dec_num_layers=4, dec_num_heads=2))
        if recompute:
            recompute_activations(model)
        kept[recompute] = kept_numbers(lambda: model(*torch.rand(2, 2, 3, 32, 32)))
    # of a block of width d with an MLP of 4 d only its input, of about 20 d numbers a token
    assert kept[True] < 0.3 * kept[False]


def kept_numbers(work):
    """Count the numbers that a piece of work keeps for its backward pass."""
    total = 0

    def keep(value):
        nonlocal total
        total += value.numel()
        return value
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        work()
    return total


@pytest.mark.parametrize('precision', ['bf16', 'fp16'])
def test_half_precision_gradients_are_those_of_fp32_but_for_rounding(make, precision):
    exact_scalars, exact = step_of(make('exact'))
    trainer = make('half', precision=precision)
    scalars, gradients = step_of(trainer)
    assert all(g.dtype == torch.float32 for g in gradients.values())
    flat, flat_exact = (torch.cat([g.flatten() for g in grads.values()])
                        for grads in (gradients, exact))
    # 8 or 11 bits of mantissa through some ten layers
    assert (flat - flat_exact).norm() < 0.1 * flat_exact.norm()
    # the norm is that of the true gradient, not of the scaled one
    assert float(scalars['gradient_norm']) == pytest.approx(
        float(exact_scalars['gradient_norm']), rel=0.1)


def test_fp16_lowers_its_loss_scale_when_gradients_overflow_and_keeps_it_in_checkpoints(make):
    trainer = make('run', precision='fp16')
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    scale = trainer.engine.scaler.get_scale()
    batch = trainer.training.training_batch(0)
    batch['target'][:] = torch.inf
    trainer._optimize(batch, 1e-3)
    assert trainer.engine.scaler.get_scale() == scale / 2
    assert all(torch.equal(value, before[name])
               for name, value in trainer.model.state_dict().items())
    trainer.save()
    again = make('run', precision='fp16')
    again.resume()
    assert again.engine.scaler.get_scale() == scale / 2


def test_what_a_network_draws_at_random_is_a_function_of_step_and_part(make):
    draws = {}

    def noisy(name, **changes):
        trainer = make(name, **changes)
        own = trainer.task.step

        def step(model, batch):
            draws.setdefault(name, []).append(torch.rand(()).item())
            return StepOutput(own(model, batch).loss, {})
        trainer.task.step = step
        return trainer
    noisy('whole', micro_batch=2).fit()
    for _ in range(6):   # a leg that is over at once does one step
        leg = noisy('legs', micro_batch=2)
        if (leg.folder.path / 'last.pt').exists():
            leg.resume()
        leg.fit(leg_s=0)
    assert draws['legs'] == draws['whole']
    assert len(set(draws['whole'])) == 12   # 6 steps of 2 parts


def test_clipping_bounds_the_gradient_and_tells_its_norm():
    weight = torch.nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    engine = Engine(torch.device('cpu'))
    engine.backward((weight * torch.tensor([3.0, 4.0])).sum())
    norm, stepped = engine.update(optimizer, max_norm=1.0)
    assert float(norm) == pytest.approx(5.0) and stepped
    torch.testing.assert_close(weight.detach(), torch.tensor([-0.6, -0.8]))


@pytest.mark.parametrize('values, message', [
    ({'micro_batch': 3}, 'micro_batch 3 must divide batch_size 4'),
    ({'engine': {'batches_ahead': 0}}, 'batches_ahead must be at least 1')])
def test_settings_that_contradict_are_refused(make, values, message):
    with pytest.raises(ConfigError, match=message):
        make('run', **values)


def test_a_batch_that_processes_cannot_share_is_refused(make):
    trainer = make('run')
    trainer.engine.world_size = 3
    with pytest.raises(ConfigError, match='batch_size 4 in parts of 1 .* evenly by 3 processes'):
        type(trainer)(trainer.config, trainer.model, trainer.task, None, None, trainer.folder,
                      print, trainer.engine)


def test_several_processes_without_the_library_are_told_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith('lightning_fabric'):
            raise ImportError(name)
        return real(name, *args, **kwargs)
    monkeypatch.setattr(builtins, '__import__', without)
    assert open_engine('cpu', 'fp32', 'ddp').world_size == 1
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ConfigError, match=r'Lightning Fabric: install .* extra \[train\]'):
        open_engine('cpu', 'fp32', 'ddp')


def test_a_cuda_device_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ConfigError, match='--device cuda: torch finds no CUDA device'):
        open_engine('cuda', 'fp32', 'ddp')
