# SPDX-License-Identifier: Apache-2.0
"""Scenes that are rendered while training become harder as its config says."""
import json

from crossview_ros.config import from_dict
from crossview_ros.data.synthetic.difficulty import pairs_of, scenes_of
from crossview_ros.data.synthetic.draw import Draw
from crossview_ros.data.synthetic.random_scene import sample_scenes, SceneConfig
from crossview_ros.data.synthetic.view_pairs import PairConfig
from crossview_ros.errors import ConfigError
from crossview_ros.training import records as records_module
from crossview_ros.training.data_config import DifficultyConfig
from crossview_ros.training.records import OnlineBatches
from crossview_ros.training.run_config import RunConfig
import pytest
import torch

PAIRS = {'num_records': 32, 'size_hw': (48, 64), 'crop_hw': (32, 48), 'scale_range': (1.0, 1.0),
         'num_validation': 32}
DATA = {'num_records': 8, 'size_hw': (64, 96), 'crop_hw': (32, 64), 'num_validation': 4}
LEVELS = (0.0, 0.3, 0.7, 1.0)
SIZE_HW = (120, 160)


def drawn(level):
    """Draw many scenes of a level with the same numbers wherever the level allows it."""
    return sample_scenes(400, SIZE_HW, scenes_of(level, SceneConfig()), 4,
                         Draw(torch.Generator().manual_seed(5)))


def test_harder_scenes_have_more_things_larger_disparities_and_more_motion():
    figures = []
    for level in LEVELS:
        scenes, view = drawn(level)
        things = scenes.velocity[:, :-1]   # the room comes last
        moving = (things.abs().amax(-1) > 0).float()
        walk = view.T_world_previous[:, :3, 3].norm(dim=-1) / view.baseline
        figures.append((things.shape[1], moving.sum(1).mean().item(),
                        scenes.shadow.gt(0).float().mean().item(),
                        (walk * view.focal * view.baseline).median().item()))
    for easier, harder in zip(figures, figures[1:]):
        assert all(a < b for a, b in zip(easier, harder))
    assert figures[0] == (3, 0, 0, 0) and figures[-1][0] == 22
    # of the nearest thing, in shares of the width: up to 0.03 * 7^level
    shares = [scenes_of(level, SceneConfig()).disparity_share for level in LEVELS]
    assert [low for low, _ in shares] == [0.03] * 4
    assert [high for _, high in shares] == pytest.approx([0.03 * 7 ** level for level in LEVELS])


def test_harder_pairs_are_farther_apart():
    ranges = [pairs_of(level, PairConfig()) for level in LEVELS]
    assert [config.motion_range[1] for config in ranges] \
        == pytest.approx([0.08 * 6.25 ** level for level in LEVELS])
    assert [config.noise_deg[0] for config in ranges] == pytest.approx([0, 3, 7, 10])


def test_the_full_difficulty_is_what_there_was_without_one():
    assert scenes_of(1, SceneConfig()) == SceneConfig() and pairs_of(1, PairConfig()) \
        == PairConfig()


def test_the_level_rises_along_a_line_and_stays():
    difficulty = DifficultyConfig(0.2, 0.8, 10)
    assert [difficulty.level(step) for step in (0, 5, 10, 99)] \
        == pytest.approx([0.2, 0.5, 0.8, 0.8])
    assert DifficultyConfig(0.3, 1.0, 7).level(7) == 1   # exactly: nothing is left out


@pytest.mark.parametrize('values, message', [
    ({'difficulty': {'start': 0.3}}, 'set data.online=true'),
    ({'online': True, 'difficulty': {'start': 1.5}}, r'in \[0, 1\]'),
    ({'online': True, 'difficulty': {'steps': 0}}, 'at least 1')])
def test_impossible_schedules_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        from_dict(RunConfig, {'task': 'stereo', 'steps': 1, 'data': values}, 'test')


@pytest.mark.parametrize('kind', ['make_trainer', 'make_completion_trainer'])
def test_a_step_is_as_hard_as_its_number_says_in_a_resumed_run_too(kind, request, tmp_path,
                                                                   monkeypatch):
    monkeypatch.setattr(records_module, 'ATLAS_SIZE', 8)   # quick to make
    make = request.getfixturevalue(kind)
    values = {'steps': 2, 'checkpoint_every': 1, 'validate_every': 2, 'batch_size': 2,
              'data': {**(PAIRS if kind == 'make_completion_trainer' else DATA), 'online': True,
                       'difficulty': {'start': 0.2, 'end': 0.6, 'steps': 2}}}
    levels = []

    def trainer(name):
        made = make(tmp_path / name, [], **values)
        render = made.training.render
        monkeypatch.setattr(made.training, 'render', lambda count, atlas, draw, level:
                            levels.append(level) or render(count, atlas, draw, level))
        made.training = OnlineBatches(made.training, torch.device('cpu'))
        return made
    whole = trainer('whole')
    batch = whole.training.training_batch(1)
    assert levels == pytest.approx([0.4])
    whole.fit()
    trainer('legs').fit(leg_s=0)
    resumed = trainer('legs')
    resumed.resume()
    again = resumed.training.training_batch(1)
    for name, value in batch.items():
        assert torch.equal(value.nan_to_num(-1), again[name].nan_to_num(-1)), name
    resumed.fit()
    logs = [[json.loads(line) for line in (tmp_path / name / 'metrics.jsonl').read_text()
             .splitlines()] for name in ('whole', 'legs')]
    curves = [[(r['step'], r['difficulty'], r['loss']) for r in log if 'loss' in r]
              for log in logs]
    assert curves[0] == curves[1]
    assert [level for _, level, _ in curves[0]] == pytest.approx([0.2, 0.4])
