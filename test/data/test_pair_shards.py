# SPDX-License-Identifier: Apache-2.0
"""Shards of pairs: plain tar files, read at random, equal bytes each time."""
from io import BytesIO
import json
import tarfile

from crossview_ros.data.pair_shards import (
    ImagePointShards, PairShards, Shards, ShardWriter, write_index)
from crossview_ros.errors import DatasetError
import cv2
import numpy as np
import pytest

T_CAMERA_LIDAR = [[0, -1, 0, 0.5], [0, 0, -1, 0], [1, 0, 0, 2], [0, 0, 0, 1]]
CAMERA = {'width': 24, 'height': 16, 'fx': 20.0, 'fy': 21.0, 'cx': 11.5, 'cy': 7.5}


def flat_jpeg(grey):
    """Return a JPEG of one grey value, which JPEG keeps exactly."""
    return cv2.imencode('.jpg', np.full((16, 24, 3), grey, np.uint8))[1].tobytes()


def write_folder(folder, counts=(3, 2)):
    """Write pairs into shards of the given sizes: pair k is of the greys 10 k and 10 k + 5."""
    folder.mkdir()
    number = 0
    for shard, count in enumerate(counts):
        writer = ShardWriter(folder, shard)
        for _ in range(count):
            writer.add('pairs', f'{number:08d}', {
                'target.jpg': flat_jpeg(10 * number), 'reference.jpg': flat_jpeg(10 * number + 5),
                'json': json.dumps({'number': number}).encode()})
            number += 1
        writer.close()
    write_index(folder)
    return folder


def write_cloud_folder(folder):
    """Write one image with two points."""
    folder.mkdir()
    file = BytesIO()
    np.save(file, np.array([[1, 2, 3], [4, 5, 6]], np.float32))
    writer = ShardWriter(folder, 0)
    writer.add('clouds', '00000000', {
        'image.jpg': flat_jpeg(7), 'points.npy': file.getvalue(),
        'json': json.dumps({'camera': CAMERA, 'T_camera_lidar': T_CAMERA_LIDAR}).encode()})
    writer.close()
    write_index(folder)
    return folder


@pytest.mark.parametrize('order', [(4, 0, 2), (-1, 3, 1)])
def test_any_pair_is_read_without_the_ones_before_it(tmp_path, order):
    pairs = PairShards(write_folder(tmp_path / 'pairs'))
    assert len(pairs) == 5
    for index in order:
        sample, number = pairs[index], index % 5
        assert sample.name == f'{number:08d}'
        assert (sample.target == 10 * number).all()
        assert (sample.reference == 10 * number + 5).all()
        assert pairs.shards.info(index) == {'number': number}


def test_numbers_beyond_the_end_are_an_index_error(tmp_path):
    with pytest.raises(IndexError):
        PairShards(write_folder(tmp_path / 'pairs'))[5]


def test_a_shard_is_a_tar_whose_members_of_one_sample_follow_each_other(tmp_path):
    folder = write_folder(tmp_path / 'pairs')
    with tarfile.open(folder / 'pairs-000001.tar') as tar:
        names = tar.getnames()
    assert names == [f'{key}.{member}' for key in ('00000003', '00000004')
                     for member in ('target.jpg', 'reference.jpg', 'json')]


def test_equal_samples_give_equal_bytes(tmp_path):
    first, second = (write_folder(tmp_path / name) for name in 'ab')
    names = sorted(path.name for path in first.iterdir())
    assert names == ['index.json', 'pairs-000000.tar', 'pairs-000001.tar']
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()


def test_a_shard_has_its_name_only_when_it_is_complete(tmp_path):
    writer = ShardWriter(tmp_path, 0)
    writer.add('pairs', '0', {'target.jpg': b'a', 'reference.jpg': b'b', 'json': b'{}'})
    assert [path.name for path in tmp_path.iterdir()] == ['pairs-000000.tar.part']
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ['pairs-000000.tar']


def test_points_are_given_in_the_frame_of_the_camera(tmp_path):
    sample = ImagePointShards(write_cloud_folder(tmp_path / 'clouds'))[0]
    # x' = -y + 0.5, y' = -z, z' = x + 2
    np.testing.assert_array_equal(sample.points, np.float32([[-1.5, -3, 3], [-4.5, -6, 6]]))
    assert sample.camera.size_hw == (16, 24)
    assert (sample.camera.fx, sample.camera.fy) == (20, 21)
    assert (sample.image == 7).all()


def test_an_unfinished_folder_says_what_to_do(tmp_path):
    with pytest.raises(DatasetError, match='index.json: cannot be read.*crossview pairs'):
        PairShards(tmp_path)


@pytest.mark.parametrize('content', ['', '{', '[]', '{"format": "other"}'])
def test_a_damaged_index_is_told(tmp_path, content):
    (tmp_path / 'index.json').write_text(content)
    with pytest.raises(DatasetError, match='index.json'):
        PairShards(tmp_path)


def test_a_folder_without_pairs_is_no_set_of_pairs(tmp_path):
    folder = write_cloud_folder(tmp_path / 'clouds')
    with pytest.raises(DatasetError, match='holds no pairs'):
        PairShards(folder)


def test_a_truncated_shard_is_told_by_name(tmp_path):
    folder = write_folder(tmp_path / 'pairs')
    shard = folder / 'pairs-000001.tar'
    shard.write_bytes(shard.read_bytes()[:600])
    pairs = PairShards(folder)
    assert pairs[0].name == '00000000'
    with pytest.raises(DatasetError, match='pairs-000001.tar: 00000004.target.jpg is damaged'):
        pairs[4]


def test_a_missing_shard_is_told_by_name(tmp_path):
    folder = write_folder(tmp_path / 'pairs')
    (folder / 'pairs-000000.tar').unlink()
    with pytest.raises(DatasetError, match='pairs-000000.tar: cannot be read'):
        PairShards(folder)[0]


def test_a_shard_cut_in_the_middle_is_not_indexed(tmp_path):
    folder = write_folder(tmp_path / 'pairs')
    shard = folder / 'pairs-000000.tar'
    shard.write_bytes(shard.read_bytes()[:1800])
    with pytest.raises(DatasetError, match='pairs-000000.tar: is damaged'):
        write_index(folder)


def test_info_that_is_no_json_is_damage(tmp_path):
    writer = ShardWriter(tmp_path, 0)
    writer.add('pairs', '0', {'target.jpg': b'a', 'reference.jpg': b'b', 'json': b'{'})
    writer.close()
    write_index(tmp_path)
    with pytest.raises(DatasetError, match='0.json is damaged'):
        Shards(tmp_path, 'pairs').info(0)
    with pytest.raises(DatasetError, match='0.target.jpg is damaged'):
        PairShards(tmp_path)[0]
