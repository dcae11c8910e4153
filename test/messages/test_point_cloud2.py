# SPDX-License-Identifier: Apache-2.0
"""Clouds of any field layout are read; what contradicts itself is refused."""
from types import SimpleNamespace

from crossview_ros.errors import MessageError
from crossview_ros.messages.point_cloud2 import (
    read_cloud, read_points, read_points_and_intensity, write_cloud)
import numpy as np
import pytest

CLOUD = 'sensor_msgs/msg/PointCloud2'
CODES = {'i1': 1, 'u1': 2, 'i2': 3, 'u2': 4, 'i4': 5, 'u4': 6, 'f4': 7, 'f8': 8}
HEADER = {'stamp_ns': 1_500_000_000, 'frame_id': 'lidar'}


def cloud_message(points, big_endian=False, row_padding=0, **changes):
    """Return a PointCloud2 of a structured (H, W) array, by hand."""
    fields = [SimpleNamespace(name=name, offset=offset, datatype=CODES[dtype.base.str[1:]],
                              count=int(np.prod(dtype.shape, dtype=int)))
              for name, (dtype, offset) in points.dtype.fields.items()]
    data = b''.join(row.tobytes() + b'\xab' * row_padding for row in points)
    values = {'height': points.shape[0], 'width': points.shape[1], 'fields': fields,
              'is_bigendian': big_endian, 'point_step': points.itemsize, 'data': data,
              'row_step': points.itemsize * points.shape[1] + row_padding, 'is_dense': False}
    return SimpleNamespace(**{**values, **changes})


def xyz_cloud(rng, shape=(3, 5), order='<', kind='f4'):
    """Return random points, fields in the order z, ring, x, y with a gap in between."""
    dtype = np.dtype({'names': ['z', 'ring', 'x', 'y'], 'offsets': [0, 9, 16, 24],
                      'formats': [order + kind, order + 'u2', order + kind, order + kind],
                      'itemsize': 37})
    points = np.zeros(shape, dtype)
    for name in 'xyz':
        points[name] = rng.normal(size=shape)
    points['ring'] = rng.integers(0, 60000, shape)
    return points


def stacked(points):
    with np.errstate(over='ignore'):
        columns = [points[name].astype(np.float32).reshape(-1) for name in 'xyz']
    return np.stack(columns, axis=1)


@pytest.mark.parametrize('row_padding', [0, 11])
@pytest.mark.parametrize('kind', ['f4', 'f8'])
@pytest.mark.parametrize('order', ['<', '>'])
def test_reordered_padded_fields_of_either_byte_order_are_read(rng, order, kind, row_padding):
    points = xyz_cloud(rng, order=order, kind=kind)
    message = cloud_message(points, order == '>', row_padding)
    np.testing.assert_array_equal(read_points(message), stacked(points))
    cloud = read_cloud(message)
    assert cloud.shape == (3, 5)
    np.testing.assert_array_equal(cloud['ring'], points['ring'])
    assert read_points(message).dtype == np.float32


def test_rows_that_are_not_finite_are_left_out(rng):
    points = xyz_cloud(rng, (1, 6), kind='f8')
    points['x'][0, 1], points['y'][0, 2], points['z'][0, 3] = np.nan, np.inf, 1e300
    np.testing.assert_array_equal(read_points(cloud_message(points)), stacked(points)[[0, 4, 5]])


def test_a_field_of_several_numbers_is_kept(rng):
    points = np.zeros((1, 4), [('x', '<f4'), ('y', '<f4'), ('z', '<f4'), ('normal', '<f4', 3)])
    points['normal'] = rng.normal(size=(1, 4, 3))
    np.testing.assert_array_equal(read_cloud(cloud_message(points))['normal'], points['normal'])


@pytest.mark.parametrize('shape', [(0, 0), (1, 0), (0, 7)])
def test_a_cloud_without_points_is_empty(rng, shape):
    message = cloud_message(xyz_cloud(rng, shape), row_step=0)
    assert read_points(message).shape == (0, 3) and read_cloud(message).size == 0


def test_a_cloud_of_nothing_but_nan_is_empty(rng):
    points = xyz_cloud(rng)
    points['x'] = np.nan
    assert read_points(cloud_message(points)).shape == (0, 3)


def one_field(**changes):
    return [SimpleNamespace(**{'name': 'x', 'offset': 0, 'datatype': 7, 'count': 1, **changes})]


@pytest.mark.parametrize('change, text', [
    ({'width': 6}, 'scan: row_step is 185 bytes, but 6 points of 37 bytes need 222'),
    ({'width': 2 ** 32 - 1}, 'row_step is 185 bytes'),
    ({'height': 2 ** 32 - 1}, r'data holds 555 bytes, but row_step .* is 185 \* 4294967295 ='),
    ({'data': bytes(554)}, 'data holds 554 bytes'),
    ({'row_step': 0}, 'row_step is 0 bytes'),
    ({'point_step': 0}, "field 'z' ends at byte 4, but a point has 0"),
    ({'point_step': 2 ** 32 - 1}, 'a point cannot have 4294967295 bytes'),
    ({'fields': []}, 'the cloud declares no fields'),
    ({'fields': one_field(offset=34)}, "field 'x' ends at byte 38, but a point has 37"),
    ({'fields': one_field(count=2 ** 32 - 1)}, "field 'x' ends at byte 17179869180"),
    ({'fields': one_field(datatype=9)}, "field 'x' has datatype 9; known are 1 to 8"),
    ({'fields': one_field(datatype=0)}, "field 'x' has datatype 0"),
    ({'fields': one_field() + one_field(offset=4)}, "two fields are called 'x'"),
    ({'fields': one_field()}, "no number field 'y'; the cloud has x"),
    ({'fields': one_field(count=3)}, "no number field 'x'; the cloud has x"),
])
def test_what_contradicts_itself_is_refused(rng, change, text):
    with pytest.raises(MessageError, match=f'^scan: {text.removeprefix("scan: ")}'):
        read_points(cloud_message(xyz_cloud(rng), **change), 'scan')


