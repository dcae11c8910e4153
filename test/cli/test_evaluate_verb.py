# SPDX-License-Identifier: Apache-2.0
"""The verb evaluate: what it prints, and what it refuses."""
import json

from crossview_ros.cli.main import main
from crossview_ros.data import io
from crossview_ros.geometry.tiling import TileLayout
from dpt_folders import random_network, write_folder
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
    assert [row[:8] for row in rows[2:5]] == [
        ['a', 'constant', '0.000', '0.000', '0.000', '0.000', '0.000', '1.000'],
        ['b', 'constant', '10.000', '1.000', '1.000', '1.000', '1.000', '1.000'],
        ['mean', 'constant', '5.000', '0.500', '0.500', '0.500', '0.500', '1.000']]
    assert rows[5:] == [
        [], ['pooled', 'constant', 'unit'], ['L1err', '5.000', 'px'],
        *(['bad@' + limit, '50.000', '%'] for limit in ('0.5', '1.0', '2.0', '3.0')),
        ['D1-all', '50.000', '%'], ['coverage', '100.000', '%']]


def test_a_converted_model_is_measured_by_windows_as_close_as_asked_for(stereo_folder, tmp_path,
                                                                        capsys):
    write_folder(tmp_path / 'croco', {'stereo': random_network('stereo')}, {'stereo': (32, 32)})
    calls = []

    def windows(*options):
        assert main(['evaluate', 'stereo', str(stereo_folder / 'a'), '--model',
                     str(tmp_path / 'croco'), '--json', '--mode', 'tiled', *options]) == 0
        return json.loads(capsys.readouterr().out)['scores'][0]['metrics']['epe']['value']

    with pytest.MonkeyPatch.context() as patch:
        create = TileLayout.create.__func__

        def counted(cls, image_hw, spec, overlap=None):
            layout = create(cls, image_hw, spec, overlap)
            calls.append((image_hw, len(layout.corners)))
            return layout
        patch.setattr(TileLayout, 'create', classmethod(counted))
        errors = {overlap: (windows(*overlap), calls[-1])
                  for overlap in ((), ('--tile-overlap', '0.9'), ('--tile-overlap', '0'))}
    # 40 x 48 px in steps of at most 9.6, 3.2, 32 px; (1 - 0.9) * 32 is less than 16 / 5
    assert [count for _, (size_hw, count) in errors.values()] == [2 * 3, 4 * 7, 2 * 2]
    assert all(size_hw == (40, 48) for _, (size_hw, _) in errors.values())
    assert all(error > 0 for error, _ in errors.values())


def test_an_impossible_overlap_is_refused(stereo_folder, tmp_path, capsys):
    write_folder(tmp_path / 'croco', {'stereo': random_network('stereo')}, {'stereo': (32, 32)})
    assert main(['evaluate', 'stereo', str(stereo_folder / 'a'), '--model',
                 str(tmp_path / 'croco'), '--mode', 'tiled', '--tile-overlap', '1']) == 1
    assert 'tile_overlap must be in [0, 1)' in capsys.readouterr().err


def test_json_has_values_with_units(stereo_folder, capsys):
    assert main(['evaluate', 'stereo', str(stereo_folder), '--baseline', 'constant',
                 '--baseline', 'sgbm', '--json']) == 0

    data = json.loads(capsys.readouterr().out)
    assert (data['task'], data['scale']) == ('stereo', 1.0)
    assert [(row['sample'], row['method']) for row in data['scores']] == [
        ('a', 'constant'), ('a', 'sgbm'), ('b', 'constant'), ('b', 'sgbm')]
    assert data['mean'][0]['metrics']['epe'] == {'value': 5.0, 'unit': 'px'}
    assert data['pooled'][0]['metrics']['D1-all'] == {'value': 50.0, 'unit': '%'}


def test_pictures_show_each_answer(stereo_folder, tmp_path, capsys):
    pytest.importorskip('matplotlib')
    folder = tmp_path / 'pictures'
    assert main(['evaluate', 'stereo', str(stereo_folder), '--baseline', 'constant',
                 '--pictures', str(folder)]) == 0
    written = sorted(path.name for path in folder.iterdir())
    assert written == ['stereo_a_constant.png', 'stereo_b_constant.png']
    a, b = (io.read_image(folder / name) for name in written)
    assert a.shape[1] > 600
    assert (a != b).any()   # of other truths and errors


def test_files_of_their_own_are_scored_without_a_mean(stereo_folder, capsys):
    folder = stereo_folder / 'b'
    assert main(['evaluate', 'stereo', '--left', str(folder / 'left.png'), '--right',
                 str(folder / 'right.png'), '--truth', str(folder / 'disp_gt.png'),
                 '--truth-format', 'kitti', '--baseline', 'constant']) == 0

    table = capsys.readouterr().out.partition('\n\n')[0]
    assert [line.split()[0] for line in table.splitlines()] == ['sample', 'px', 'left']


def test_flow_has_its_own_columns(tmp_path, capsys):
    for image in ('frame1.png', 'frame2.png'):
        io.write_image(tmp_path / image, np.zeros((40, 48, 3), np.uint8))
    io.write_flo(tmp_path / 'flow_gt.flo', np.tile(np.float32([3, 4]), (40, 48, 1)))

    assert main(['evaluate', 'flow', str(tmp_path), '--baseline', 'zero']) == 0

    captured = capsys.readouterr()
    rows = [line.split() for line in captured.out.splitlines()]
    assert rows[0][2:] == ['epe', 'Fl', 'coverage', 'time']
    assert rows[2][1:5] == ['zero', '5.000', '1.000', '1.000']
    assert ['L1err', '7.000', 'px'] in rows and ['Fl-all', '100.000', '%'] in rows
    assert ['s0-10', '5.000', 'px'] in rows and ['s40+', 'nan', 'px'] in rows
    assert 'note: nan: no true pixel in s10-40, s40+' in captured.err


