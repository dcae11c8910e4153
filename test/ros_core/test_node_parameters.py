# SPDX-License-Identifier: Apache-2.0
"""The settings of the node: what is refused, and that the shipped file holds the defaults."""
import dataclasses

from crossview_ros.errors import ConfigError
from crossview_ros.ros.model_loader import engine_tasks_of, open_perception, wanted_tasks
from crossview_ros.ros.node_parameters import defaults_of, PerceptionNodeParameters, TASKS
from crossview_ros.ros.settings import ros_name
import pytest
import yaml

FIELDS = dataclasses.fields(PerceptionNodeParameters)
DEFAULTS = PerceptionNodeParameters()


def flat(values, prefix=''):
    """Return nested parameters as {name with dots: value}."""
    pairs = {}
    for key, value in values.items():
        if isinstance(value, dict):
            pairs.update(flat(value, f'{prefix}{key}.'))
        else:
            pairs[prefix + key] = value
    return pairs


def test_the_shipped_file_holds_every_parameter_with_its_default(root):
    text = (root / 'config' / 'nodes' / 'perception.yaml').read_text()
    ((node, sections),) = yaml.safe_load(text).items()
    given = flat(sections['ros__parameters'])
    assert node == '/**'
    assert given == DEFAULTS.as_dict()
    assert {name: type(value) for name, value in given.items()} == {
        name: type(value) for name, value in DEFAULTS.as_dict().items()}
    assert DEFAULTS.changed(given) == DEFAULTS


@pytest.mark.parametrize('task', TASKS)
def test_the_file_of_a_node_for_one_task_holds_its_defaults(root, task):
    text = (root / 'config' / 'nodes' / f'{task}.yaml').read_text()
    given = flat(yaml.safe_load(text)['/**']['ros__parameters'])
    defaults = defaults_of(task)
    assert defaults.tasks == (task,)
    assert defaults.changed(given) == defaults


@pytest.mark.parametrize('item', FIELDS, ids=ros_name)
def test_every_parameter_is_described_and_every_number_has_a_range(item):
    assert len(item.metadata['description']) > 10
    if type(item.default) in (int, float):
        low, high = item.metadata['low'], item.metadata['high']
        assert low <= item.default <= high
        for outside in (low - 1, high + 1):
            with pytest.raises(ConfigError, match=f'{ros_name(item)} must be from'):
                DEFAULTS.changed({ros_name(item): type(item.default)(outside)})


@pytest.mark.parametrize('values, text', [
    ({'min_depth': 5.0, 'max_depth': 5.0}, 'min_depth must be less than max_depth'),
    ({'backend': 'tensorflow'}, "backend must be one of .* got 'tensorflow'"),
    ({'backend': 'tensort'}, "did you mean 'tensorrt'"),
    ({'max_depth': float('nan')}, 'max_depth must be a finite number'),
    ({'max_depth': 'far'}, "max_depth must be a number, got 'far'"),
    ({'point_cloud_stride': 2.5}, 'point_cloud_stride must be a whole number'),
    ({'point_cloud_stride': True}, 'point_cloud_stride must be a whole number'),
    ({'approx_sync': 1}, 'approx_sync must be true or false'),
    ({'inference.width': 320}, 'inference.width and inference.height go together'),
    ({'inference.mode': 'tile'}, "inference.mode must be one of single, tiled.*mean 'tiled'"),
    ({'inference.tile_overlap': 1.0}, 'inference.tile_overlap must be from 0 to 0.99'),
    ({'odom_frame': ''}, "must be two different names, got '' and 'base_link'"),
    ({'base_frame': 'odom'}, 'must be two different names'),
    ({'extrinsics.base_camera': [1.0] * 6}, 'extrinsics.base_camera must hold 7 finite numbers'),
    ({'extrinsics.camera_lidar': [1.0] * 7}, 'extrinsics.camera_lidar: .* must have length 1'),
    ({'extrinsics.base_camera': 'here'}, 'extrinsics.base_camera must be a list of numbers'),
    ({'extrinsics.base_camera': [float('inf')] * 7}, 'must hold 7 finite numbers'),
    ({f'{task}.enabled': False for task in TASKS}, 'nothing to do'),
    ({'max_dept': 5.0}, "unknown parameter 'max_dept'; did you mean 'max_depth'"),
])
def test_what_cannot_be_used_is_refused_in_plain_words(values, text):
    with pytest.raises(ConfigError, match=text):
        DEFAULTS.changed(values)


def test_a_whole_number_serves_where_a_number_is_asked_for():
    changed = DEFAULTS.changed({'max_depth': 20})
    assert changed.max_depth == 20.0
    assert isinstance(changed.max_depth, float)


@pytest.mark.parametrize('value', [[], (), [0, 0, 0, 0, 0, 0, 0]])
def test_an_empty_pose_or_one_of_zeros_is_not_given(value):
    assert DEFAULTS.changed({'extrinsics.base_camera': value}) == DEFAULTS


@pytest.mark.parametrize('values, heads, tasks', [
    ({}, ('flow', 'stereo'), ['stereo', 'flow', 'odometry']),
    ({}, ('depth', 'flow', 'stereo'), ['stereo', 'flow', 'odometry']),
    ({'mode': 'sequential'}, ('depth', 'flow', 'stereo'), ['depth', 'flow', 'odometry']),
    ({'mode': 'sequential'}, ('flow', 'stereo'), ['flow']),
    ({'mode': 'sequential', 'odometry.enabled': False, 'flow.enabled': False},
     ('depth', 'flow', 'stereo'), ['depth']),
    ({'mode': 'sequential', 'depth.enabled': False, 'flow.enabled': False},
     ('depth', 'flow', 'stereo'), ['depth', 'flow', 'odometry'])])
def test_the_mode_decides_which_depth_head_the_engine_runs(values, heads, tasks):
    settings = DEFAULTS.changed(values)
    possible = engine_tasks_of(heads, settings.mode)
    assert [task for task in wanted_tasks(settings) if task in possible] == tasks


def test_the_inference_size_is_height_before_width():
    changed = DEFAULTS.changed({'inference.width': 320, 'inference.height': 240})
    assert changed.inference_size_hw == (240, 320)
    assert DEFAULTS.inference_size_hw is None


@pytest.mark.parametrize('values, expected', [
    ({}, {'inference_mode': 'single', 'inference_size': None, 'tile_overlap': None}),
    ({'inference.mode': 'tiled', 'inference.tile_overlap': 0.9, 'inference.tile_batch': 2,
      'inference.width': 640, 'inference.height': 480},
     {'inference_mode': 'tiled', 'inference_size': (480, 640), 'tile_overlap': 0.9,
      'tile_batch': 2})])
def test_how_images_go_through_the_network_reaches_the_engine(monkeypatch, values, expected):
    from crossview_ros.runtime.perception import Perception
    given = {}

    class Opened:

        def warm_up(self):
            """Nothing to warm up."""
    monkeypatch.setattr(Perception, 'open',
                        lambda model, **options: given.update(options) or Opened())
    open_perception(DEFAULTS.changed(values), lambda text: None)
    assert expected.items() <= given.items()
