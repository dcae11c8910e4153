# SPDX-License-Identifier: Apache-2.0
"""Rings held out of a cloud: which go in, that none does both, and how depth is judged by them."""
from types import SimpleNamespace

from crossview_ros.data.rosbags_messages import blank_message
from crossview_ros.errors import ConfigError
from crossview_ros.geometry.camera import PinholeCamera
from crossview_ros.messages.point_cloud2 import read_points
from crossview_ros.replay.bag import Bag
from crossview_ros.replay.lidar_holdout import (
    holdout_figures, kept_rings, linear_depth, rings_of, split_rings, thick_points)
from crossview_ros.replay.run import answered_tasks, replay_bag, ReplayOptions
from crossview_ros.replay.topics import InputTopics
from crossview_ros.runtime.lidar_depth import lidar_depth
import numpy as np
import pytest
from rosbags.typesys import get_typestore, Stores

WIDTH, HEIGHT = 48, 32   # of the images of conftest.py, as the camera below
TYPES = get_typestore(Stores.ROS2_HUMBLE)
CAMERA = PinholeCamera(WIDTH, HEIGHT, 100.0, 100.0, 23.5, 15.5)
CLOUD = 'sensor_msgs/msg/PointCloud2'
KINDS = {'f4': 7, 'u2': 4, 'u1': 2}


def header(stamp_ns, frame_id):
    """Return the fields of a header."""
    return SimpleNamespace(frame_id=frame_id, stamp=SimpleNamespace(
        sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9))


def cloud_message(columns, frame_id='lidar', padding=0):
    """Return a PointCloud2 of rosbags from {field: values}; unused bytes follow each point."""
    names = list(columns)
    formats = [columns[name].dtype.str.lstrip('<|') for name in names]
    offsets = np.cumsum([0] + [np.dtype(kind).itemsize for kind in formats])
    step = int(offsets[-1]) + padding
    points = np.zeros(len(columns[names[0]]), np.dtype(
        {'names': names, 'formats': formats, 'offsets': offsets[:-1].tolist(), 'itemsize': step}))
    for name in names:
        points[name] = columns[name]
    message = blank_message(TYPES, CLOUD)
    field = TYPES.types['sensor_msgs/msg/PointField']
    message.header = header(10**9, frame_id)
    message.height, message.width, message.point_step = 1, len(points), step
    message.row_step = step * len(points)
    message.fields = [field(name=name, offset=int(offset), datatype=KINDS[kind], count=1)
                      for name, kind, offset in zip(names, formats, offsets)]
    message.data = np.frombuffer(points.tobytes(), np.uint8)
    return TYPES.deserialize_cdr(TYPES.serialize_cdr(message, CLOUD), CLOUD)


def scan(elevations_deg, per_ring=20, range_m=8.0, **more):
    """Return the columns of a spinning LiDAR: rings of points ahead."""
    elevation, azimuth = np.meshgrid(np.radians(elevations_deg),
                                     np.linspace(-0.2, 0.2, per_ring), indexing='ij')
    directions = (np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth),
                  np.sin(elevation))
    return {**{name: (range_m * values.ravel()).astype(np.float32)
               for name, values in zip('xyz', directions)}, **more}


def test_the_ring_field_is_taken_as_it_is():
    rings = np.repeat(np.arange(6, dtype=np.uint16), 20)
    message = cloud_message(scan(np.zeros(6), ring=rings))
    np.testing.assert_array_equal(rings_of(message), rings)


def test_without_the_field_points_of_one_elevation_are_one_ring():
    elevations = -19.98 + 2 * 26.8 / 64 * np.arange(30)   # two bins apart
    rings = rings_of(cloud_message(scan(elevations))).reshape(30, 20)
    assert (rings == rings[:, :1]).all()
    assert len(np.unique(rings)) == 30


def test_one_ring_in_five_goes_in_and_no_point_does_both():
    rings = np.repeat(np.arange(23, dtype=np.uint16), 20)
    intensity = np.arange(len(rings), dtype=np.float32)   # tells the points apart
    message = cloud_message(scan(np.linspace(-9, 2, 23), intensity=intensity, ring=rings),
                            padding=3)
    kept, held_out = split_rings(message, 5)
    names = [set(read_intensity(part)) for part in (kept, held_out)]
    assert names[0] == {float(i) for i in intensity if rings[int(i)] % 5 == 0}
    assert not names[0] & names[1]
    assert len(names[0] | names[1]) == len(rings)
    assert (kept.width, kept.row_step) == (5 * 20, 5 * 20 * message.point_step)


