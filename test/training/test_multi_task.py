# SPDX-License-Identifier: Apache-2.0
"""Promises of task multi: pose beside stereo and flow, as two views alone can tell it."""
from dataclasses import replace

from crossview_ros.config import from_dict
from crossview_ros.errors import ConfigError
from crossview_ros.export.model_folder import output_specs
from crossview_ros.geometry.se3 import exp_se3
from crossview_ros.networks.downstream import MultiTaskModel
from crossview_ros.networks.heads import PoseHeadConfig
from crossview_ros.networks.presets import MODEL_PRESETS
from crossview_ros.runtime.manifest import OutputSpec
from crossview_ros.training.augmentation import crop_and_scale
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.seen_motion import rays, seen_motion
from crossview_ros.training.tasks import TASKS
from crossview_ros.training.tasks.matching import MatchingTask
import numpy as np
import pytest
from small_model import small_architecture
import torch

DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}
FOCAL_PX = 80.0
TWIST = (0.06, -0.04, 0.1, 0.012, -0.016, 0.02)


@pytest.fixture
def with_pose(monkeypatch):
    """Return the architecture of a narrow preset with three heads."""
    dense = small_architecture()
    config = replace(dense, heads={**dense.heads, 'pose': PoseHeadConfig(16)})
    monkeypatch.setitem(MODEL_PRESETS, 'narrow_pose', lambda: config)
    monkeypatch.setitem(MODEL_PRESETS, 'narrow', lambda: dense)
    return config


def open_task(preset='narrow_pose', kind=TASKS['multi'], **values):
    """Return a task, its network and the config."""
    config = from_dict(RunConfig, {'task': 'multi', 'steps': 1, 'batch_size': 4, 'data': DATA,
                                   'model': {'preset': preset}, **values}, 'test')
    task = kind(config)
    torch.manual_seed(0)
    return task, task.build(), config


def window_of(seed):
    """Return a random window of a slanted wall, and where the previous view shows its points."""
    size_hw, focal, baseline = (96, 128), torch.tensor([110.0]), torch.tensor([0.2])
    ray = rays(focal, size_hw)
    depth = 4 / (1 - 0.2 * ray[:, :1])
    T = torch.tensor(exp_se3(np.array(TWIST)))[None].float()
    points = torch.cat((ray, torch.ones_like(ray[:, :1])), 1) * depth
    moved = torch.einsum('bij,bjhw->bihw', T[:, :3, :3], points) + T[:, :3, 3, None, None]
    fields = {'left': torch.zeros(1, 3, *size_hw), 'ray': ray, 'focal': focal,
              'disparity': focal * baseline / depth, 'then': moved[:, :2] / moved[:, 2:]}
    out = crop_and_scale(fields, (64, 80), (0.9, 1.4), torch.Generator().manual_seed(seed))
    return {**out, 'baseline': baseline, 'T_previous_left': T}


@pytest.mark.parametrize('seed', range(6))
def test_the_truth_moves_the_pixels_of_any_window_as_they_move(seed):
    batch = window_of(seed)
    rows, cols = batch['left'].shape[-2:]
    ray = batch['ray'][0]
    slope = torch.stack((ray[0, 0, -1] - ray[0, 0, 0], ray[1, -1, 0] - ray[1, 0, 0])) \
        / torch.tensor((cols - 1, rows - 1))
    middle = ray.mean((1, 2))
    # [px] from the middle of the window: here, and where the previous view shows the same
    here, then = ((value - middle[:, None, None]) / slope[:, None, None]
                  for value in (ray, batch['then'][0]))
    depth = 1 / batch['disparity'][0, 0]
    T = seen_motion(batch, FOCAL_PX)[0]
    # the canonical camera looks at the middle of the window and sees the same pixels
    points = torch.cat((here / FOCAL_PX, torch.ones_like(depth)[None])) * depth / depth.median()
    moved = torch.einsum('ij,jhw->ihw', T[:3, :3], points) + T[:3, 3, None, None]
    error = FOCAL_PX * moved[:2] / moved[2:] - then
    # a lens off its axis leaves some percent
    assert error.norm(dim=0).mean() < 0.12 * (here - then).norm(dim=0).mean()


def test_windows_of_the_test_above_are_of_both_kinds():
    upright = {bool(batch['ray'][0, 1, 0, 0] < batch['ray'][0, 1, -1, 0])
               for batch in map(window_of, range(6))}
    assert upright == {True, False}


def test_in_the_middle_the_truth_is_that_of_the_camera_with_other_lengths():
    T = torch.tensor(exp_se3(np.array((0.3, -0.2, 0.5, 0, 0, 0.1)))).float()[None]
    batch = {'ray': rays(torch.tensor([160.0]), (33, 65)), 'T_previous_left': T,
             'disparity': torch.full((1, 1, 33, 65), 8.0), 'focal': torch.tensor([160.0]),
             'baseline': torch.tensor([0.1])}   # 2 m away
    expected = T[0].clone()
    expected[:3, 3] *= torch.tensor((2.0, 2.0, 1.0)) / 2   # twice the focal length
    torch.testing.assert_close(seen_motion(batch, FOCAL_PX)[0], expected, atol=1e-5, rtol=0)


