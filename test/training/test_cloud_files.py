# SPDX-License-Identifier: Apache-2.0
"""Images with clouds on disk become the same batches as rendered ones."""
from dataclasses import replace
from io import BytesIO
import json

from crossview_ros.data.camera_clouds import of_sample
from crossview_ros.data.contrastive_views import stack_views
from crossview_ros.data.pair_shards import ImagePointShards, ShardWriter, write_index
from crossview_ros.errors import ConfigError
from crossview_ros.networks.image_sampling import project_points
from crossview_ros.training.clouds import open_cloud_files
from crossview_ros.training.tasks import TASKS
import cv2
import numpy as np
import pytest
from test_simipu_task import run_config
import torch

CAMERA = {'width': 64, 'height': 48, 'fx': 50.0, 'fy': 50.0, 'cx': 31.5, 'cy': 23.5}
# a LiDAR 0.2 m above the camera, x ahead
T_CAMERA_LIDAR = [[0, -1, 0, 0], [0, 0, -1, -0.2], [1, 0, 0, 0], [0, 0, 0, 1]]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Return five image + cloud pairs, as `crossview pairs` writes them."""
    path, rng = tmp_path_factory.mktemp('clouds'), np.random.default_rng(0)
    writer = ShardWriter(path, 0)
    for k in range(5):
        image = rng.integers(256, size=(48, 64, 3), dtype=np.uint8)
        points = rng.uniform((4, -1, -1, 0), (8, 1, 1, 1), (200, 4)).astype(np.float32)
        file = BytesIO()
        np.save(file, points if k else points[:, :3])   # the first one without reflectance
        writer.add('clouds', f'{k:08d}', {
            'image.jpg': cv2.imencode('.jpg', image)[1].tobytes(), 'points.npy': file.getvalue(),
            'json': json.dumps({'camera': CAMERA, 'T_camera_lidar': T_CAMERA_LIDAR}).encode()})
    writer.close()
    write_index(path)
    return path


def batches(folder, task='simipu'):
    config = run_config(task=task)
    config = replace(config, data=replace(config.data, source='pairs', folder=str(folder),
                                          num_validation=2))
    with torch.device('meta'):
        architecture = TASKS[task](config).build().config
    return open_cloud_files(config, architecture)


def test_points_of_a_batch_project_into_its_images(folder):
    batch = batches(folder).training_batch(0)
    pixels = project_points(batch['points'][..., :3], batch['lidar_to_image'],
                            batch['image_transform'])
    assert bool((pixels >= -1).all())
    assert bool((pixels <= batch['pad_hw'].flip(1)[:, None] + 1).all())
    assert batch['points'].shape == batch['view_points'].shape == (2, 64, 4)


def test_shards_keep_their_reflectance_and_the_place_of_their_lidar(folder):
    shards = ImagePointShards(folder)
    assert shards[0].reflectance is None and not of_sample(shards[0]).points[:, 3].any()
    cloud = of_sample(shards[1])
    raw = np.load(BytesIO(shards.shards.member(1, 'points.npy')))
    np.testing.assert_allclose(cloud.points, raw, atol=1e-5)   # all are in view
    np.testing.assert_allclose(shards[1].T_camera_lidar, T_CAMERA_LIDAR)


def test_a_row_is_the_same_whoever_makes_it_and_the_last_samples_are_held_out(folder):
    drawn = batches(folder)
    whole, own = drawn.training_batch(3), drawn.training_batch(3, range(1, 2))
    for name, value in own.items():
        if name != 'image':
            assert torch.equal(value, whole[name][1:]), name
    rows, cols = own['pad_hw'][0].tolist()
    assert torch.equal(own['image'][..., :rows, :cols], whole['image'][1:, :, :rows, :cols])
    assert not torch.equal(whole['points'], drawn.training_batch(4)['points'])
    assert (len(drawn.training), len(drawn.validation)) == (3, 2)
    first, again = (list(drawn.validation_batches(size)) for size in (2, 1))
    assert [len(batch['points']) for batch in again] == [1, 1] and 'depth' not in first[0]
    assert torch.equal(first[0]['points'], torch.cat([batch['points'] for batch in again]))


def test_the_joint_task_asks_for_stereo_images(folder):
    with pytest.raises(ConfigError, match="'joint' needs stereo images with a cloud"):
        batches(folder, 'joint').training_batch(0)


def test_images_of_different_sizes_are_padded_with_zeros():
    views = [{'image': np.ones((3, *size), np.float32), 'pad_hw': np.array(size)}
             for size in ((16, 48), (32, 32))]
    image = stack_views(views)['image']
    assert image.shape == (2, 3, 32, 48)
    assert image[0, :, 16:].sum() == image[1, :, :, 32:].sum() == 0
    assert image.sum() == 3 * (16 * 48 + 32 * 32)