def test_the_points_that_go_in_lie_on_the_kept_rings_alone():
    rings = np.repeat(np.arange(10, dtype=np.uint16), 20)
    columns = scan(np.linspace(-9, 0, 10), ring=rings)
    points = read_points(kept_rings(cloud_message(columns), 5))
    expected = np.stack([columns[name] for name in 'xyz'], axis=1)[rings % 5 == 0]
    np.testing.assert_array_equal(points, expected)


def test_points_without_a_place_are_on_neither_side():
    columns = scan(np.linspace(-9, 0, 10))
    columns['z'][::7] = np.nan
    parts = split_rings(cloud_message(columns), 5)
    assert sum(part.width for part in parts) == np.isfinite(columns['z']).sum()


def read_intensity(message):
    """Return the values behind x, y and z."""
    raw = np.asarray(message.data).reshape(-1, message.point_step)
    return raw[:, 12:16].copy().view(np.float32)[:, 0].tolist()


def wall(rows, depth=lambda u, v: 5.0 + 0 * u):
    """Return points (N, 3) in the camera's frame on some rows of pixels."""
    v, u = (grid.ravel().astype(float)
            for grid in np.meshgrid(rows, np.arange(WIDTH), indexing='ij'))
    z = depth(u, v)
    return np.stack(((u - CAMERA.cx) / CAMERA.fx * z, (v - CAMERA.cy) / CAMERA.fy * z, z), axis=1)


def test_linear_interpolation_is_linear_inside_and_nearest_outside():
    depth = linear_depth(wall((8, 16), lambda u, v: 2 + v), CAMERA)
    for row, expected in ((12, 14.0), (2, 10.0), (30, 18.0)):
        np.testing.assert_allclose(depth[row, 1:-1], expected, rtol=1e-5)


@pytest.mark.parametrize('points', [wall((8,)), wall((8,))[:1], wall((8,))[:2]],
                         ids=['a line', 'a point', 'two points'])
def test_points_without_a_hull_give_the_nearest(points):
    np.testing.assert_allclose(linear_depth(points, CAMERA), 5.0, rtol=1e-5)


def test_no_point_gives_no_depth():
    assert np.isnan(linear_depth(np.empty((0, 3)), CAMERA)).all()


def test_ground_is_better_by_planes_than_by_linear_interpolation():
    def ground(u, v):
        return 150 / (v - 5)   # 1.5 m below the camera, horizon in row 5
    kept, held_out = wall(range(7, 32, 5), ground), wall((8, 9, 10, 11, 13, 14, 15, 16), ground)
    depth = lidar_depth(None, None, np.full((HEIGHT, WIDTH, 3), 99, np.uint8), CAMERA, kept).depth
    figures = holdout_figures(depth, kept, held_out, CAMERA, 0.1, 80.0)
    assert figures['holdout.mae'].value < 0.3 * figures['holdout.mae_linear'].value
    assert figures['holdout.abs_rel'].value < 0.3 * figures['holdout.abs_rel_linear'].value


