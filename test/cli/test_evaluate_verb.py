# SPDX-License-Identifier: Apache-2.0
"""The verb evaluate: what it prints, and what it refuses."""
import json

from crossview_ros.cli.main import main
from crossview_ros.data import io
import numpy as np
import pytest


@pytest.fixture
def stereo_folder(tmp_path):
    """Write two samples: disparity 10 px, and left half 10 px, right half 30 px."""
    for name, right_half in (('a', 10), ('b', 30)):
        folder = tmp_path / name
        folder.mkdir()
        for image in ('left.png', 'right.png'):
            io.write_image(folder / image, np.zeros((40, 48, 3), np.uint8))
        disparity = np.full((40, 48), 10, np.float32)
        disparity[:, 24:] = right_half
        io.write_scaled_png(folder / 'disp_gt.png', disparity)
    return tmp_path


def test_the_table_has_a_row_for_each_sample_and_the_mean(stereo_folder, capsys):
    assert main(['evaluate', 'stereo', str(stereo_folder), '--baseline', 'constant']) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ['sample', 'method', 'epe', 'bad-1', 'bad-2', 'bad-3', 'D1', 'coverage',
                       'time']
    assert rows[1] == ['px', '-', '-', '-', '-', '-', 'ms']
    # the best constant of b, 20 px, is 10 px off everywhere
    assert [row[:8] for row in rows[2:]] == [
        ['a', 'constant', '0.000', '0.000', '0.000', '0.000', '0.000', '1.000'],
        ['b', 'constant', '10.000', '1.000', '1.000', '1.000', '1.000', '1.000'],
        ['mean', 'constant', '5.000', '0.500', '0.500', '0.500', '0.500', '1.000']]


def test_json_has_values_with_units(stereo_folder, capsys):
    assert main(['evaluate', 'stereo', str(stereo_folder), '--baseline', 'constant',
                 '--baseline', 'sgbm', '--json']) == 0

    data = json.loads(capsys.readouterr().out)
    assert (data['task'], data['scale']) == ('stereo', 1.0)
    assert [(row['sample'], row['method']) for row in data['scores']] == [
        ('a', 'constant'), ('a', 'sgbm'), ('b', 'constant'), ('b', 'sgbm')]
    assert data['mean'][0]['metrics']['epe'] == {'value': 5.0, 'unit': 'px'}


def test_files_of_their_own_are_scored_without_a_mean(stereo_folder, capsys):
    folder = stereo_folder / 'b'
    assert main(['evaluate', 'stereo', '--left', str(folder / 'left.png'), '--right',
                 str(folder / 'right.png'), '--truth', str(folder / 'disp_gt.png'),
                 '--truth-format', 'kitti', '--baseline', 'constant']) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == \
        ['sample', 'px', 'left']


def test_flow_has_its_own_columns(tmp_path, capsys):
    for image in ('frame1.png', 'frame2.png'):
        io.write_image(tmp_path / image, np.zeros((40, 48, 3), np.uint8))
    io.write_flo(tmp_path / 'flow_gt.flo', np.tile(np.float32([3, 4]), (40, 48, 1)))

    assert main(['evaluate', 'flow', str(tmp_path), '--baseline', 'zero']) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][2:] == ['epe', 'Fl', 'coverage', 'time']
    assert rows[2][1:5] == ['zero', '5.000', '1.000', '1.000']


def test_depth_says_what_it_leaves_out(stereo_folder, capsys):
    (stereo_folder / 'a' / 'calib.json').write_text(json.dumps({
        'fx': 60, 'fy': 60, 'cx_left': 20, 'cx_right': 20, 'cy': 19, 'baseline_m': 0.5}))

    assert main(['evaluate', 'depth', str(stereo_folder), '--baseline', 'constant']) == 0

    captured = capsys.readouterr()
    assert "note: 'b' left out" in captured.err
    assert captured.out.splitlines()[2].split()[:4] == ['a', 'constant', '0.000', '0.000']


@pytest.mark.parametrize('arguments, message', [
    (['stereo'], 'expected a PATH with samples, or --left, --right and --truth'),
    (['stereo', '--left', 'l.png'], 'a single pair needs --left, --right and --truth'),
    (['stereo', 'nowhere'], 'nowhere: is no folder'),
    (['stereo', 'nowhere', '--calib', 'c.json'], '--calib and --truth-format belong to --left'),
    (['stereo', '{folder}', '--baseline', 'dis'], "no baseline 'dis' for stereo"),
    (['stereo', '{folder}', '--model', 'nothing'], "no model 'nothing'"),
    (['stereo', '{folder}', '--size', '240'], "--size expects HxW, e.g. 240x320; got '240'"),
    (['stereo', '{folder}', '--baseline', 'sgbm', '--scale', '2'], 'scale must be above 0'),
    (['depth', '{folder}', '--baseline', 'sgbm'], 'none of 2 samples can be evaluated for depth')])
def test_what_cannot_be_done_is_told_in_one_line(stereo_folder, capsys, arguments, message):
    arguments = [text.format(folder=stereo_folder) for text in arguments]

    assert main(['evaluate', *arguments]) == 1

    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error


def test_a_wrong_task_is_wrong_usage(capsys):
    assert main(['evaluate', 'sound', 'x']) == 2
    assert 'invalid choice' in capsys.readouterr().err
