# SPDX-License-Identifier: Apache-2.0
"""The verb pairs: what it prints and writes, and what it says where nothing comes out."""
import json
import os
import shutil
import subprocess
import sys

from crossview_ros.cli.main import main
from crossview_ros.data.io import read_image
from crossview_ros.data.pair_shards import PairShards
import pytest
from wall_bag import HEIGHT, WIDTH, write_wall_bag


def test_pairs_prints_a_table_and_writes_all_files(tmp_path, capsys):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40, 40, 80], cloud_offset_ns=0)
    out = tmp_path / 'out'
    assert main(['pairs', str(bag), str(out)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    counts = {line[2]: line[3] for line in lines if line[:2] == ['bag', '/left/image_rect']}
    assert counts['stereo'] == '3' and counts['cloud'] == '3'
    assert ['bag', '/left/image_rect', 'image', '1', 'near-duplicate', 'of', 'an', 'earlier',
            'view'] in lines
    assert {path.name for path in out.iterdir()} == {
        'pairs-000000.tar', 'clouds-000000.tar', 'index.json', 'state.json', 'statistics.json',
        'sheet.png'}
    assert len(PairShards(out)) == 5   # and two sequential ones
    sheet = read_image(out / 'sheet.png')
    assert sheet.std() > 20


def test_json_holds_the_figures_of_the_table(tmp_path, capsys):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40, 80], stereo=False)
    assert main(['pairs', str(bag), str(tmp_path / 'out'), '--json']) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((tmp_path / 'out' / 'statistics.json').read_text())
    (row,) = figures['pairs']
    assert (row['kind'], row['count'], row['method']) == ('sequential', 2, 'depth')
    # one step of 40 px shares 0.875, two share 0.75
    assert 0.74 < row['median_covisibility'] < 0.88
    assert figures['total'] == 2


def test_flags_reach_the_pairs(tmp_path, capsys):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40, 80])
    flags = ['--left', '/right/image_rect', '--size', '96x128', '--max-pairs', '1']
    assert main(['pairs', str(bag), str(tmp_path / 'out'), *flags]) == 0
    pairs = PairShards(tmp_path / 'out')
    assert len(pairs) == 1
    assert pairs[0].target.shape == (96, 128, 3)
    assert pairs.shards.info(0)['target']['topic'] == '/right/image_rect'


def test_nothing_selected_tells_the_reasons_with_their_counts(tmp_path, capsys):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40, 80], change=lambda index, image: image // 20)
    assert main(['pairs', str(bag), str(tmp_path / 'out')]) == 1
    error = capsys.readouterr().err
    assert 'no pair was selected' in error
    assert '3 image darker than 20 of 255' in error


def test_a_bag_without_a_camera_is_told(tmp_path, capsys):
    bag = write_wall_bag(tmp_path / 'bag', [])
    assert main(['pairs', str(bag), str(tmp_path / 'out')]) == 1
    assert 'the bag holds no images' in capsys.readouterr().err


@pytest.mark.parametrize('size', ['256', '256x', 'axb', '-2x3'])
def test_a_size_that_is_none_is_wrong_usage(tmp_path, size):
    assert main(['pairs', 'bag', 'out', f'--size={size}']) == 2


@pytest.mark.slow
def test_memory_does_not_grow_with_the_bag(tmp_path, root):
    used_mb = []
    for gigabytes in (1, 3):
        frames = round(gigabytes * 1e9 / (7 * HEIGHT * WIDTH * 4**2))   # 3 of colour, 4 of depth
        bag = write_wall_bag(tmp_path / 'bag', range(0, frames * 40, 40), stereo=False, scale=4)
        assert sum(file.stat().st_size for file in bag.iterdir()) > 0.99e9 * gigabytes
        used_mb.append(memory_mb(root, 'pairs', bag, tmp_path / f'out{gigabytes}', '--shard-mb',
                                 '16'))
        shutil.rmtree(bag)
    assert max(used_mb) < 1000
    assert used_mb[1] < used_mb[0] + 30   # some bytes for each pair


def memory_mb(root, *arguments):
    """Run a verb in a fresh process; return how much its memory grew after the imports."""
    code = ('import resource, sys\n'
            'import crossview_ros.cli.pairs, crossview_ros.replay.pair_statistics\n'
            'import cv2, rosbags.highlevel, tqdm\n'
            'from crossview_ros.cli.main import main\n'
            'def peak_mb():\n'
            '    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n'
            'before = peak_mb()\n'
            'assert main(sys.argv[1:]) == 0\n'
            'print(peak_mb() - before)\n')
    done = subprocess.run([sys.executable, '-c', code, *arguments], capture_output=True,
                          text=True, timeout=1200, env={**os.environ, 'PYTHONPATH': str(root)})
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])
