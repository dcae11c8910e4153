# SPDX-License-Identifier: Apache-2.0
"""The page of parameters says what the settings say."""
import dataclasses
import importlib.util

from crossview_ros.ros.node_parameters import PerceptionNodeParameters
from crossview_ros.ros.settings import ros_name
import pytest


@pytest.fixture(scope='module')
def reference(root):
    """Return .ci/parameter_reference.py as a module."""
    spec = importlib.util.spec_from_file_location(
        'parameter_reference', root / '.ci' / 'parameter_reference.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(reference):
    assert reference.PAGE.read_text() == reference.page(), f'run: {reference.COMMAND}'


def test_every_setting_has_a_row_of_all_columns(reference):
    rows = [line for line in reference.page().splitlines() if line.startswith('| `')]
    assert [row.split('`')[1] for row in rows] == [
        ros_name(item) for item in dataclasses.fields(PerceptionNodeParameters)]
    assert all(row.replace('\\|', '').count('|') == 7 for row in rows)


@pytest.mark.parametrize('row', [
    '| `max_depth` | double | `80.0` | 0.01 to 10000 | yes | farther depths are published as +Inf '
    '[m] |',
    '| `mode` | string | `stereo` | `stereo`, `sequential` |  | rectified stereo pair, or one '
    'moving camera |',
    '| `rectify` | boolean | `false` |  |  | false: the images are rectified; true: rectify them '
    'with their camera_info |'])
def test_a_row_tells_type_default_range_and_whether_it_changes(reference, row):
    assert row in reference.page().splitlines()
