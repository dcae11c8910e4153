# SPDX-License-Identifier: Apache-2.0
"""Tasks simipu and joint: what learns from what, resuming, and the encoder's way on."""
from dataclasses import replace

from conftest import FRAMES, NARROW
from crossview_ros.config import from_dict, to_dict
from crossview_ros.errors import CheckpointError, ConfigError
from crossview_ros.export.pretraining import without_points
from crossview_ros.networks.croco import CroCo
from crossview_ros.networks.downstream import ModelConfig, MultiTaskModel
from crossview_ros.networks.heads import MatchingHeadConfig
from crossview_ros.training.loop import Trainer
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.run_state import RunFolder
from crossview_ros.training.setup import load_run, start_from
from crossview_ros.training.tasks import TASKS
import pytest
import torch

LEVEL = {'samplers': [{'by': 'distance', 'num_samples': 0.5}], 'out_channels': 12,
         'rings': [{'max_radius': 2.0, 'num_neighbours': 4, 'channels': [4, 8]}]}
CONTRAST = {'points': {'levels': [LEVEL], 'relative_xyz': True}, 'project_hidden': 16,
            'project_dim': 8}
RESNET = {'preset': 'simipu', 'backbone': {'num_blocks': [1, 1, 1, 1], 'width': 4}}
CLOUDS = {'flip_probability': 0.0, 'points': {'num_points': 64, 'min_xyz': [0, -60, -60],
                                              'max_xyz': [60, 60, 60]},
          'image': {'long_side_px': [48, 80], 'short_side_px': [48, 80], 'channels': 'rgb',
                    'mean': [123.675, 116.28, 103.53], 'std': [58.395, 57.12, 57.375]}}


def run_config(task='simipu', model=None, contrast=None, **values):
    model = {'preset': f'crossview_tiny_{task}', 'backbone': NARROW, **(model or {})}
    return from_dict(RunConfig, {
        'task': task, 'steps': 6, 'batch_size': 2, 'log_every': 1, 'validate_every': 3,
        'checkpoint_every': 2, 'model': {'mask_ratio': 0.75, **model, 'contrast': {
            **CONTRAST, **(contrast or {})}},
        'data': {**FRAMES, 'frames': to_dict(FRAMES['frames']), 'clouds': CLOUDS},
        'optimizer': {'lr': 2e-3, 'warmup_steps': 1}, **values}, 'test')


@pytest.fixture
def make(frames, tmp_path):
    """Return a function that makes a Trainer in a folder."""
    def trainer(folder='run', reports=None, **changes):
        config = run_config(**changes)
        task = TASKS[config.task](config)
        torch.manual_seed(0)
        model = task.build()
        train, validation = (task.batches(path, config, model.config) for path in frames)
        run = RunFolder(tmp_path / folder)
        if not (tmp_path / folder / 'last.pt').exists():
            run.create(config)
        report = (lambda record: None) if reports is None else reports.append
        return Trainer(config, model, task, train, validation, run, report)
    return trainer


def parts(names):
    """Cut names of weights to their parts, the ones below completion and contrast included."""
    return {'.'.join(name.split('.')[:1 + name.startswith(('completion', 'contrast'))])
            for name in names}


def reached(trainer, **weights):
    """Name the parts that the weighted losses of a batch move."""
    config = replace(trainer.config, contrast=replace(trainer.config.contrast, **weights))
    trainer.task.config = config
    loss = trainer.task.step(trainer.model, trainer.training.training_batch(0)).loss
    named = [(name, p) for name, p in trainer.model.named_parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss, [p for _, p in named], allow_unused=True)
    return parts(name for (name, _), g in zip(named, gradients) if g is not None and g.any())


@pytest.mark.parametrize('reference, inter', [
    ('faithful', {'image_branch', 'image_inter'}),
    ('fixed', {'image_branch', 'image_inter', 'point_branch', 'point_inter'})])
@pytest.mark.parametrize('image', [{}, RESNET])
def test_gradients_flow_where_the_reference_says(make, reference, inter, image):
    trainer = make(model=image, contrast={'reference': reference})
    assert reached(trainer, intra_weight=0.0) == inter
    assert reached(trainer, inter_weight=0.0) == {'point_branch', 'point_intra'}
    idle = {name.split('.')[0] for name, p in trainer.model.named_parameters()
            if not p.requires_grad}
    assert idle == ({'point_inter'} if reference == 'faithful' else set())


def test_each_term_of_the_joint_loss_trains_its_parts(make):
    # branches that start at zero would let nothing through
    trainer = make(task='joint', model={'backbone': {**NARROW, 'residual_init': 'xavier'}})
    nothing = {'completion_weight': 0.0, 'inter_weight': 0.0, 'intra_weight': 0.0}
    contrast = {f'contrast.{name}' for name in ('point_branch', 'point_inter', 'image_inter')}
    assert reached(trainer, **{**nothing, 'inter_weight': 1.0}) \
        == contrast | {'completion.encoder'}
    assert reached(trainer, **{**nothing, 'intra_weight': 1.0}) \
        == {'contrast.point_branch', 'contrast.point_intra'}
    assert reached(trainer, **{**nothing, 'completion_weight': 1.0}) \
        == {f'completion.{name}' for name in ('encoder', 'decoder', 'head')}


