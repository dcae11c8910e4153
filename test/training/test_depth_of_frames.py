# SPDX-License-Identifier: Apache-2.0
"""Depth of one view from the frames with LiDAR that SimIPU is pre-trained on."""
from crossview_ros.config import from_dict
from crossview_ros.data.synthetic.dataset import ShardDataset
from crossview_ros.errors import ConfigError
from crossview_ros.training.run_config import RunConfig
from crossview_ros.training.tasks import TASKS
import numpy as np
import pytest
import torch

FRAMES = {'rings': 16, 'azimuth_steps': 32}


def config(**data):
    return from_dict(RunConfig, {
        'task': 'depth', 'steps': 1, 'batch_size': 4, 'model': {'preset': 'croco_mini_depth'},
        'data': {'depth_of': 'frames', 'frames': FRAMES, 'size_hw': (48, 64),
                 'crop_hw': (32, 64), 'scale_range': (1.0, 1.0), **data}}, 'test')


def test_held_out_frames_are_shown_with_their_own_depth_and_focal_length(frames):
    run = config()
    task = TASKS['depth'](run)
    assert task.records_config() == run.data.frames
    with torch.device('meta'):
        architecture = task.build().config
    batch = next(task.batches(frames[1], run, architecture).validation_batches(4))
    record = ShardDataset(frames[1]).record(2)
    assert batch['left'].shape == (4, 3, 32, 64) and batch['depth'].shape == (4, 1, 32, 64)
    np.testing.assert_array_equal(batch['depth'][2, 0], np.float32(record['depth'][8:40]))
    assert float(batch['focal'][2]) == record['focal']


def test_frames_cannot_be_rendered_while_training_depth():
    with pytest.raises(ConfigError, match='stored frames: set data.online=false'):
        config(online=True)
