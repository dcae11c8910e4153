# SPDX-License-Identifier: Apache-2.0
"""Calibrations of data sets become rigs in px and metres, or None where a value is open."""
import json

from crossview_ros.data.calibration_files import read_rig
from crossview_ros.errors import CalibrationError, DatasetError
import pytest

SIZE_HW = (50, 80)
VALUES = {'width': 80, 'height': 50, 'fx': 90.0, 'fy': 90.0, 'cx_left': 38.0, 'cx_right': 41.0,
          'cy': 25.0, 'baseline_m': 0.2}


@pytest.fixture
def write(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return path
    return write


def test_json_gives_a_rig_with_doffs(write):
    rig = read_rig(write('calib.json', {**VALUES, 'doffs': 3.0, 'note': 'x'}), SIZE_HW)

    assert (rig.left.fx, rig.left.cx, rig.left.cy, rig.baseline) == (90, 38, 25, 0.2)
    assert rig.doffs == 3 and rig.left.size_hw == SIZE_HW


@pytest.mark.parametrize('name', ['fx', 'cx_right', 'baseline_m'])
def test_an_open_value_leaves_no_rig(write, name):
    assert read_rig(write('a.json', {**VALUES, name: 'unknown'}), SIZE_HW) is None
    del (values := dict(VALUES))[name]
    assert read_rig(write('b.json', values), SIZE_HW) is None


def test_middlebury_text_is_read_in_millimetres(write):
    rig = read_rig(write('calib.txt', 'cam0=[90 0 38; 0 91 25; 0 0 1]\n'
                         'cam1=[90 0 41; 0 91 25; 0 0 1]\ndoffs=3\nbaseline=193.001\n'
                         'width=80\nheight=50\nndisp=20\n'), SIZE_HW)

    assert (rig.left.fx, rig.left.fy, rig.left.cx, rig.right.cx) == (90, 91, 38, 41)
    assert rig.baseline == pytest.approx(0.193001)


def test_kitti_text_gives_the_baseline_of_the_colour_cameras(write):
    # camera 2 sits 0.06 m left of camera 0, camera 3 at 0.47 m right of it: P[3] = -fx x
    rig = read_rig(write('000000.txt', 'S_rect_02: 80 50\n'
                         'P_rect_02: 700 0 40 42 0 700 25 0 0 0 1 0\n'
                         'P_rect_03: 700 0 40 -329 0 700 25 0 0 0 1 0\n'), SIZE_HW)

    assert rig.baseline == pytest.approx(0.06 + 0.47) and rig.doffs == 0


@pytest.mark.parametrize('name, text, message', [
    ('a.json', '{', 'is not valid JSON'),
    ('a.json', '[]', 'expected a JSON object, got list'),
    ('a.json', {**VALUES, 'width': 81}, 'for images of 81 x 50 px, but they are 80 x 50'),
    ('a.txt', 'hello', 'no calibration of a known format: expected 9 numbers'),
    ('a.txt', 'cam0=[1 2]', "expected 9 numbers, got '.1 2.'"),
    ('a.txt', 'P_rect_02: 1 2 x', 'expected 12 numbers')])
def test_damaged_files_are_refused(write, name, text, message):
    with pytest.raises(DatasetError, match=message):
        read_rig(write(name, text), SIZE_HW)


def test_a_missing_file_and_a_swapped_pair_are_refused(write, tmp_path):
    with pytest.raises(DatasetError, match='cannot be read: No such file'):
        read_rig(tmp_path / 'calib.json', SIZE_HW)
    with pytest.raises(CalibrationError, match='are left and right swapped'):
        read_rig(write('a.json', {**VALUES, 'baseline_m': -0.2}), SIZE_HW)
