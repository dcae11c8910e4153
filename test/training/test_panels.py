# SPDX-License-Identifier: Apache-2.0
"""Pictures show what they say: hidden patches, completions, colours of disparity and flow."""
from crossview_ros.networks.croco import CompletionOutput
from crossview_ros.networks.patches import patchify
from crossview_ros.training.board import open_board
from crossview_ros.training.panels import disparity_colours, flow_colours, panels
from crossview_ros.training.pixel_loss import patch_statistics
import pytest
import torch


def test_a_perfect_completion_looks_like_the_target(make_completion_trainer, tmp_path):
    trainer = make_completion_trainer(tmp_path / 'run', [])
    batch = next(iter(trainer.validation.validation_batches(2)))

    def perfect(target, reference, mask):
        patches = patchify(target, trainer.model.config.patch_size)
        mean, std = patch_statistics(patches)
        return CompletionOutput((patches - mean) / std, mask)
    trainer.model.forward = perfect
    picture = panels(trainer.config, trainer.model, batch)['completion']
    assert picture.shape == (3, 2 * 32, 4 * 48)   # two samples, four columns
    masked, completed, target, reference = picture.split(48, 2)
    torch.testing.assert_close(completed, target, rtol=0, atol=1e-5)
    assert not torch.equal(target, reference)
    # int(0.75 * 6) = 4 patches of 6 are hidden: there, and only there, the target does not show
    hidden = batch['mask'].view(2, 2, 3).repeat_interleave(16, 1).repeat_interleave(16, 2)
    shown = (masked - target).abs().amax(0).view(2, 32, 48) < 1e-6
    assert shown[~hidden].all() and shown[hidden].float().mean() < 0.1


@pytest.mark.parametrize('task', ['stereo', 'flow', 'multi'])
def test_each_head_has_a_picture_beside_its_truth(make_trainer, tmp_path, task):
    trainer = make_trainer(tmp_path / 'run', [], task=task)
    batch = next(iter(trainer.validation.validation_batches(2)))
    pictures = panels(trainer.config, trainer.model.eval(), batch)
    assert set(pictures) == {'stereo', 'flow'} if task == 'multi' else {task}
    for picture in pictures.values():
        assert picture.shape == (3, 2 * 32, 4 * 64)
        assert 0 <= picture.min() and picture.max() <= 1


def test_disparity_runs_from_blue_to_red_and_unknown_is_black():
    share = torch.tensor([0.0, 0.5, 1.0, torch.nan]).view(1, 1, 1, 4)
    far, middle, near, unknown = disparity_colours(share)[0, :, 0].T.tolist()
    assert far == [0, 0, 0.5] and near == [0.5, 0, 0]
    assert middle == [0.5, 1, 0.5] and unknown == [0, 0, 0]


def test_flow_is_white_at_rest_and_opposite_directions_are_complements():
    flow = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [torch.nan, 0.0]])
    rest, right, left, unknown = flow_colours(flow.T.view(1, 2, 1, 4))[0, :, 0].T
    torch.testing.assert_close(rest, torch.ones(3))
    torch.testing.assert_close(right + left, torch.ones(3))
    torch.testing.assert_close(right, torch.tensor([1.0, 0.25, 0.25]))
    assert unknown.tolist() == [0, 0, 0]


def test_a_run_leaves_curves_and_pictures_for_tensorboard(make_completion_trainer, tmp_path):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    make_completion_trainer(tmp_path / 'run', [], steps=3).fit()
    events = accumulator.EventAccumulator(str(tmp_path / 'run' / 'tensorboard')).Reload()
    assert [e.step for e in events.Scalars('training/loss')] == [1, 2, 3]
    assert [e.step for e in events.Scalars('validation/loss')] == [3]
    assert [e.step for e in events.Images('completion')] == [3]


def test_without_tensorboard_a_run_goes_on_and_says_so(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__('sys').modules, 'torch.utils.tensorboard', None)
    with pytest.warns(UserWarning, match=r'tensorboard is not installed.*\[train\]'):
        assert open_board(tmp_path, 0) is None