def test_a_preset_with_a_pose_head_trains_it_on_the_pass_of_the_flow(with_pose, records):
    task, model, config = open_task()
    passes = []
    model.decoder.register_forward_hook(lambda *_: passes.append(1))
    batch = task.batches(records[0], config, model.config).training_batch(0)
    output = task.step(model, batch)
    assert len(passes) == 2   # stereo, flow
    assert {'stereo_epe_px', 'flow_epe_px', 'pose_translation_depths', 'pose_rotation_deg',
            'pose_nll'} <= set(output.scalars)
    output.loss.backward()
    assert model.heads['pose'].leave.weight.grad.abs().sum() > 0
    # the identity at first: what is missed is the motion itself
    length = seen_motion(batch, 256.0)[:, :3, 3].norm(dim=1).mean()
    assert output.scalars['pose_translation_depths'].item() == pytest.approx(length.item(), 1e-4)


def test_heads_may_train_on_a_share_of_the_rows(with_pose, records):
    task, model, config = open_task(head_share={'flow': 0.25})
    batch = task.batches(records[0], config, model.config).training_batch(0)
    part = task.step(model, batch)
    everything = open_task()[0]
    whole = everything.step(model, batch)
    first = everything.step(model, {name: value[:1] for name, value in batch.items()})
    for name, value in part.scalars.items():
        expected = whole if name.startswith('stereo') else first
        torch.testing.assert_close(value, expected.scalars[name])
    assert first.scalars['flow_epe_px'] != whole.scalars['flow_epe_px']


@pytest.mark.parametrize('share, message', [
    ({'pose': 0.5}, r"names \['pose'\]; task multi shares rows among \['stereo', 'flow'\]"),
    ({'flow': 0}, r'head_share must lie in \(0, 1\]')])
def test_impossible_shares_are_refused(with_pose, share, message):
    with pytest.raises(ConfigError, match=message):
        open_task(head_share=share)


def test_a_fresh_pose_head_leaves_the_others_their_share_of_the_gradient(with_pose, records):
    task, model, config = open_task()
    batch = task.batches(records[0], config, model.config).training_batch(0)
    task.step(model, batch).loss.backward()
    norms = {name: torch.stack([p.grad.norm() for p in part.parameters()
                                if p.grad is not None]).norm()
             for name, part in model.heads.items()}
    assert norms['pose'] < 3 * norms['flow']


def test_the_pose_head_learns_four_records_by_heart(with_pose, records):
    task, model, config = open_task()
    batch = next(task.batches(records[0], config, model.config).validation_batches(4))
    before = task.validate(model, [batch])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 25)
    for _ in range(25):
        loss = task.step(model, batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    after = task.validate(model, [batch])
    for name in ('pose_translation_depths', 'pose_rotation_deg'):
        assert after[name] < 0.5 * before[name]
    assert task.score(after) == after['stereo_epe_px'] + after['flow_epe_px']


def test_heads_that_share_a_pass_answer_as_they_do_alone(with_pose):
    model = MultiTaskModel(with_pose).eval()
    torch.nn.init.normal_(model.heads['pose'].leave.weight, std=0.1)
    with torch.no_grad():
        views = model.encode_views(list(torch.randn(2, 1, 3, 64, 96)))
        together = model.predict_all('flow', *views)
        alone = {task: model.predict(task, *views) for task in together}
        assert list(model.predict_all('stereo', *views)) == ['stereo']
    assert list(together) == ['flow', 'pose']
    torch.testing.assert_close(together['flow'].value, alone['flow'].value)
    torch.testing.assert_close(together['pose'].T_1_2, alone['pose'].T_1_2)


def test_without_a_pose_head_multi_is_stereo_and_flow_bit_for_bit(with_pose, records):
    losses, kinds = [], []
    for kind in (TASKS['multi'], lambda config: MatchingTask(config, ('stereo', 'flow'))):
        task, model, config = open_task('narrow', kind)
        batches = task.batches(records[0], config, model.config)
        kinds.append(batches.kind.names)
        losses.append(task.step(model, batches.training_batch(3)).loss)
    assert torch.equal(*losses) and kinds[0] == kinds[1]
    assert list(model.heads) == ['stereo', 'flow']


def test_the_manifest_says_that_lengths_are_relative(with_pose):
    spec = output_specs(open_task()[1].config)['pose']
    assert spec == OutputSpec('median depth', 'laplace', focal_px=256.0, metric=False)
    assert output_specs(with_pose)['pose'] == OutputSpec('m', 'laplace')


def test_a_preset_without_matching_heads_is_refused():
    with pytest.raises(ConfigError, match=r"'crossview_tiny_pose' has no head for \['flow', "):
        open_task('crossview_tiny_pose')


def test_an_impossible_canonical_camera_is_refused():
    with pytest.raises(ValueError, match='focal_px must be above 0 or None, got 0.0'):
        PoseHeadConfig(8, focal_px=0.0)