@pytest.mark.parametrize('task', ['simipu', 'joint'])
def test_losses_fall_on_a_batch_that_is_seen_again_and_again(make, task):
    trainer = make(task=task)
    batch = trainer.training.training_batch(0)
    optimizer = torch.optim.AdamW(trainer.model.parameters(), 3e-3)
    seen = []
    for _ in range(30):
        output = trainer.task.step(trainer.model, batch)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        seen.append({name: float(value) for name, value in output.scalars.items()})
    for name in ('inter', 'intra', 'completion')[:3 if task == 'joint' else 2]:
        assert seen[-1][name] < 0.85 * seen[0][name], name
    assert seen[-1]['inter_top10th_percent'] > 60 > 30 > seen[0]['inter_top10th_percent']


@pytest.mark.parametrize('task, contrast', [
    ('simipu', {'momentum': {'queue_length': 128, 'decay': 0.9}}), ('joint', {})])
def test_a_resumed_run_is_the_same_to_the_last_bit(make, task, contrast):
    whole = make('whole', task=task, contrast=contrast)
    whole.fit()
    for _ in range(6):   # a leg that is over at once does one step
        leg = make('legs', task=task, contrast=contrast)
        if (leg.folder.path / 'last.pt').exists():
            leg.resume()
        leg.fit(leg_s=0)
    assert leg.step == whole.step == 6
    own = leg.model.state_dict()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(own[name], value), name
    if contrast:
        assert int(own['queue_ptr']) == 6 * 64 % 128


def test_the_queue_holds_the_newest_features(make):
    trainer = make(contrast={'momentum': {'queue_length': 128}})
    batch = trainer.training.training_batch(0)
    before = trainer.model.queue.clone()
    trainer.task.step(trainer.model, batch)
    assert int(trainer.model.queue_ptr) == 64   # 2 frames of 32 points
    assert torch.equal(trainer.model.queue[64:], before[64:])
    assert not torch.equal(trainer.model.queue[:64], before[:64])


@pytest.mark.parametrize('task', ['simipu', 'joint'])
def test_a_run_logs_its_scores_beside_chance_and_gives_its_encoder_on(make, task, tmp_path):
    reports = []
    trainer = make(reports=reports, task=task)
    trainer.fit()
    assert {'val_inter_top10th_percent', 'val_inter_top10th_chance_percent',
            'val_match_within_2_cells_percent', 'val_match_within_2_cells_chance_percent'} \
        <= set(reports[-1])
    assert ('val_reference_gain_percent' in reports[-1]) == (task == 'joint')
    _, architecture, weights, _ = load_run(tmp_path / 'run')
    assert architecture == trainer.model.config
    croco = architecture.croco if task == 'joint' else architecture.vit
    sizes = {'feature_dim': 16, 'hidden_dim': 8, 'fine_hidden_dim': 8, 'fine_dim': 8}
    model = MultiTaskModel(ModelConfig(croco, {
        'stereo': MatchingHeadConfig('row', fine_radius=2, **sizes)}))
    copied = start_from(model, str(tmp_path / 'run'))
    assert {name.split('.')[0] for name in copied} \
        == ({'encoder', 'decoder'} if task == 'joint' else {'encoder'})
    prefix = 'completion.encoder.' if task == 'joint' else 'image_branch.'
    for name, value in model.encoder.state_dict().items():
        assert torch.equal(value, weights[prefix + name]), name
    again = make('again', task=task).model
    start_from(again, str(tmp_path / 'run'))
    for name, value in again.state_dict().items():
        assert torch.equal(value, weights[name]), name


def test_a_part_does_not_depend_on_how_far_other_images_reach(make):
    trainer = make()
    trainer.model.eval()
    batch = trainer.training.training_batch(0)
    alone = {name: value[:1] for name, value in batch.items()}
    rows, cols = alone['pad_hw'][0].tolist()
    wide = {**alone, 'image': torch.nn.functional.pad(
        alone['image'][..., :rows, :cols], (0, 32, 0, 32))}
    losses = [float(trainer.task.step(trainer.model, part).loss.detach())
              for part in (alone, wide)]
    assert losses[0] == losses[1]


@pytest.mark.parametrize('changes, message', [
    ({'model': {'preset': 'crossview_tiny'}}, "preset 'crossview_tiny' for task simipu; known: "),
    ({'contrast': {'projects': 3}}, "unknown key 'projects'"),
    ({'model': {'backbone': {**NARROW, 'patch_size': 16, 'stem': 'patch'}},
      'data': {**FRAMES, 'frames': to_dict(FRAMES['frames']),
               'clouds': {'image': {'multiple_px': 24}}}}, 'multiple of the patch size 16')])
def test_runs_that_cannot_be_built_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        TASKS['simipu'](run_config(**changes)).build()


def test_a_joint_run_is_exported_as_its_croco_model_and_a_simipu_run_says_what_to_do(make):
    model = make(task='joint').model
    architecture, weights = without_points(model.config, model.state_dict())
    croco = CroCo(architecture)
    croco.load_state_dict(weights)   # strict
    assert torch.equal(croco.head.weight, model.completion.head.weight)
    assert without_points(architecture, weights) == (architecture, weights)
    with pytest.raises(CheckpointError, match='model.start_from'):
        without_points(model.contrast.config, {})
