# SPDX-License-Identifier: Apache-2.0
"""Pairs of a camera that moves along a wall: their overlap is known, and so is what is dropped."""
from collections import Counter
import hashlib
import os
from pathlib import Path
import subprocess
import sys

from crossview_ros.data.pair_shards import ImagePointShards, PairShards, Shards
from crossview_ros.errors import ConfigError, DatasetError, MessageError
from crossview_ros.geometry.projection import project_points
from crossview_ros.geometry.se3 import make_transform, transform_points
from crossview_ros.replay.pair_options import PairOptions
from crossview_ros.replay.pair_run import mine_pairs
import cv2
import numpy as np
import pytest
from wall_bag import (
    BASELINE, CAMERA, DISPARITY, FX, lidar_points, METRES_PER_PIXEL, STEP_NS, T_CAMERA_LIDAR,
    wall, WIDTH, write_wall_bag)

CELL_SHARE = 1 / 12   # matching sees overlap in cells of a twelfth of the width


def moved(x):
    """Return the pose of a camera that has gone to the right [m]."""
    return make_transform(np.eye(3), (x, 0, 0))


def mine(folder, bag, **options):
    """Mine one bag; return the state and the facts of every pair."""
    state = mine_pairs([bag], folder, PairOptions(**options))
    return state, [shards.info(index) for kind in ('pairs', 'clouds')
                   for shards in [Shards(folder, kind)] for index in range(len(shards))]