def test_errors_are_those_of_the_held_out_points_and_missing_counts_whole():
    depth = np.full((HEIGHT, WIDTH), 6.0, np.float32)
    depth[:, WIDTH // 2:] = np.nan
    figures = holdout_figures(depth, wall((3,)), wall((10,)), CAMERA, 0.1, 80.0)
    # half of the points are 1 m off, half of them are missing: 5 m
    assert figures['holdout.mae'].value == pytest.approx(3.0)
    assert figures['holdout.abs_rel'].value == pytest.approx(0.6)
    assert figures['holdout.coverage'].value == pytest.approx(0.5)
    assert figures['holdout.mae_linear'].value == pytest.approx(0.0, abs=1e-5)


def test_no_held_out_point_in_view_gives_no_figures():
    depth = np.full((HEIGHT, WIDTH), 6.0, np.float32)
    assert holdout_figures(depth, wall((3,)), -wall((10,)), CAMERA, 0.1, 80.0) == {}


def test_thick_points_show_the_nearest():
    camera = PinholeCamera(1200, 40, 500.0, 500.0, 600.0, 20.0)
    points = np.array([[0, 0, 4.0], [0.008, 0, 2.0]])   # 2 px apart
    image = thick_points(points, camera)
    assert np.nanmin(image) == 2 and image[20, 600] == 2 and image[20, 598] == 4
    assert np.isnan(image[30, 600])


def test_what_a_bag_of_one_camera_and_a_lidar_allows():
    alone = InputTopics(SimpleNamespace())
    guided = InputTopics(SimpleNamespace(), cloud='/points')
    tasks = ('stereo', 'flow', 'odometry')
    assert answered_tasks(tasks, alone) == ['flow']
    assert answered_tasks(tasks, guided) == ['stereo', 'flow', 'odometry']
    assert answered_tasks(('flow', 'depth', 'odometry'), alone) == ['stereo', 'flow', 'odometry']
    assert answered_tasks((*tasks, 'depth'), InputTopics(*2 * [SimpleNamespace()])) == list(tasks)


def test_rings_are_held_out_where_depth_comes_from_the_cloud():
    guided = InputTopics(SimpleNamespace(), cloud='/points')
    pair = InputTopics(SimpleNamespace(), SimpleNamespace(), '/points')
    assert ReplayOptions().keep_every(guided) == 5
    assert ReplayOptions().keep_every(pair) is None
    assert ReplayOptions(lidar_holdout=1).keep_every(guided) is None
    assert ReplayOptions(lidar_holdout=3).keep_every(pair) == 3
    with pytest.raises(ConfigError, match='lidar_holdout'):
        ReplayOptions(lidar_holdout=0)


class LidarEngine:
    """Make depth of one camera from the points alone, and keep what came."""

    tasks, backend_name, device = ('stereo',), 'fake', 'cpu'
    manifest = SimpleNamespace(name='fake', default_size_hw=(32, 48), licence='', files={})

    def __init__(self):
        """Start without calls."""
        self.clouds = []

    def reset(self):
        """Keep what came."""

    def process(self, left, right, rig, stamp_ns, cloud=None, visible=None):
        """Return the fields that the report reads."""
        self.clouds.append(cloud)
        found = lidar_depth(None, None, left, rig, cloud)
        return SimpleNamespace(depth=found.depth, disparity=None, confidence=None, flow=None)


def lidar_bag(maker):
    """Write one image and one cloud of a slanted wall; the LiDAR sits in the camera."""
    rings = np.repeat(np.arange(0, 30, dtype=np.uint16), WIDTH)
    points = wall(range(1, 31), lambda u, v: 100 / (5 + 0.5 * v)).astype(np.float32)
    columns = {'x': points[:, 2], 'y': -points[:, 0], 'z': -points[:, 1], 'ring': rings}
    message = cloud_message(columns)
    with maker as bag:
        edge = SimpleNamespace(
            header=header(0, 'left'), child_frame_id='lidar', transform=SimpleNamespace(
                translation=SimpleNamespace(x=0.0, y=0.0, z=0.0),
                rotation=SimpleNamespace(x=0.5, y=-0.5, z=0.5, w=0.5)))
        bag.add('/tf_static', 'tf2_msgs/msg/TFMessage', 1, transforms=[edge])
        bag.info('/camera/camera_info', 10**9)
        bag.image('/camera/image_rect', 10**9, np.full((HEIGHT, WIDTH, 3), 90, np.uint8), 'rgb8')
        bag.add('/points', CLOUD, 10**9, **{name: getattr(message, name) for name in (
            'header', 'height', 'width', 'fields', 'point_step', 'row_step', 'data')})
    return bag.folder


def test_a_replay_judges_depth_by_rings_that_did_not_go_in(make_bag, tmp_path):
    engine = LidarEngine()
    data = replay_bag(lidar_bag(make_bag()), engine, ReplayOptions(outputs=False), tmp_path,
                      title='', command='')
    assert len(engine.clouds[0]) == 6 * WIDTH
    assert data.figures['holdout.coverage'].value == 1
    assert data.figures['holdout.mae'].value < data.figures['holdout.mae_linear'].value
    assert data.figures['holdout.mae'].value < 0.2
    assert any('one ring in 5' in note for note in data.notes)
    assert np.isfinite(data.panels[0].points).any()


def test_a_replay_of_all_rings_holds_none_out(make_bag, tmp_path):
    engine = LidarEngine()
    data = replay_bag(lidar_bag(make_bag()), engine,
                      ReplayOptions(outputs=False, lidar_holdout=1), tmp_path, title='',
                      command='')
    assert len(engine.clouds[0]) == 30 * WIDTH
    assert not any(name.startswith('holdout') for name in data.figures)


def test_a_bag_changes_the_bytes_of_a_message(make_bag):
    with Bag(lidar_bag(make_bag())) as bag:
        [(_, kind, _, raw)] = bag.raw_messages(['/points'])
        changed = bag.changed(raw, kind, lambda message: kept_rings(message, 5))
    assert TYPES.deserialize_cdr(changed, CLOUD).width == 6 * WIDTH