@pytest.mark.parametrize('pcl_padding, colour, point_step', [
    (False, False, 12), (False, True, 16), (True, False, 16), (True, True, 32)])
def test_a_written_cloud_is_read_back(messages, rng, pcl_padding, colour, point_step):
    points = rng.normal(size=(4, 6, 3)).astype(np.float32)
    points[1, 2] = np.nan
    rgb = rng.integers(0, 256, (4, 6, 3), dtype=np.uint8) if colour else None
    message = write_cloud(messages.blank(CLOUD), points, rgb, pcl_padding=pcl_padding, **HEADER)
    sent = messages.sent(message, CLOUD)
    assert (sent.height, sent.width, sent.point_step, sent.row_step, sent.is_dense,
            sent.is_bigendian) == (4, 6, point_step, 6 * point_step, False, False)
    np.testing.assert_array_equal(read_points(sent), points[np.isfinite(points).all(2)])
    cloud = read_cloud(sent)
    np.testing.assert_array_equal(np.stack([cloud[n] for n in 'xyz'], axis=2), points)
    if colour:
        packed = np.ascontiguousarray(cloud['rgb']).view(np.uint32)
        np.testing.assert_array_equal((packed >> 16) & 255, rgb[..., 0])
        np.testing.assert_array_equal((packed >> 8) & 255, rgb[..., 1])
        np.testing.assert_array_equal(packed & 255, rgb[..., 2])
        assert (packed >> 24 == 0).all()
        assert next(f for f in sent.fields if f.name == 'rgb').offset == (16 if pcl_padding
                                                                          else 12)


def test_an_unorganised_cloud_has_one_row_and_may_be_dense(messages):
    points = np.ones((7, 3), np.float32)
    sent = messages.sent(write_cloud(messages.blank(CLOUD), points, **HEADER), CLOUD)
    assert (sent.height, sent.width, sent.is_dense) == (1, 7, True)
    assert [(f.name, f.offset, f.datatype, f.count) for f in sent.fields] == [
        ('x', 0, 7, 1), ('y', 4, 7, 1), ('z', 8, 7, 1)]


def test_an_empty_cloud_is_written_and_read(messages):
    sent = messages.sent(write_cloud(messages.blank(CLOUD), np.zeros((0, 3), np.float32),
                                     **HEADER), CLOUD)
    assert read_points(sent).shape == (0, 3)


@pytest.mark.parametrize('points, rgb, text', [
    (np.zeros((5, 3)), None, r'points must be .* float32, got \(5, 3\) float64'),
    (np.zeros((5, 4), np.float32), None, r'got \(5, 4\)'),
    (np.zeros(3, np.float32), None, r'got \(3,\)'),
    (np.zeros((5, 3), np.float32), np.zeros((4, 3), np.uint8), r'rgb must be uint8 of shape'),
    (np.zeros((5, 3), np.float32), np.zeros((5, 3)), r'got \(5, 3\) float64'),
])
def test_points_of_other_shapes_are_refused(plain, points, rgb, text):
    with pytest.raises(MessageError, match=text):
        write_cloud(plain.blank(CLOUD), points, rgb, **HEADER)


@pytest.mark.parametrize('bag, topic, count', [
    ('kitti_object_000007', '/points', 115236), ('nuscenes_n015', '/LIDAR_TOP/points', 34688),
    ('kitti00_mini', '/points', 124668)])
def test_clouds_of_real_bags_are_read(bag_messages, bag, topic, count):
    message = bag_messages(bag, topic)
    points = read_points(message)
    assert points.shape == (count, 3) and np.abs(points).max() < 250
    assert 5 < np.linalg.norm(points, axis=1).mean() < 40   # metres
    if bag.startswith('nuscenes'):   # two bytes of padding after ring
        ring = read_cloud(message)['ring']
        assert ring.dtype == np.uint16 and set(np.unique(ring)) == set(range(32))


def test_intensity_comes_with_the_points_that_are_kept():
    fields = [(name, '<f4') for name in ('x', 'y', 'z', 'intensity')]
    points = np.array([[(1, 2, 3, 10), (np.nan, 0, 0, 20), (4, 5, 6, 30)]], fields)
    kept, intensity = read_points_and_intensity(cloud_message(points))
    np.testing.assert_array_equal(kept, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(intensity, [10, 30])
    bare = np.array([[(1, 2, 3)]], fields[:3])
    assert read_points_and_intensity(cloud_message(bare))[1] is None