def digests(folder):
    """Return the content of a folder's files."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(folder.iterdir())}


def test_stereo_pairs_carry_the_overlap_of_their_disparity(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40])
    _, infos = mine(tmp_path / 'out', bag)
    stereo = [info for info in infos if info['kind'] == 'stereo']
    assert len(stereo) == 2
    for number, info in enumerate(stereo):
        assert info['covisibility'] == pytest.approx(1 - DISPARITY / WIDTH, abs=CELL_SHARE)
        sides = [info[name]['topic'] for name in ('target', 'reference')]
        left_first = number % 2 == 0
        assert sides == ['/left/image_rect', '/right/image_rect'][::1 if left_first else -1]
        # a point at x in the left camera lies at x - B in the right one
        assert info['T_reference_target'][0][3] == pytest.approx(
            -BASELINE if left_first else BASELINE)


@pytest.mark.parametrize('truth', [True, False])
def test_sequential_pairs_keep_within_the_wished_covisibility(tmp_path, truth):
    bag = write_wall_bag(tmp_path / 'bag', range(0, 400, 40), stereo=False, truth=truth)
    _, infos = mine(tmp_path / 'out', bag, min_covisibility=0.6, max_covisibility=0.95)
    assert {info['method'] for info in infos} == {'depth' if truth else 'matches'}
    steps = Counter()
    for info in infos:
        apart_ns = abs(info['target']['stamp_ns'] - info['reference']['stamp_ns'])
        steps[apart_ns // STEP_NS] += 1
        shared = 1 - 40 * apart_ns / STEP_NS / WIDTH
        assert info['covisibility'] == pytest.approx(shared, abs=0.02 if truth else CELL_SHARE)
    # 1, 2 and 3 steps share 0.875, 0.75 and 0.625; they take turns
    assert set(steps) == {1, 2, 3} if truth else {1, 2} <= set(steps) <= {1, 2, 3}
    assert len(infos) == 9


def test_the_motion_of_a_sequential_pair_maps_the_target_into_the_reference(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', range(0, 200, 40), stereo=False)
    _, infos = mine(tmp_path / 'out', bag)
    for info in infos:
        frames = [info[side]['stamp_ns'] / STEP_NS for side in ('target', 'reference')]
        expected = 40 * METRES_PER_PIXEL * (frames[0] - frames[1])
        np.testing.assert_allclose(info['T_reference_target'], moved(expected), atol=1e-9)
    assert {np.sign(info['T_reference_target'][0][3]) for info in infos} == {-1, 1}


def test_pictures_are_those_of_the_bag(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40], stereo=False)
    mine(tmp_path / 'out', bag)
    sample = PairShards(tmp_path / 'out')[0]
    picture = wall(WIDTH + DISPARITY + 41).mean(-1)
    for image, shift in ((sample.reference, 40), (sample.target, 0)):   # frame 1 is swapped
        # JPEG at 95 keeps brightness to some grey values; other views differ by 40
        assert np.abs(image.mean(-1) - picture[:, shift:shift + WIDTH]).mean() < 6


def test_a_camera_that_stands_still_gives_one_view(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0] * 6)
    state, infos = mine(tmp_path / 'out', bag)
    assert [info['kind'] for info in infos] == ['stereo']
    (dropped,) = state.dropped.values()
    assert dropped['image'] == {'near-duplicate of an earlier view': 5}


@pytest.mark.parametrize('spoil, reason', [
    (lambda image: image // 20, 'darker than 20 of 255'),
    (lambda image: cv2.GaussianBlur(image, (0, 0), 12), 'blurred (sharpness below 30)'),
])
def test_dark_and_blurred_images_are_left_out(tmp_path, spoil, reason):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40, 80, 120], stereo=False,
                         change=lambda index, image: spoil(image) if index in (1, 2) else image)
    state, infos = mine(tmp_path / 'out', bag)
    (dropped,) = state.dropped.values()
    assert dropped['image'] == {reason: 2}
    assert [abs(info['target']['stamp_ns'] - info['reference']['stamp_ns']) // STEP_NS
            for info in infos] == [3]


def test_a_far_wall_has_too_little_parallax(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 10], stereo=False)   # 10 px of 300: 1.9 deg
    assert len(mine(tmp_path / 'near', bag)[1]) == 1
    with pytest.raises(DatasetError, match='1 sequential parallax below 2 deg'):
        mine(tmp_path / 'far', bag, min_parallax_deg=2.0)


def test_a_cloud_is_paired_by_calibration_and_cut_to_the_image(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40], stereo=False, cloud_offset_ns=30_000_000)
    mine(tmp_path / 'out', bag)
    samples = ImagePointShards(tmp_path / 'out')
    assert len(samples) == 2
    points = transform_points(T_CAMERA_LIDAR, lidar_points())
    in_view = project_points(points, CAMERA)[2]
    assert 0 < in_view.sum() < len(points)
    np.testing.assert_allclose(samples[1].points, points[in_view], atol=1e-6)
    assert samples[1].camera == CAMERA
    assert samples.shards.info(1)['cloud_offset_ms'] == 30


def test_a_cloud_of_another_time_is_not_paired(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40], stereo=False, cloud_offset_ns=30_000_000)
    state, infos = mine(tmp_path / 'out', bag, max_cloud_offset_s=0.02)
    assert [info['kind'] for info in infos] == ['sequential']
    (dropped,) = state.dropped.values()
    assert dropped['cloud'] == {'no usable cloud within 20 ms': 2}


def test_size_cuts_the_middle_and_the_camera_with_it(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 20], stereo=False, cloud_offset_ns=0)
    mine(tmp_path / 'out', bag, size_hw=(120, 120))
    sample = ImagePointShards(tmp_path / 'out')[0]
    assert sample.image.shape == (120, 120, 3)
    # 240 of 320 columns from column 40, then halved
    assert (sample.camera.fx, sample.camera.cx) == (FX / 2, (159.5 - 40) / 2)
    assert project_points(sample.points, sample.camera)[2].all()


def test_no_more_pairs_than_wished(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', range(0, 200, 40))
    assert len(mine(tmp_path / 'out', bag, max_pairs=4)[1]) == 4


def test_a_damaged_bag_keeps_what_was_read_before(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', range(0, 240, 40), stereo=False, truth=False)
    file = bag / 'bag.mcap'
    parts = file.read_bytes().split(b'\x05\x00\x00\x00rgb8\x00')
    assert len(parts) == 7
    # the length of the fifth image's encoding becomes huge
    head, tail = (b'\x05\x00\x00\x00rgb8\x00'.join(side) for side in (parts[:5], parts[5:]))
    file.write_bytes(head + b'\xff\xff\xff\x7frgb8\x00' + tail)
    state, infos = mine(tmp_path / 'out', bag)
    assert len(infos) == 3   # of the four images before
    assert 'cannot be read' in state.notes[0]
    assert 'what was read before is kept' in state.notes[0]


def test_a_bag_that_cannot_be_opened_does_not_stop_the_others(tmp_path):
    good = write_wall_bag(tmp_path / 'good', [0, 40], stereo=False)
    bad = tmp_path / 'bad.mcap'
    bad.write_bytes(b'no bag')
    state = mine_pairs([bad, good], tmp_path / 'out', PairOptions())
    assert state.records == 1
    assert 'bad.mcap' in state.notes[0]
    with pytest.raises(MessageError, match='bad.mcap: the bag cannot be read'):
        mine_pairs([bad], tmp_path / 'other', PairOptions())


def test_a_missing_bag_is_told_before_anything_is_read(tmp_path):
    with pytest.raises(MessageError, match='no such bag'):
        mine_pairs([tmp_path / 'none'], tmp_path / 'out', PairOptions())


def test_no_pair_reaches_from_one_bag_into_another(tmp_path):
    bags = [write_wall_bag(tmp_path / name, [0, 40], stereo=False) for name in 'ab']
    state = mine_pairs(bags, tmp_path / 'out', PairOptions())
    assert state.records == 2
    assert [kinds['sequential']['no earlier view'] for kinds in state.dropped.values()] == [1, 1]


@pytest.mark.parametrize('last_frame', [0, 11])
def test_a_killed_run_goes_on_to_the_same_files(tmp_path, last_frame):
    bags = [write_wall_bag(tmp_path / name, range(0, 240, 30), cloud_offset_ns=0)
            for name in ('first', 'second')]
    options = 'PairOptions(shard_mb=0.4, window=3)'
    code = ('import os, signal, sys\nfrom pathlib import Path\n'
            'from crossview_ros.replay.pair_options import PairOptions\n'
            'from crossview_ros.replay.pair_run import mine_pairs\n'
            'def kill(done, total):\n'
            f'    if done > {last_frame}:\n        os.kill(os.getpid(), signal.SIGKILL)\n'
            'bags, out = map(Path, sys.argv[1:3]), Path(sys.argv[3])\n'
            f'mine_pairs(list(bags), out, {options}, kill)\n')
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, '-c', code, *map(str, bags), tmp_path / 'killed'],
                          env={**os.environ, 'PYTHONPATH': str(root)}, timeout=60)
    assert done.returncode == -9
    left = {path.name for path in (tmp_path / 'killed').iterdir()}
    assert 'index.json' not in left and 'state.json' in left
    assert ('pairs-000000.tar' in left) == (last_frame > 0)
    for name in ('killed', 'whole'):
        mine_pairs(bags, tmp_path / name, PairOptions(shard_mb=0.4, window=3))
    assert len([name for name in digests(tmp_path / 'whole') if name.startswith('pairs')]) > 2
    assert digests(tmp_path / 'killed') == digests(tmp_path / 'whole')


def test_a_finished_run_is_not_repeated_and_another_one_is_refused(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40], stereo=False)
    mine(tmp_path / 'out', bag)
    before = digests(tmp_path / 'out')
    mine(tmp_path / 'out', bag)
    assert digests(tmp_path / 'out') == before
    with pytest.raises(DatasetError, match='begun with other bags or options'):
        mine(tmp_path / 'out', bag, min_covisibility=0.6)


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    bag = write_wall_bag(tmp_path / 'bag', [0, 40], stereo=False)
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'thesis.tex').write_text('precious')
    with pytest.raises(DatasetError, match='is not empty'):
        mine(tmp_path / 'out', bag)


@pytest.mark.parametrize('options', [
    {'min_covisibility': 0.7, 'max_covisibility': 0.6}, {'max_covisibility': 1.1},
    {'jpeg_quality': 101}, {'size_hw': (8, 256)}, {'window': 0}, {'shard_mb': 0.0}])
def test_options_that_cannot_be_meant_are_refused(options):
    with pytest.raises(ConfigError):
        PairOptions(**options)


def test_images_with_lens_distortion_are_told(shared_dir, tmp_path):
    bag = shared_dir / 'data' / 'bags' / 'tum_fr1_desk'
    state, _ = mine(tmp_path / 'raw', bag)
    assert 'not rectified' in state.notes[0]
    state, _ = mine(tmp_path / 'rectified', bag, rectify=True, min_parallax_deg=0.2)
    assert not any('not rectified' in note for note in state.notes)


def test_a_real_camera_that_stands_still_gives_one_view(shared_dir, tmp_path):
    bag = shared_dir / 'data' / 'bags' / 'euroc_v101_static_a'
    state, infos = mine(tmp_path / 'out', bag, rectify=True)
    (dropped,) = state.dropped.values()
    assert dropped['image'] == {'near-duplicate of an earlier view': 23}
    assert [info['kind'] for info in infos] == ['stereo']


def test_every_real_camera_is_paired_with_the_cloud(shared_dir, tmp_path):
    _, infos = mine(tmp_path / 'out', shared_dir / 'data' / 'bags' / 'nuscenes_n015')
    # points in view as the README of the data counts them: 3056 to 4822, to the pixel's border
    expected = {'FRONT': 3056, 'FRONT_RIGHT': 3076, 'FRONT_LEFT': 3700, 'BACK': 4822,
                'BACK_LEFT': 4091, 'BACK_RIGHT': 3370}
    found = {info['topic'].split('/')[1].removeprefix('CAM_'): info['num_points']
             for info in infos}
    assert found == pytest.approx(expected, rel=0.005)