def test_depth_says_what_it_leaves_out(stereo_folder, capsys):
    (stereo_folder / 'a' / 'calib.json').write_text(json.dumps({
        'fx': 60, 'fy': 60, 'cx_left': 20, 'cx_right': 20, 'cy': 19, 'baseline_m': 0.5}))

    assert main(['evaluate', 'depth', str(stereo_folder), '--baseline', 'constant']) == 0

    captured = capsys.readouterr()
    assert "note: 'b' left out" in captured.err
    assert captured.out.splitlines()[2].split()[:6] == ['a', 'constant', *['1.000'] * 3, '0.000']


def test_an_answer_from_a_file_is_scored_without_a_model(tmp_path, capsys):
    for name, value in (('mine', 3), ('true', 2)):
        np.save(tmp_path / f'{name}.npy', np.full((4, 6), value, np.float32))

    assert main(['evaluate', 'depth', '--estimate', str(tmp_path / 'mine.npy'), '--truth',
                 str(tmp_path / 'true.npy')]) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ['sample', 'method', 'd1', 'd2', 'd3', 'abs_rel', 'sq_rel', 'rmse',
                       'rmse_log', 'log10', 'silog', 'coverage', 'time']
    # 3 against 2: ln 1.5 = 0.405, log10 1.5 = 0.176
    assert rows[2] == ['mine', 'mine.npy', '0.000', '1.000', '1.000', '0.500', '0.500', '1.000',
                       '0.405', '0.176', '0.000', '1.000', '-']


@pytest.fixture
def trajectories(tmp_path):
    """Write 30 poses on a circle of 10 m, and the 20 first ones moved and 1 m higher."""
    lines = [(0.1 * k, 10 * np.cos(0.1 * k), 10 * np.sin(0.1 * k), 0) for k in range(30)]
    for name, count, height in (('reference', 30, 0), ('estimate', 20, 1)):
        (tmp_path / f'{name}.tum').write_text('\n'.join(
            f'{t:.3f} {x:.9f} {y:.9f} {z + height} 0 0 0 1' for t, x, y, z in lines[:count]))
    return [str(tmp_path / 'estimate.tum'), str(tmp_path / 'reference.tum')]


def test_a_trajectory_has_errors_with_units_and_its_coverage(trajectories, capsys):
    assert main(['evaluate', 'trajectory', *trajectories, '--align', 'none']) == 0

    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ['error', 'rmse', 'mean', 'median', 'max', 'unit']
    assert rows[1] == ['APE', 'translation', *['1.0000'] * 4, 'm']
    assert rows[2] == ['APE', 'rotation', *['0.0000'] * 4, 'deg']
    assert rows[3] == ['RPE', 'translation', *['0.0000'] * 4, 'm']
    assert ['coverage,', 'paired', '0.6667', '-'] in rows
    assert ['paired', 'poses', '20', '-'] in rows and ['reference', 'poses', '30', '-'] in rows


def test_json_of_a_trajectory_names_what_was_done(trajectories, capsys):
    assert main(['evaluate', 'trajectory', *trajectories, '--json', '--max-difference',
                 '0.01']) == 0

    data = json.loads(capsys.readouterr().out)
    assert (data['task'], data['align'], data['max_difference_s'], data['num_pairs']) == (
        'trajectory', 'se3', 0.01, 20)
    assert data['metrics']['ape']['unit'] == 'm'
    assert data['metrics']['ape']['rmse'] == pytest.approx(0, abs=1e-6)   # the height is fitted
    assert data['metrics']['coverage'] == {'value': 20 / 30, 'unit': '-'}
    assert data['metrics']['drift']['unit'] == '%'


@pytest.mark.parametrize('arguments, message', [
    (['stereo'], 'expected a PATH with samples, or --left, --right and --truth'),
    (['stereo', '--left', 'l.png'], 'a single pair needs --left, --right and --truth'),
    (['stereo', 'nowhere'], 'nowhere: is no folder'),
    (['stereo', 'nowhere', '--calib', 'c.json'], '--calib and --truth-format belong to --left'),
    (['stereo', '{folder}', '--baseline', 'dis'], "no baseline 'dis' for stereo"),
    (['stereo', '{folder}', '--model', 'nothing'], "no model 'nothing'"),
    (['stereo', '{folder}', '--size', '240'], "--size expects HxW, e.g. 240x320; got '240'"),
    (['stereo', '{folder}', '--baseline', 'sgbm', '--scale', '2'], 'scale must be above 0'),
    (['depth', '--estimate', 'a.png'], '--estimate needs --truth, and neither images nor a'),
    (['flow', 'x', '--estimate', 'a', '--truth', 'b'], '--estimate needs --truth, and neither'),
    (['depth', '--estimate', 'a.png', '--truth', 'b.png'], 'a.png: cannot be read'),
    (['trajectory', 'nowhere.tum', 'b'], 'nowhere.tum: cannot be read'),
    (['depth', '{folder}', '--baseline', 'sgbm'], 'none of 2 samples can be evaluated for depth')])
def test_what_cannot_be_done_is_told_in_one_line(stereo_folder, capsys, arguments, message):
    arguments = [text.format(folder=stereo_folder) for text in arguments]

    assert main(['evaluate', *arguments]) == 1

    error = capsys.readouterr().err
    assert message in error and 'Traceback' not in error


def test_a_wrong_task_is_wrong_usage(capsys):
    assert main(['evaluate', 'sound', 'x']) == 2
    assert 'invalid choice' in capsys.readouterr().err
